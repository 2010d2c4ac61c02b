package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Recover ends the commits that earlier processes began and did not end, as far
// as they concern the registries of refs. One whose content is all there is
// finished; one that had failed and was being undone, or whose content has gone,
// is undone; one after which somebody else has moved tags of the set is left as
// it is. It returns what was done as sentences for the user. Without
// PublishOptions.Journal it does nothing.
func (p *Publisher) Recover(ctx context.Context, refs []string) ([]string, error) {
	if p.opts.Journal == "" {
		return nil, nil
	}
	j, err := p.openJournal(ctx)
	if err != nil {
		return nil, err
	}
	defer j.close()
	all, err := j.load()
	if err != nil {
		return nil, err
	}
	hosts := map[string]bool{}
	for _, ref := range refs {
		if r, err := p.c.parse(ref); err == nil {
			hosts[r.Context().RegistryStr()] = true
		}
	}
	var done []string
	for _, path := range slices.Sorted(maps.Keys(all)) {
		rec := all[path]
		moves, err := p.recorded(rec)
		if err != nil {
			return done, &JournalError{Path: path, Err: err}
		}
		if !slices.ContainsFunc(moves, func(m *move) bool { return hosts[m.tag.RegistryStr()] }) {
			continue
		}
		old := &journal{dir: j.dir, path: path, rec: rec}
		what, err := p.recover(ctx, old, moves)
		if err != nil {
			return done, &RecoverError{Started: rec.Started, Path: path, Err: err}
		}
		done = append(done, fmt.Sprintf("a publication of %s was cut off while its tags moved: %s", rec.Started.Local().Format("2006-01-02 15:04"), what))
	}
	return done, nil
}

// RecoverError says that a publication which was cut off could not be ended.
type RecoverError struct {
	Started time.Time
	Path    string // its journal
	Err     error
}

// Error implements error.
func (e *RecoverError) Error() string {
	return fmt.Sprintf("ending the publication of %s, which was cut off while its tags moved: %v", e.Started.Local().Format("2006-01-02 15:04"), e.Err)
}

// Unwrap gives the cause.
func (e *RecoverError) Unwrap() error { return e.Err }

// Hint says what the user can do.
func (e *RecoverError) Hint() string {
	return "run the command again when the cause is gone, or remove " + e.Path + " to leave the tags as they are"
}

// recorded makes moves of a journal's record.
func (p *Publisher) recorded(rec record) ([]*move, error) {
	tags := make([]Tag, len(rec.Moves))
	for i, m := range rec.Moves {
		h, err := v1.NewHash(m.New)
		if err != nil {
			return nil, err
		}
		tags[i] = Tag{Ref: m.Ref, Digest: h}
	}
	moves, err := p.moves(tags)
	if err != nil {
		return nil, err
	}
	was := map[string]string{}
	for _, m := range rec.Moves {
		was[m.Ref] = m.Old
	}
	for _, m := range moves {
		if m.done = true; was[m.Ref] != "" {
			if m.old, err = v1.NewHash(was[m.Ref]); err != nil {
				return nil, err
			}
		}
	}
	return moves, nil
}

func (p *Publisher) recover(ctx context.Context, j *journal, moves []*move) (string, error) {
	now := map[*move]v1.Hash{}
	for _, m := range moves {
		d, err := p.at(ctx, m)
		if err != nil {
			return "", err
		}
		now[m] = d
	}
	for _, m := range moves {
		if d := now[m]; d != m.old && d != m.Digest {
			// Each tag is right for somebody: a later publication's, which may
			// share images with ours.
			return fmt.Sprintf("%s names another image by now, so that somebody has published since; nothing was changed", m.Ref), j.end(nil)
		}
	}
	if j.rec.State == stateMoving {
		what, err := p.finish(ctx, j, moves, now)
		if err == nil || ctx.Err() != nil {
			return what, err
		}
		var gone *NotFoundError
		if !errors.As(err, &gone) {
			return "", err
		}
	}
	fail := &CommitError{Wanted: len(moves), Failed: map[string]error{}, Stuck: map[string]error{}}
	p.undo(ctx, j, moves, fail)
	switch {
	case fail.Journal != "":
		return "", fail
	case len(fail.Stuck) > 0: // for good: no later try will do better
		return fail.Error(), nil
	}
	return fmt.Sprintf("%d of its %d tags were put back", len(fail.Restored), len(moves)), nil
}

// finish moves the tags that the dead process had not moved.
func (p *Publisher) finish(ctx context.Context, j *journal, moves []*move, now map[*move]v1.Hash) (string, error) {
	fail := &CommitError{Wanted: len(moves), Failed: map[string]error{}, Stuck: map[string]error{}}
	p.each(ctx, moves, fail, p.verify)
	if len(fail.Failed) > 0 {
		return "", fail
	}
	left := slices.DeleteFunc(slices.Clone(moves), func(m *move) bool { return now[m] == m.Digest })
	p.each(ctx, left, fail, p.put)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if len(fail.Failed) > 0 {
		return "", fail
	}
	return fmt.Sprintf("the %d that had not moved were moved now, and all %d name its set", len(left), len(moves)), j.end(moves)
}
