package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/store"
	"golang.org/x/sync/errgroup"
)

// retention is what --retain asks for. A nil retention keeps everything.
type retention struct {
	count int           // sets that stay, 0 if age counts
	age   time.Duration // how much older than this run's a set may be
	own   []datedTag    // this run's tags that hold a date
}

// datedTag is a tag that holds a date. Two belong to one series if they have one
// shape: the same text around the date, which is written the same way.
type datedTag struct {
	tag   string
	shape string
	when  time.Time
	nth   int // a number after the date, as in 2026-11-22.2
}

func (d datedTag) compare(o datedTag) int {
	return cmp.Or(d.when.Compare(o.when), cmp.Compare(d.nth, o.nth), cmp.Compare(d.tag, o.tag))
}

var reRetain = regexp.MustCompile(`^([0-9]{1,6})([hdw]?)$`)

// newRetention reads --retain. A run whose tags hold no date has no series, and
// is told so before anything is built; so is one whose date has yet to come where
// ages count: a wrong year would let every set go.
func newRetention(text string, tags []string, now time.Time) (*retention, error) {
	if text == "" {
		return nil, nil
	}
	m := reRetain.FindStringSubmatch(text)
	if m == nil {
		return nil, &HintError{fmt.Errorf("--retain %s: expected a number of sets, or an age", text), "such as --retain 14, --retain 30d or --retain 8w"}
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n == 0 {
		return nil, &HintError{fmt.Errorf("--retain %s: nothing would stay", text), "leave it out to keep every set"}
	}
	k := &retention{}
	switch m[2] {
	case "":
		k.count = n
	case "h":
		k.age = time.Duration(n) * time.Hour
	case "d":
		k.age = time.Duration(n) * 24 * time.Hour
	case "w":
		k.age = time.Duration(n) * 7 * 24 * time.Hour
	}
	for _, tag := range tags {
		if d, ok := parseDated(tag); ok && !slices.Contains(k.own, d) {
			k.own = append(k.own, d)
		}
	}
	for _, d := range k.own {
		// The date may be that of a place whose day begins first.
		if k.age > 0 && d.when.After(now.Add(24*time.Hour)) {
			return nil, &HintError{fmt.Errorf("--retain %s: ages count from the date in tag %s, which has yet to come", text, d.tag), "is the date right? --retain 14 counts sets instead"}
		}
	}
	if len(k.own) == 0 {
		return nil, &HintError{fmt.Errorf("--retain %s: no tag of this run holds a date, so there is no series of sets (%s)", text, strings.Join(slices.Compact(slices.Sorted(slices.Values(tags))), ", ")),
			"name each set by its day: --tag \"$(date +%F)\" --also-tag nightly"}
	}
	return k, nil
}

// reDate finds a date with an optional time and an optional number after it.
var reDate = regexp.MustCompile(`(?:^|[^0-9])([0-9]{4})([-._]?)([0-9]{2})([-._]?)([0-9]{2})(?:([-._T]?)([0-9]{2})([-.:_]?)([0-9]{2})(?:([-.:_]?)([0-9]{2}))?(Z?))?(?:([-.])([0-9]{1,3}))?(?:[^0-9]|$)`)

// parseDated reads a tag that holds a date, such as 2026-11-22, nightly-20261122
// or 2026.11.22-0300-debian. It must be a day of the calendar.
func parseDated(tag string) (datedTag, bool) {
	m := reDate.FindStringSubmatchIndex(tag)
	if m == nil {
		return datedTag{}, false
	}
	part := func(i int) string {
		if m[2*i] < 0 {
			return ""
		}
		return tag[m[2*i]:m[2*i+1]]
	}
	num := func(i int) int {
		n, _ := strconv.Atoi(part(i)) // digits, or nothing
		return n
	}
	if part(2) != part(4) {
		return datedTag{}, false
	}
	when := time.Date(num(1), time.Month(num(3)), num(5), num(7), num(9), num(11), 0, time.UTC)
	if when.Year() < 1990 || when.Month() != time.Month(num(3)) || when.Day() != num(5) || num(7) > 23 || num(9) > 59 || num(11) > 59 {
		return datedTag{}, false
	}
	// The shape is the tag with its numbers as so many hashes: all but the last,
	// whose length says nothing.
	shape := []byte(tag)
	for _, i := range []int{1, 3, 5, 7, 9, 11} {
		if m[2*i] >= 0 {
			copy(shape[m[2*i]:m[2*i+1]], strings.Repeat("#", m[2*i+1]-m[2*i]))
		}
	}
	d := datedTag{tag: tag, when: when, nth: num(14), shape: string(shape)}
	if m[2*14] >= 0 {
		d.shape = string(shape[:m[2*14]]) + "N" + string(shape[m[2*14+1]:])
	}
	return d, true
}

// expired returns the tags that go, of those that there are: of each of this
// run's series the older ones. A set is its tags in all repositories, so a tag
// goes or stays in all of them.
func (k *retention) expired(tags []string) map[string]bool {
	gone := map[string]bool{}
	for _, own := range k.own {
		series := map[string]datedTag{own.tag: own}
		for _, tag := range tags {
			if d, ok := parseDated(tag); ok && d.shape == own.shape {
				series[tag] = d
			}
		}
		newest := slices.SortedFunc(maps.Values(series), func(a, b datedTag) int { return b.compare(a) })
		for i, d := range newest {
			if k.count > 0 && i >= k.count || k.count == 0 && own.when.Sub(d.when) > k.age {
				gone[d.tag] = true
			}
		}
	}
	for _, own := range k.own {
		delete(gone, own.tag)
	}
	return gone
}

// inventory is the tags that there are, by repository.
type inventory map[string][]string

// expired returns the full names that go, sorted.
func (inv inventory) expired(k *retention) []string {
	var all []string
	for _, tags := range inv {
		all = append(all, tags...)
	}
	gone := k.expired(all)
	var names []string
	for repo, tags := range inv {
		for _, tag := range tags {
			if gone[tag] {
				names = append(names, repo+":"+tag)
			}
		}
	}
	slices.Sort(names)
	return names
}

// repositories returns those of the references, each once.
func repositories(refs []string) map[string]bool {
	repos := map[string]bool{}
	for _, ref := range refs {
		repos[repository(ref)] = true
	}
	return repos
}

// inStore lists the tags in the store of images in these repositories.
func inStore(s *store.Store, repos map[string]bool) (inventory, error) {
	entries, err := s.Entries()
	if err != nil {
		return nil, err
	}
	inv := inventory{}
	for _, e := range entries {
		if repo := repository(e.Name); e.Kind != store.KindBase && repos[repo] {
			inv[repo] = append(inv[repo], tagOf(e.Name))
		}
	}
	return inv, nil
}

// inRegistry lists the tags in the registry: one request for each repository.
func inRegistry(ctx context.Context, c *registry.Client, repos map[string]bool) (inventory, error) {
	inv := inventory{}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for repo := range repos {
		g.Go(func() error {
			tags, err := c.Tags(gctx, repo)
			mu.Lock()
			defer mu.Unlock()
			inv[repo] = tags
			return err
		})
	}
	return inv, g.Wait()
}

// apply lets the older sets go, after a publication of refs. What cannot be
// deleted is told, and fails nothing: the set is published. up is nil where only
// the store has it.
func (k *retention) apply(ctx context.Context, env Env, s *store.Store, up *publisher, refs []string) error {
	if k == nil || len(refs) == 0 {
		return nil
	}
	repos := repositories(refs)
	if up != nil {
		inv, err := inRegistry(ctx, up.client, repos)
		if err != nil {
			env.Notice("warning: older sets stay in the registry: %v", err)
		} else {
			deleteTags(ctx, env, up.client, inv.expired(k))
		}
	}
	inv, err := inStore(s, repos)
	if err != nil {
		return err
	}
	n, err := s.Remove(inv.expired(k)...)
	if err != nil {
		return fmt.Errorf("forgetting older sets: %w", err)
	}
	if n > 0 {
		env.Notice("%d names of older sets were taken out of the store; kolla-build gc frees the space", n)
	}
	return nil
}

// deleteTags deletes tags from a registry, several at a time. A registry that
// allows no deletion is asked once.
func deleteTags(ctx context.Context, env Env, client *registry.Client, names []string) {
	if len(names) == 0 {
		return
	}
	var mu sync.Mutex
	var failed []error
	done := 0
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, name := range names {
		del := func() error {
			err := client.DeleteTag(gctx, name)
			var never *registry.DeleteError
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				done++
			case errors.As(err, &never):
				failed = []error{never}
				return err
			case gctx.Err() == nil:
				failed = append(failed, err)
			}
			return nil
		}
		if i > 0 {
			g.Go(del)
		} else if del() != nil {
			break
		}
	}
	_ = g.Wait() // the errors are in failed
	if done > 0 {
		env.Notice("%s: %d tags of older sets were deleted from the registry; its garbage collection frees the space", series(names), done)
	}
	if len(failed) > 0 {
		env.Notice("warning: %d tags of older sets stay in the registry: %v", len(names)-done, failed[0])
		var h interface{ Hint() string }
		if errors.As(failed[0], &h) && h.Hint() != "" {
			env.Notice("  hint: %s", h.Hint())
		}
	}
}

// series names the tags in a list of names: "2026-11-07, 2026-11-08".
func series(names []string) string {
	var tags []string
	for _, n := range names {
		tags = append(tags, tagOf(n))
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	if len(tags) > 6 {
		tags = append(tags[:5], fmt.Sprintf("and %d more", len(tags)-5))
	}
	return strings.Join(tags, ", ")
}

// foretell says which older sets a run would let go.
func (k *retention) foretell(ctx context.Context, r *buildRun) error {
	if k == nil {
		return nil
	}
	repos := repositories(references(r.plan))
	tell := func(inv inventory, where string) {
		if names := inv.expired(k); len(names) > 0 {
			r.env.Notice("older sets that would go from %s: %s (%d names)", where, series(names), len(names))
		}
	}
	if r.up != nil {
		inv, err := inRegistry(ctx, r.client, repos)
		if err != nil {
			return err
		}
		tell(inv, "the registry")
	}
	inv, err := inStore(r.store, repos)
	if err != nil {
		return err
	}
	tell(inv, "the store")
	return nil
}
