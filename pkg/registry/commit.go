package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// Tag is one tag to move: Ref is REGISTRY/REPOSITORY:TAG, Digest the manifest
// (of an image or index) in that repository that it shall name.
type Tag struct {
	Ref    string
	Digest v1.Hash
}

// CommitError says why a set was not published, and where its tags stand now.
type CommitError struct {
	Wanted  int              // tags of the set
	Failed  map[string]error // by reference: what could not be verified or moved
	Untried []string         // references left where they were because of the failure of others, or because the run ended
	// Restored are references that had moved and were put back.
	Restored []string
	// Stuck are references that had moved and could not be put back, with the
	// reason: they name the images of the set that was not published.
	Stuck map[string]error
	// Foreign are references that somebody else moved meanwhile. They were
	// left to him.
	Foreign []string
	// Journal remembers what is stuck, and the next publication goes on from
	// it; "" if there is nothing to go on with.
	Journal string
}

// Error implements error.
func (e *CommitError) Error() string {
	var b strings.Builder
	switch {
	case len(e.Stuck) > 0:
		fmt.Fprintf(&b, "the tags did not move together, and %d of %d could not be put back", len(e.Stuck), e.Wanted)
	case len(e.Restored) > 0:
		fmt.Fprintf(&b, "no tag was moved (%d wanted): %d had moved and were put back", e.Wanted, len(e.Restored))
	default:
		fmt.Fprintf(&b, "no tag was moved (%d wanted)", e.Wanted)
	}
	list(&b, "", e.Failed)
	list(&b, "still names the new image: ", e.Stuck)
	for i, ref := range e.Foreign {
		if i == mostListed {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Foreign)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s: somebody else moved it meanwhile; it was left so", ref)
	}
	return b.String()
}

// mostListed bounds the references in one error.
const mostListed = 5

func list(b *strings.Builder, what string, errs map[string]error) {
	for i, ref := range slices.Sorted(maps.Keys(errs)) {
		if i == mostListed {
			fmt.Fprintf(b, "\n  and %d more", len(errs)-i)
			return
		}
		fmt.Fprintf(b, "\n  %s: %s%s", ref, what, strings.TrimPrefix(errs[ref].Error(), ref+": "))
	}
}

// Unwrap gives the causes.
func (e *CommitError) Unwrap() []error {
	return append(slices.Collect(maps.Values(e.Failed)), slices.Collect(maps.Values(e.Stuck))...)
}

// Hint says what the user can do.
func (e *CommitError) Hint() string {
	switch {
	case len(e.Stuck) == 0:
		return "every tag is where it was; run the command again when the cause is gone"
	case e.Journal != "":
		return "run the command again when the cause is gone: the next publication puts these tags right first (" + e.Journal + " remembers them)"
	}
	return "run the command again when the cause is gone: that publishes the whole set"
}

// move is one tag on its way.
type move struct {
	Tag
	tag  name.Tag
	m    *manifest // of what it shall name
	old  v1.Hash   // what it named before, zero if there was no such tag
	done bool      // it was tried: it may have moved, whatever the answer was
}

// Commit moves tags, all at the end of a set, all or none. First each manifest
// is looked up in its repository; if one is not there, no tag is touched. Then
// the tags move in parallel. When one cannot be moved, or ctx ends, those that
// have moved are put back to what they named before, or deleted where there was
// no such tag, and a *CommitError says what became of which. A process that dies
// meanwhile leaves a journal (PublishOptions.Journal), from which Recover goes on.
//
// Registries have no transactions: while the tags move, for as long as that many
// small requests take, a reader may see some of them moved. Two publications
// from one journal directory wait for each other. Two from different machines
// cannot; each looks afterwards whether its tags stand, and moves them once
// more if not, so that the later of them has published its whole set.
func (p *Publisher) Commit(ctx context.Context, tags []Tag) error {
	moves, err := p.moves(tags)
	if err != nil || len(moves) == 0 {
		return err
	}
	fail := &CommitError{Wanted: len(moves), Failed: map[string]error{}, Stuck: map[string]error{}}
	p.each(ctx, moves, fail, p.verify)
	if len(fail.Failed)+len(fail.Untried) > 0 {
		return fail
	}
	j, err := p.openJournal(ctx)
	if err != nil {
		return err
	}
	defer j.close()
	p.each(ctx, moves, fail, p.look)
	if len(fail.Failed)+len(fail.Untried) > 0 {
		return fail
	}
	// Tags that stand already are not put, but belong to the set all the same:
	// another publisher may move them at this moment.
	todo := slices.DeleteFunc(slices.Clone(moves), func(m *move) bool { return m.old == m.Digest })
	if len(todo) == 0 {
		return nil
	}
	if err := j.begin(moves); err != nil {
		return err
	}
	p.each(ctx, todo, fail, p.put)
	if len(fail.Failed)+len(fail.Untried) == 0 {
		err := p.settle(ctx, moves)
		if err == nil {
			return j.end(moves)
		}
		fail.Failed["the set"] = err
	}
	p.undo(ctx, j, moves, fail)
	return fail
}

// moves checks what is wanted.
func (p *Publisher) moves(tags []Tag) ([]*move, error) {
	moves := make([]*move, 0, len(tags))
	seen := map[string]v1.Hash{}
	for _, t := range tags {
		r, err := p.c.parse(t.Ref)
		if err != nil {
			return nil, err
		}
		tag, ok := r.(name.Tag)
		if !ok {
			return nil, fmt.Errorf("moving tag %s: it names a digest, not a tag", t.Ref)
		}
		h, ok := seen[tag.Name()]
		if ok && h != t.Digest {
			return nil, fmt.Errorf("moving tag %s: it is wanted for two images, %s and %s", t.Ref, h, t.Digest)
		}
		if !ok {
			moves = append(moves, &move{Tag: t, tag: tag})
		}
		seen[tag.Name()] = t.Digest
	}
	return moves, nil
}

// each runs f for the moves in parallel. After the first failure no other is
// begun: what moved has to come back.
func (p *Publisher) each(ctx context.Context, moves []*move, fail *CommitError, f func(context.Context, *move) error) {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(2 * p.c.opts.Jobs)
	for _, m := range moves {
		g.Go(func() error {
			mu.Lock()
			over := ctx.Err() != nil || len(fail.Failed) > 0
			if over {
				fail.Untried = append(fail.Untried, m.Ref)
			}
			mu.Unlock()
			if over {
				return nil
			}
			err := f(ctx, m)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
			case ctx.Err() != nil:
				fail.Untried = append(fail.Untried, m.Ref)
			default:
				fail.Failed[m.Ref] = err
			}
			return nil
		})
	}
	_ = g.Wait()
	slices.Sort(fail.Untried)
}

// verify makes sure that what a tag shall name is in its repository. Push has
// read it back when it put it there; what came there otherwise is read now.
func (p *Publisher) verify(ctx context.Context, m *move) (err error) {
	p.mu.Lock()
	m.m = p.content[m.Digest]
	p.mu.Unlock()
	if m.m == nil {
		m.m, err = p.getManifest(ctx, m.tag.Repository, m.Digest)
		return err
	}
	there, err := p.hasManifest(ctx, m.tag.Repository, m.Digest)
	if err == nil && !there {
		err = &NotFoundError{Ref: m.tag.Repository.Name() + "@" + m.Digest.String()}
	}
	return err
}

// look finds out what a tag names now.
func (p *Publisher) look(ctx context.Context, m *move) (err error) {
	m.old, err = p.at(ctx, m)
	return err
}

// at is what a tag names at this moment, the zero hash if there is no such tag.
func (p *Publisher) at(ctx context.Context, m *move) (v1.Hash, error) {
	d, err := p.c.Head(ctx, m.Ref)
	var nf *NotFoundError
	if errors.As(err, &nf) {
		return v1.Hash{}, nil
	}
	return d.Digest, err
}

func (p *Publisher) put(ctx context.Context, m *move) error {
	m.done = true // an answer that is lost on the way may have been a yes
	ctx, cancel := linger(ctx)
	defer cancel()
	if err := p.putManifest(ctx, m.tag.Repository, m.tag.TagStr(), m.m, m.Digest); err != nil {
		return err
	}
	p.tags.Add(1)
	return nil
}

// lingerTime is how long a tag that is being moved is waited for after the
// run's end. Were the request cut off, the registry might still carry it out,
// after the tag was found in its old place.
const lingerTime = 10 * time.Second

// linger returns a context that ends some time after ctx.
func linger(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(lingerTime, func() { cancel(context.Cause(ctx)) })
	})
	return out, func() { stop(); cancel(nil) }
}

// settleRounds is how often tags are moved again that another publisher moves
// at the same time, and settleWait bounds the wait before each time.
const (
	settleRounds = 7
	settleWait   = 30 * time.Second
)

// settle looks whether the tags stand, and moves those again that another
// publisher moved meanwhile: who comes last has the whole set. Before each round
// it waits for a random time out of a span that doubles, as stations on one wire
// do. The span is measured by how long a round takes here: where it is slow, two
// that waited for a few milliseconds would only meet again.
func (p *Publisher) settle(ctx context.Context, moves []*move) error {
	span := p.c.policy.base
	for round := 0; ; round++ {
		began := time.Now()
		fail := &CommitError{Failed: map[string]error{}}
		if round > 0 {
			p.each(ctx, moves, fail, p.put)
			if len(fail.Failed)+len(fail.Untried) > 0 {
				return errors.Join(append(fail.Unwrap(), context.Cause(ctx))...)
			}
		}
		var mu sync.Mutex
		var lost []*move
		p.each(ctx, moves, fail, func(ctx context.Context, m *move) error {
			d, err := p.at(ctx, m)
			if err == nil && d != m.Digest {
				mu.Lock()
				lost = append(lost, m)
				mu.Unlock()
			}
			return err
		})
		if len(fail.Failed)+len(fail.Untried) > 0 {
			return fmt.Errorf("looking whether its tags stand: %w", errors.Join(append(fail.Unwrap(), context.Cause(ctx))...))
		}
		if len(lost) == 0 {
			return nil
		}
		if round == settleRounds {
			return &ConflictError{Ref: lost[0].Ref, Tags: len(lost)}
		}
		span = min(2*max(span, time.Since(began)), settleWait)
		t := time.NewTimer(rand.N(span))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}

// ConflictError says that another publisher moves the same tags all the time.
type ConflictError struct {
	Ref  string // one of them
	Tags int    // how many
}

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("another publisher moves the same tags at this moment (%d of them, %s among them)", e.Tags, e.Ref)
}

// Hint says what the user can do.
func (e *ConflictError) Hint() string {
	return "let one machine at a time publish to these names, then run the command again"
}
