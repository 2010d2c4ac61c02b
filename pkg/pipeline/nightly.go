package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
)

// night is what makes a run a nightly one.
type night struct {
	moving string // the tag that moves to the newest set, "" if the user named a dated one alone
	still  bool   // nothing moved: nothing is published
}

// retainNights is how many dated sets stay where the user says nothing.
const retainNights = "14"

// ErrBusy says that another nightly run is under way.
var ErrBusy = errors.New("another nightly run is under way")

// Nightly is Build as a job does it every night: what moved is built, and the
// set is published under a dated tag and a moving one, with reports, retention
// and a lock. What the user has set stays as it is. A night in which nothing
// moved publishes nothing.
func Nightly(ctx context.Context, cfg *config.Config, env Env) error {
	cfg, n := nightly(cfg, time.Now())
	if cfg.DryRun {
		return Plan(ctx, cfg, env, cfg.Format == "json" && cfg.Origin("format").Kind == config.OriginFlag)
	}
	unlock, err := lockNight(cfg.DataDir)
	if err != nil {
		return err
	}
	defer unlock()
	return runBuild(ctx, cfg, env, n)
}

// nightly fills in what a nightly run wants and the user has not decided.
func nightly(cfg *config.Config, now time.Time) (*config.Config, *night) {
	c := *cfg
	if !c.IsSet("refresh") {
		c.Refresh = true
	}
	if !c.IsSet("push") {
		c.Push = true
	}
	if !c.IsSet("retain") {
		c.Retain = retainNights
	}
	if c.ReportDir == "" {
		c.ReportDir = filepath.Join(c.DataDir, "reports")
	}
	n := &night{}
	if _, dated := parseDated(c.Tag); dated {
		if len(c.AlsoTag) > 0 {
			n.moving = c.AlsoTag[0]
		}
		return &c, n
	}
	n.moving = c.Tag
	c.Tag += "-" + now.Format(time.DateOnly)
	c.AlsoTag = append([]string{n.moving}, slices.DeleteFunc(slices.Clone(c.AlsoTag), func(t string) bool { return t == n.moving })...)
	return &c, n
}

// lockNight keeps two nights off one data directory. The lock ends with the
// process, however it ends.
func lockNight(dataDir string) (func(), error) {
	if err := os.MkdirAll(dataDir, 0o755); err != nil {
		return nil, &HintError{err, "--data-dir names a directory that can be written"}
	}
	path := filepath.Join(dataDir, "nightly.lock")
	l := flock.New(path)
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	if !ok {
		who := ""
		if data, err := os.ReadFile(path); err == nil && len(data) > 0 {
			who = ": " + strings.TrimSpace(string(data))
		}
		return nil, &HintError{fmt.Errorf("%w%s", ErrBusy, who), "let it end, or give this one its own --data-dir"}
	}
	// For whoever comes second; that it cannot be written hurts nobody.
	_ = os.WriteFile(path, fmt.Appendf(nil, "process %d, since %s\n", os.Getpid(), time.Now().Format(time.RFC3339)), 0o644)
	return func() { _ = l.Unlock() }, nil
}

// look finds out whether there is anything to do tonight: an image to build, or
// a moving tag that is not where it should be.
func (n *night) look(r *buildRun) {
	if n == nil {
		return
	}
	n.still = false
	if n.moving == "" || r.plan.ToBuild() > 0 {
		return
	}
	platforms := map[string]int{} // by reference
	for _, it := range r.plan.Items {
		platforms[it.Reference]++
	}
	n.still = !slices.ContainsFunc(r.plan.Items, func(it *plan.Item) bool {
		name := repository(it.Reference) + ":" + n.moving
		named := digestOf(r.store, name)
		return !stands(r.store, named, it, platforms[it.Reference]) || r.up != nil && r.up.have[name].String() != named.String()
	})
}

// stands reports whether what a name names is the image of a plan, or, in runs
// for several platforms, the index with it and as many others.
func stands(s *store.Store, named digest.Digest, it *plan.Item, platforms int) bool {
	if it.Image.Platform == "" || named == "" {
		return named == it.Digest
	}
	idx, err := s.ImageIndex(named)
	if err != nil {
		return false
	}
	m, err := idx.IndexManifest()
	return err == nil && len(m.Manifests) == platforms && slices.ContainsFunc(m.Manifests, func(d v1.Descriptor) bool { return d.Digest.String() == it.Digest.String() })
}

// quiet reports whether nothing moved, so that there is nothing to publish.
func (n *night) quiet() bool { return n != nil && n.still }

// leave names the images as they are known in a night without a set of its own.
func (n *night) leave(r *buildRun, results []*report.Result) {
	for _, res := range results {
		res.Reference = repository(res.Reference) + ":" + n.moving
		res.Pushed = r.up != nil
	}
}

// line says in one line what the night has brought.
func (n *night) line(r *buildRun, run *report.Run, page string) string {
	var parts []string
	built := run.Count(build.StatusBuilt)
	selected := len(run.Selected())
	switch {
	case run.Outcome == report.OutcomeInterrupted:
		parts = append(parts, "interrupted")
	case run.Outcome == report.OutcomeFailed && run.Failed() > 0:
		parts = append(parts, fmt.Sprintf("%d of %d images failed (%s)", run.Failed(), selected, culprits(run)))
	case run.Outcome == report.OutcomeFailed:
		parts = append(parts, "failed")
	case n.still:
		parts = append(parts, fmt.Sprintf("nothing moved, %d images as they were, nothing published", selected))
	default:
		parts = append(parts, fmt.Sprintf("%d of %d images built", built, selected))
		if names := packageNames(run); names != "" {
			parts = append(parts, names)
		}
	}
	switch {
	case len(run.Left) > 0:
		parts = append(parts, "published without "+some(idNames(run.Left))+" as "+strings.Join(run.Tags, " and "))
	case len(run.Tags) > 0:
		parts = append(parts, "published as "+strings.Join(run.Tags, " and "))
	case run.Stuck > 0:
		parts = append(parts, fmt.Sprintf("not published, and %d tags could not be put back", run.Stuck))
	case run.Outcome != report.OutcomeOK && r.up != nil:
		parts = append(parts, "tags name what they named before")
	}
	if page != "" {
		parts = append(parts, "report "+page)
	}
	return "nightly: " + strings.Join(parts, "; ")
}

// maxNamed is how many names a line has before it counts the others.
const maxNamed = 4

func idNames(ids []image.ID) []string {
	var names []string
	for _, id := range ids {
		names = append(names, id.String())
	}
	return names
}

func culprits(run *report.Run) string {
	var names []string
	for _, res := range run.Selected() {
		if res.Status.Bad() && res.Status != build.StatusParentError {
			names = append(names, res.Image.String())
		}
	}
	return some(names)
}

func packageNames(run *report.Run) string {
	var names []string
	for _, res := range run.Results {
		for _, c := range res.Packages {
			text := c.Name + " " + c.From + " → " + c.To
			switch {
			case c.From == "":
				text = c.Name + " " + c.To + " is new"
			case c.To == "":
				text = c.Name + " " + c.From + " is gone"
			}
			if !slices.Contains(names, text) {
				names = append(names, text)
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "packages: " + some(names)
}

func some(names []string) string {
	if len(names) > maxNamed {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
	}
	return strings.Join(names, ", ")
}
