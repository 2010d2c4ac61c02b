// Package nightly owns the special rules of nightly runs: their defaults, their lock, the
// dated tag of the set, and the decision that there is no new set to publish. It must not
// know the stages of a run.
package nightly

import (
	"errors"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Night holds the settings of a nightly run. A nil Night means a normal run.
type Night struct {
	// Floating is the tag that names the newest set, "" if the user only gave a dated one.
	Floating string
	// AddedDate reports that the date was added to the tag, which then gets a number if a set
	// already has it.
	AddedDate bool
}

// retainNights is how many dated sets are kept by default.
const retainNights = "14"

// ErrBusy reports that another nightly run is active.
var ErrBusy = errors.New("another nightly run is active")

// Defaults returns the configuration with the defaults of a nightly run: images with changed
// inputs are built, and the set is pushed under a dated tag and a floating one, with reports and
// retention. Options that the user set are kept.
func Defaults(cfg *config.Config, now time.Time) (*config.Config, *Night) {
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
	n := &Night{}
	if publish.HasDate(c.Tag) {
		if len(c.AlsoTag) > 0 {
			n.Floating = c.AlsoTag[0]
		}
		return &c, n
	}
	n.Floating, n.AddedDate = c.Tag, true
	c.Tag += "-" + now.Format(time.DateOnly)
	c.AlsoTag = append([]string{n.Floating},
		slices.DeleteFunc(slices.Clone(c.AlsoTag), func(t string) bool { return t == n.Floating })...)
	return &c, n
}

// Lock keeps two nightly runs from using one data directory. The lock ends
// with the process. The error is ErrBusy if another run has it.
func Lock(dataDir string) (unlock func(), err error) {
	if err := atomicfile.MkdirAll(dataDir, 0o755); err != nil {
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
	// For the message of a second run; an error can be ignored.
	_ = lock.SetProcess()
	return func() { lock.Close() }, nil
}

// NothingNew reports whether a nightly run has no set to publish: no image is built, and the
// floating tag already names the images, in the store and in the registry. The registry is nil
// if nothing is pushed.
func (n *Night) NothingNew(p *plan.Plan, s *store.Store, registry *publish.Registry) bool {
	if n == nil || n.Floating == "" || p.ToBuild() > 0 {
		return false
	}
	platforms := map[string]int{} // by reference
	for _, it := range p.Items {
		platforms[it.Reference]++
	}
	return !slices.ContainsFunc(p.Items, func(it *plan.Item) bool {
		name := publish.WithTag(it.Reference, n.Floating)
		e, ok, err := s.Lookup(name)
		return err != nil || !ok || !isImage(s, e.Digest, it, platforms[it.Reference]) ||
			registry != nil && registry.Current(name) != e.Digest
	})
}

// isImage reports whether d is the image of a plan or, in runs for several platforms,
// an index that contains it and has the right number of images.
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

// Reference returns the name of an image after a night without a new set.
func (n *Night) Reference(reference string) string { return publish.WithTag(reference, n.Floating) }
