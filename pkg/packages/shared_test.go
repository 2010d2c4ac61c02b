package packages

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// A look-up that was canceled is repeated, and who waits for another one's look-up is not
// held longer than its own context.
func TestCanceledIndexIsReadAgain(t *testing.T) {
	var hang atomic.Bool
	hang.Store(true)
	started := make(chan struct{}, 10)
	w := newAptWorld(t)
	w.suite("trixie", ".gz", "", "chrony=1")
	files := w.server.Config.Handler
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		if hang.Load() {
			<-r.Context().Done()
			return
		}
		files.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	repo := Repository{Type: Deb, URLs: []string{server.URL}, Suite: "trixie", Components: []string{"main"}, Arch: "amd64"}
	c := &Client{}
	first, cancelFirst := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Index(first, repo)
		done <- err
	}()
	<-started
	second, cancelSecond := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelSecond()
	if _, err := c.Index(second, repo); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who waits for another one's look-up gets %v", err)
	}
	cancelFirst()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the canceled look-up returns %v", err)
	}
	hang.Store(false)
	index, err := c.Index(t.Context(), repo)
	if err != nil {
		t.Fatalf("after a canceled look-up: %v", err)
	}
	if offers, err := index.Offers(t.Context()); err != nil || len(offers["chrony"]) != 1 {
		t.Errorf("it offers %v, %v", offers, err)
	}
}
