package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// night makes a run a nightly one.
type night struct {
	floating string // the tag that names the newest set, "" if the user gave a dated one alone
	dated    bool   // the date was added to the tag, and gets a number if a set has it
}

// retainNights is how many dated sets are kept by default.
const retainNights = "14"

// ErrBusy says that another nightly run is under way.
var ErrBusy = errors.New("another nightly run is under way")

// Nightly is Build with the defaults of a nightly job: images with changed inputs
// are built, and the set is published under a dated tag and a floating one, with
// reports, retention and a lock. Options that the user set are kept. A night in
// which nothing changed publishes nothing.
func Nightly(ctx context.Context, cfg *config.Config, c *console.Console) error {
	cfg, n := nightly(cfg, time.Now())
	if cfg.Push && cfg.Registry == "" {
		return usererr.Usage(usererr.Errorf("--registry HOST[:PORT] names it (docker.io is Docker Hub); --nopush builds without publishing",
			"nightly: no registry to publish to"))
	}
	if cfg.DryRun {
		return Plan(ctx, cfg, c, cfg.Format == "json" && cfg.Origin("format").Kind == config.OriginFlag)
	}
	unlock, err := lockNight(cfg.DataDir)
	if err != nil {
		return err
	}
	defer unlock()
	return run(ctx, cfg, c, runOptions{night: n})
}

// nightly returns the configuration with the defaults of a nightly run.
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
	if publish.HasDate(c.Tag) {
		if len(c.AlsoTag) > 0 {
			n.floating = c.AlsoTag[0]
		}
		return &c, n
	}
	n.floating, n.dated = c.Tag, true
	c.Tag += "-" + now.Format(time.DateOnly)
	c.AlsoTag = append([]string{n.floating}, slices.DeleteFunc(slices.Clone(c.AlsoTag), func(t string) bool { return t == n.floating })...)
	return &c, n
}

// lockNight keeps two nightly runs from using one data directory. The lock ends
// with the process.
func lockNight(dataDir string) (unlock func(), err error) {
	if err := os.MkdirAll(dataDir, 0o755); err != nil {
		return nil, usererr.WithHint(err, "--data-dir names a directory that can be written")
	}
	lock, err := filelock.Try(filepath.Join(dataDir, "nightly.lock"))
	var held *filelock.HeldError
	if errors.As(err, &held) {
		return nil, usererr.Errorf("wait for its end, or give this one its own --data-dir", "%w%s", ErrBusy, held.By())
	}
	if err != nil {
		return nil, err
	}
	// For the message of a second run; that it cannot be written is no reason to stop.
	_ = lock.SetProcess()
	return func() { lock.Close() }, nil
}

// nothingNew reports whether a nightly run has no set to publish: no image is
// built, and the floating tag names the images as they are, everywhere.
func (n *night) nothingNew(p *planned, s *store.Store) bool {
	if n == nil || n.floating == "" || p.plan.ToBuild() > 0 {
		return false
	}
	platforms := map[string]int{} // by reference
	for _, it := range p.plan.Items {
		platforms[it.Reference]++
	}
	return !slices.ContainsFunc(p.plan.Items, func(it *plan.Item) bool {
		name := publish.WithTag(it.Reference, n.floating)
		e, ok, err := s.Lookup(name)
		return err != nil || !ok || !isImage(s, e.Digest, it, platforms[it.Reference]) || p.registry != nil && p.registry.Current(name) != e.Digest
	})
}

// isImage reports whether d is the image of a plan or, in runs for several
// platforms, an index with it and as many others.
func isImage(s *store.Store, d digest.Digest, it *plan.Item, platforms int) bool {
	if it.Image.Platform == "" {
		return d == it.Digest
	}
	idx, err := s.ImageIndex(d)
	if err != nil {
		return false
	}
	m, err := idx.IndexManifest()
	return err == nil && len(m.Manifests) == platforms &&
		slices.ContainsFunc(m.Manifests, func(d v1.Descriptor) bool { return d.Digest.String() == it.Digest.String() })
}

// reference returns the name under which an image is known after a night without
// a set of its own.
func (n *night) reference(reference string) string { return publish.WithTag(reference, n.floating) }
