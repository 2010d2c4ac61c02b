package stepproxy

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/kolla-build/kolla-build/internal/redact"
)

// Player answers requests from records, without a network.
type Player struct {
	lookUp func(url string) (Record, bool)
	open   func(Record) (io.ReadCloser, error)

	mu      sync.Mutex
	refused map[Unrecorded]bool
}

// NewPlayer returns a player. lookUp finds the record of a URL, open its content, which
// it must have verified.
func NewPlayer(lookUp func(url string) (Record, bool), open func(Record) (io.ReadCloser, error)) *Player {
	return &Player{lookUp: lookUp, open: open, refused: map[Unrecorded]bool{}}
}

// Answer implements Source. The answer to a request that was not recorded is 403,
// because clients do not repeat such a request.
func (p *Player) Answer(_ context.Context, req Request) (*Response, error) {
	rec, ok := p.lookUp(req.URL)
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		ok = false
	}
	if !ok {
		p.Refuse(req.Client, req.Method+" "+redact.URL(req.URL), "not among the inputs")
		return &Response{Status: http.StatusForbidden, Size: -1}, nil
	}
	resp := &Response{Status: rec.Status, Location: rec.Location, Type: rec.Type, Encoding: rec.Encoding,
		Modified: rec.Modified, Size: rec.Size}
	if rec.Status != http.StatusOK {
		return resp, nil
	}
	body, err := p.open(rec)
	if err != nil {
		p.Refuse(req.Client, req.Method+" "+redact.URL(req.URL), err.Error())
		return nil, fmt.Errorf("input: %w", err)
	}
	resp.Body = body
	return resp, nil
}

// Refuse implements Source.
func (p *Player) Refuse(client, request, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	note(p.refused, Unrecorded{client, request, reason})
}

// Refused returns the requests that were not answered, sorted.
func (p *Player) Refused() []Unrecorded {
	p.mu.Lock()
	defer p.mu.Unlock()
	var refused []Unrecorded
	for u := range p.refused {
		refused = append(refused, u)
	}
	slices.SortFunc(refused, func(a, b Unrecorded) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Request, b.Request), cmp.Compare(a.Reason, b.Reason))
	})
	return refused
}
