package push

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

// Recover completes or undoes the unfinished commits of earlier processes to the
// registries of names. A commit with all its content is completed; one that was being
// undone, or whose content is missing, is undone; one whose tags another publisher has
// updated since then is left unchanged. It returns sentences for the user about this.
// Without Options.Journal it does nothing.
func (p *Publisher) Recover(ctx context.Context, names []string) ([]string, error) {
	if p.opts.Journal == "" {
		return nil, nil
	}
	j, err := p.openJournal(ctx)
	if err != nil {
		return nil, err
	}
	defer j.close()
	records, err := j.load()
	if err != nil {
		return nil, err
	}
	registries := map[string]bool{}
	for _, name := range names {
		if ref, err := imageref.Parse(name); err == nil {
			registries[ref.Registry()] = true
		}
	}
	var done []string
	for _, path := range slices.Sorted(maps.Keys(records)) {
		rec := records[path]
		updates, err := p.updatesOf(rec)
		if err != nil {
			return done, &JournalError{Path: path, Err: err}
		}
		if !slices.ContainsFunc(updates, func(u *update) bool { return registries[u.ref.Registry()] }) {
			continue
		}
		outcome, err := p.recover(ctx, &journal{dir: j.dir, path: path, record: rec}, updates)
		if err != nil {
			return done, &RecoverError{Started: rec.Started, Path: path, Err: err}
		}
		done = append(done, fmt.Sprintf("the publication of %s was interrupted while its tags were updated: %s",
			units.LocalTime(rec.Started), outcome))
	}
	return done, nil
}

// updatesOf reads the updates of a record.
func (p *Publisher) updatesOf(rec record) ([]*update, error) {
	tags := make([]Tag, len(rec.Updates))
	previous := map[string]digest.Digest{}
	for i, u := range rec.Updates {
		if u.Previous != "" {
			if err := u.Previous.Validate(); err != nil {
				return nil, err
			}
		}
		tags[i] = Tag{Ref: u.Ref, Digest: u.Digest}
		previous[u.Ref] = u.Previous
	}
	updates, err := p.updates(tags)
	for _, u := range updates {
		u.sent, u.previous = true, previous[u.Ref]
	}
	return updates, err
}

// recover completes or undoes one commit and returns a sentence about it.
func (p *Publisher) recover(ctx context.Context, j *journal, updates []*update) (string, error) {
	current := map[*update]digest.Digest{}
	for _, u := range updates {
		d, err := p.current(ctx, u)
		if err != nil {
			return "", err
		}
		current[u] = d
	}
	for _, u := range updates {
		if d := current[u]; d != u.previous && d != u.Digest {
			// The tags belong to a later publication, which may share images with this
			// one.
			return fmt.Sprintf("%s refers to another image, which was published since; nothing was changed", u.Ref), j.end(nil)
		}
	}
	if j.record.State == stateUpdating {
		outcome, err := p.complete(ctx, j, updates, current)
		if err == nil || ctx.Err() != nil {
			return outcome, err
		}
		var missing *registry.NotFoundError
		if !errors.As(err, &missing) {
			return "", err
		}
	}
	fail := newCommitError(len(updates))
	p.rollBack(ctx, j, updates, fail)
	switch {
	case fail.Journal != "":
		return "", fail
	case len(fail.Stuck) > 0: // another attempt would not help
		return fail.Error(), nil
	}
	return fmt.Sprintf("%d of its %s were restored", len(fail.Restored), units.Count(len(updates), "tag")), nil
}

// complete updates the tags that the killed process had not updated.
func (p *Publisher) complete(ctx context.Context, j *journal, updates []*update, current map[*update]digest.Digest) (
	string, error) {
	fail := newCommitError(len(updates))
	if p.forEach(ctx, updates, fail, p.verify); len(fail.Failed) > 0 {
		return "", fail
	}
	pending := slices.DeleteFunc(slices.Clone(updates), func(u *update) bool { return current[u] == u.Digest })
	p.forEach(ctx, pending, fail, p.put)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if len(fail.Failed) > 0 {
		return "", fail
	}
	return fmt.Sprintf("the missing %d were updated, and all %d refer to its set", len(pending), len(updates)),
		j.end(updates)
}
