package server

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// uploadTurns lets the requests of an upload write one after the other. The distribution opens the
// file of the upload for each: one that is late would write into the blob that another request has
// verified and stored.
type uploadTurns struct {
	mu    sync.Mutex
	turns map[string]*uploadTurn // by upload
}

type uploadTurn struct {
	taken   chan struct{} // has an element while a request writes
	waiting int           // requests that write or wait
}

// take waits for the turn of a request, at most as long as a client may pause, and returns the
// function that ends it. Requests that write to no upload need none.
func (u *uploadTurns) take(r *http.Request, pause time.Duration) (end func(), p *problem) {
	upload := uploadPath.FindStringSubmatch(r.URL.Path)
	if upload == nil || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return func() {}, nil
	}
	u.mu.Lock()
	turn := u.turns[upload[2]]
	if turn == nil {
		turn = &uploadTurn{taken: make(chan struct{}, 1)}
		u.turns[upload[2]] = turn
	}
	turn.waiting++
	u.mu.Unlock()
	leave := func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if turn.waiting--; turn.waiting == 0 {
			delete(u.turns, upload[2])
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), pause)
	defer cancel()
	select {
	case turn.taken <- struct{}{}:
		return func() {
			<-turn.taken
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, &problem{http.StatusServiceUnavailable, "UNAVAILABLE", "another request writes to this upload"}
	}
}
