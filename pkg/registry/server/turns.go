package server

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// turnsOf gives turns to requests: at most size of one key have one at the same time, others of
// it wait.
type turnsOf[K comparable] struct {
	size int

	mu    sync.Mutex
	turns map[K]*turn
}

type turn struct {
	taken chan struct{} // has an element for each request that has a turn
	users int           // requests that have a turn or wait for one
}

func newTurns[K comparable](size int) *turnsOf[K] {
	return &turnsOf[K]{size: size, turns: map[K]*turn{}}
}

// take waits for a turn, at most for a time and until the client leaves, and returns the function
// that ends it.
func (t *turnsOf[K]) take(r *http.Request, key K, pause time.Duration) (end func(), err error) {
	t.mu.Lock()
	of := t.turns[key]
	if of == nil {
		of = &turn{taken: make(chan struct{}, t.size)}
		t.turns[key] = of
	}
	of.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if of.users--; of.users == 0 {
			delete(t.turns, key)
		}
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), pause, errBusy)
	defer cancel()
	select {
	case of.taken <- struct{}{}:
		return func() {
			<-of.taken
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

// takeUpload waits for the turn of a request that writes to an upload. The distribution opens the file
// of the upload for each: one that is late would write into the blob that another request has
// verified and stored. Requests that write to no upload need no turn.
func (h *handler) takeUpload(r *http.Request) (end func(), p *problem) {
	upload := uploadPath.FindStringSubmatch(r.URL.Path)
	if upload == nil || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return func() {}, nil
	}
	end, err := h.uploads.take(r, upload[2], h.pace.pause)
	if err != nil {
		return nil, &problem{http.StatusServiceUnavailable, "UNAVAILABLE", "another request writes to this upload"}
	}
	return end, nil
}
