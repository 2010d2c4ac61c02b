package server

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// heldBody is a body whose client stops before the last byte, until it is released.
type heldBody struct {
	io.Reader
	held    func()
	release chan struct{}
}

func (b *heldBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF && b.held != nil {
		b.held()
		b.held = nil
		<-b.release
	}
	return n, err
}

func (b *heldBody) Close() error { return nil }

// Clients that send large manifests and stop before the end take no memory, and what they sent
// is complete when they go on.
func TestLargeManifestsWaitOnDisk(t *testing.T) {
	testenv.Slow(t)
	const clients = 16
	dir := t.TempDir()
	h := &handler{dir: dir, pace: defaultPace, turns: newManifestTurns()}
	content := strings.Repeat("0123456789abcdef", maxManifest/16)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	release := make(chan struct{})
	var held, ended sync.WaitGroup
	held.Add(clients)
	for range clients {
		ended.Go(func() {
			r := &http.Request{Method: http.MethodPut, URL: &url.URL{Path: "/v2/kolla/base/manifests/t"},
				Body: &heldBody{Reader: strings.NewReader(content), held: held.Done, release: release}}
			raw, done, err := h.manifestBody(r)
			defer done()
			if err != nil || string(raw) != content {
				t.Errorf("%d bytes, %v", len(raw), err)
			}
		})
	}
	held.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > clients*maxManifest/8 {
		t.Errorf("%d clients take %d bytes", clients, grown)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	close(release)
	ended.Wait()
	small := &http.Request{Method: http.MethodPut, URL: &url.URL{Path: "/v2/kolla/base/manifests/t"},
		Body: io.NopCloser(bytes.NewReader([]byte(content[:maxSmall])))}
	if raw, done, err := h.manifestBody(small); err != nil || len(raw) != maxSmall || len(h.turns.large) > 0 {
		t.Errorf("%d bytes, %v", len(raw), err)
	} else {
		done()
	}
	// It is not larger, but parsing takes a hundred times its size.
	many := &http.Request{Method: http.MethodPut, URL: small.URL,
		Body: io.NopCloser(strings.NewReader(strings.Repeat("{},", 5000)))}
	if _, done, err := h.manifestBody(many); err != nil || len(h.turns.large) != 1 {
		t.Errorf("a manifest of many values: %d turns, %v", len(h.turns.large), err)
	} else {
		done()
	}
}

func TestSpoolProblems(t *testing.T) {
	for err, want := range map[error]int{syscall.ENOSPC: 507, syscall.EDQUOT: 507,
		syscall.EMFILE: 503, syscall.ENFILE: 503,
		syscall.EACCES: 500, errors.New("x"): 500} {
		if p := spoolProblem(spoolError{&os.PathError{Op: "write", Path: "x", Err: err}}); p.status != want {
			t.Errorf("%v: status %d, want %d", err, p.status, want)
		}
	}
}

// A manifest that gets no turn is refused, and takes none.
func TestManifestsWaitForTheirTurn(t *testing.T) {
	h := &handler{dir: t.TempDir(), pace: pace{pause: time.Millisecond, rate: 1}, turns: newManifestTurns()}
	put := func(content string) *problem {
		_, done, p := h.putManifest(&http.Request{Method: http.MethodPut, URL: &url.URL{Path: "/v2/kolla/base/manifests/t"},
			Body: io.NopCloser(strings.NewReader(content))})
		done()
		return p
	}
	large := strings.Repeat(" ", maxSmall+1)
	for _, turns := range []chan struct{}{h.turns.large, h.turns.received} {
		for range cap(turns) {
			turns <- struct{}{}
		}
		if p := put(large); p == nil || p.status != http.StatusServiceUnavailable {
			t.Errorf("all %d turns are taken: %v", cap(turns), p)
		}
		for range cap(turns) {
			<-turns
		}
	}
	h.pace = defaultPace
	if p := put(large); p != nil || len(h.turns.large)+len(h.turns.received) > 0 {
		t.Errorf("%v, %d and %d turns are left", p, len(h.turns.large), len(h.turns.received))
	}
}
