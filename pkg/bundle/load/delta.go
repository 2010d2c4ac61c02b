package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/reader"
	"github.com/kolla-build/kolla-build/pkg/delta"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// MissingError reports that blobs which a delta requires are missing.
type MissingError struct {
	Since   string // the site that the delta was made for, "" if unknown
	Missing []string
	Images  []string // sorted: images that need the blobs, each once: for every blob the first one
	AtLeast int      // how many images need one of the blobs, the others included
}

// Add adds a blob, the first image that needs it, and the number of the others.
func (e *MissingError) Add(blob digest.Digest, image string, others int) {
	e.Missing = append(e.Missing, blob.String())
	e.AtLeast = max(e.AtLeast, min(others, bundle.MaxImages)+1)
	if at, found := slices.BinarySearch(e.Images, image); !found && len(e.Images) < maxNamesKept {
		e.Images = slices.Insert(e.Images, at, image)
	}
}

// Error implements error.
func (e *MissingError) Error() string {
	images := units.List(e.Images, maxNamesShown)
	if e.AtLeast > len(e.Images) {
		shown := min(len(e.Images), maxNamesShown)
		images = fmt.Sprintf("%s and at least %d more", strings.Join(e.Images[:shown], ", "), e.AtLeast-shown)
	}
	return fmt.Sprintf("it is a delta, and the store lacks %s that it requires: %s, for %s",
		units.Count(len(e.Missing), "blob"), units.List(e.Missing, maxNamesShown), images)
}

// Hint returns a hint for the user.
func (e *MissingError) Hint() string {
	hint := "load the earlier bundles first, or save a new one with --since and the output of kolla-build inventory --store"
	if e.Since != "" {
		hint += "; it was made for " + e.Since
	}
	return hint
}

// An error lists maxNamesShown names, and counts maxNamesKept.
const (
	maxNamesShown = 3
	maxNamesKept  = 1000
)

// requirements reads delta.json and checks that everything required is in the store,
// before any blob is written.
func (l *loader) requirements(ctx context.Context, m reader.Member) error {
	if len(l.received) > 0 {
		return &bundle.FormatError{Member: m.Name, Detail: bundle.DetailLateDeltaList, Advice: bundle.AdviceForged}
	}
	b, err := l.readSmall(m, bundle.MaxIndex)
	if err != nil {
		return err
	}
	doc, err := bundle.ParseDeltaList(b)
	if err != nil {
		return &bundle.FormatError{Member: m.Name, Detail: "not the list of a delta", Err: err}
	}
	missing := &MissingError{Since: bundle.Printable(doc.Since)}
	for _, r := range doc.Requires {
		ok := l.st.HasBlob(r.Digest, r.Size)
		if ok && r.Manifest {
			var damaged *store.BlobError
			err := l.st.CheckBlobs(ctx, r.Digest)
			if ok = err == nil; err != nil && !errors.As(err, &damaged) {
				return err
			}
		}
		if !ok {
			missing.Add(r.Digest, bundle.Printable(r.Image), r.More)
		}
	}
	if len(missing.Missing) > 0 {
		return missing
	}
	l.deltaBases = map[digest.Digest]int64{}
	for _, r := range doc.Requires {
		if !r.Manifest {
			l.deltaBases[r.Digest] = r.Size
		}
	}
	l.sum.Required = len(doc.Requires)
	return nil
}

// applyDelta makes a layer from a byte delta and stores it.
func (l *loader) applyDelta(ctx context.Context, m reader.Member) error {
	expected, known := l.expected[m.Digest]
	if !known || expected.manifest {
		return &bundle.FormatError{Member: m.Name, Detail: "no manifest before it refers to this layer",
			Advice: bundle.AdviceForged}
	}
	if l.sum.Deltas == 0 {
		if err := l.checkDeltaSpace(); err != nil {
			return err
		}
	}
	l.received[m.Digest] = expected.size
	l.sum.Blobs++
	l.sum.Deltas++
	l.sum.DeltaBytes += m.Size
	l.sum.DeltaLayers += expected.size
	if l.st.HasBlob(m.Digest, expected.size) {
		damaged, err := l.st.CheckBlob(ctx, m.Digest)
		if err != nil {
			return err
		}
		if !damaged {
			l.sum.Reused++
			l.work.Skip(m.Size)
			return nil
		}
		l.sum.Repaired++
	}
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		accept := func(h delta.Header) error { return l.work.Add(h, m.Size) }
		err := delta.ApplyIf(ctx, pw, l.src.Files, delta.Layer{Digest: m.Digest, Size: expected.size}, l.openBase,
			l.st.TempDir(), accept)
		pw.CloseWithError(err)
		done <- err
	}()
	_, _, err := l.st.WriteBlob(ctx, pr, m.Digest, expected.size)
	pr.CloseWithError(errStopped) // ends Apply if the store gave up
	if applied := <-done; applied != nil && !errors.Is(applied, errStopped) {
		return &bundle.FormatError{Member: m.Name, Blob: m.Digest, Of: expected.role.String(), Err: applied}
	}
	if err != nil {
		return err
	}
	l.sum.Bytes += m.Size
	return nil
}

// openBase opens the base of a byte delta. It must be listed in delta.json, so that a
// bundle cannot make the site expand a layer of the bundle.
func (l *loader) openBase(d digest.Digest, size int64) (io.ReadCloser, error) {
	if _, listed := l.deltaBases[d]; !listed {
		return nil, fmt.Errorf("%s, which it was made from, is not in %s", d, bundle.DeltaListName)
	}
	if !l.st.HasBlob(d, size) {
		return nil, fmt.Errorf("%s of %d bytes, which it was made from, is not in the store", d, size)
	}
	return l.st.OpenBlob(d)
}

// errStopped ends the writer of a pipe whose reader has given up.
var errStopped = errors.New("the store stopped reading")
