package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/delta"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// MissingError reports that blobs which a delta requires are missing.
type MissingError struct {
	Since   string // the site that the delta was made for, "" if unknown
	Missing []string
	Images  []string // images that need the blobs, each once: for every blob the first one
	AtLeast int      // how many images need one of the blobs, the others included
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

// maxNamesShown is how many names an error lists.
const maxNamesShown = 3

// parseDelta parses delta.json, in at most a small multiple of its size in memory.
func parseDelta(b []byte) (deltaDocument, error) {
	var doc deltaDocument
	err := object(b, func(key string, dec *json.Decoder) error {
		switch key {
		case "version":
			return dec.Decode(&doc.Version)
		case "since":
			return dec.Decode(&doc.Since)
		case "requires":
			return elements(dec, maxBlobs, func(dec *json.Decoder) error {
				var r requirement
				if err := dec.Decode(&r); err != nil {
					return err
				}
				doc.Requires = append(doc.Requires, r)
				if err := r.Digest.Validate(); err != nil {
					return fmt.Errorf("digest %q: %w", r.Digest, err)
				}
				return nil
			})
		}
		return ignore(dec)
	})
	if doc.Since == "store" { // of an earlier release, which named every store alike
		doc.Since = "a store"
	}
	if err == nil && doc.Version != deltaVersion {
		err = fmt.Errorf("its version is %d, this program knows %d", doc.Version, deltaVersion)
	}
	return doc, err
}

// followsBlobs is the problem of a delta.json that is read too late: what it requires is
// checked before any blob is written.
const followsBlobs = "it follows blobs"

// requirements reads delta.json and checks that everything required is in the store,
// before any blob is written.
func (l *loader) requirements(ctx context.Context, m member) error {
	if len(l.received) > 0 {
		return &FormatError{Member: m.name, Detail: followsBlobs, Advice: adviceForeign}
	}
	b, err := l.readSmall(m, maxIndex)
	if err != nil {
		return err
	}
	doc, err := parseDelta(b)
	if err != nil {
		return &FormatError{Member: m.name, Detail: "not the list of a delta", Err: err}
	}
	missing := &MissingError{Since: printable(doc.Since)}
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
			missing.Missing = append(missing.Missing, r.Digest.String())
			missing.AtLeast = max(missing.AtLeast, min(r.More, maxImages)+1)
			if image := printable(r.Image); !slices.Contains(missing.Images, image) && len(missing.Images) < 1000 {
				missing.Images = append(missing.Images, image)
			}
		}
	}
	if len(missing.Missing) > 0 {
		slices.Sort(missing.Images)
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

// printable returns a text from a bundle, quoted unless a terminal can show it, in at most 300 bytes.
func printable(s string) string {
	s = usererr.Printable(s)
	if len(s) > 300 {
		return strings.ToValidUTF8(s[:300], "")
	}
	return s
}

// applyDelta makes a layer from a byte delta and stores it.
func (l *loader) applyDelta(ctx context.Context, m member) error {
	expected, known := l.expected[m.digest]
	if !known || expected.manifest {
		return &FormatError{Member: m.name, Detail: "no manifest before it refers to this layer", Advice: adviceForeign}
	}
	if l.sum.Deltas == 0 {
		if err := l.checkDeltaSpace(); err != nil {
			return err
		}
	}
	l.received[m.digest] = expected.size
	l.sum.Blobs++
	l.sum.Deltas++
	l.sum.DeltaBytes += m.size
	l.sum.DeltaLayers += expected.size
	if l.st.HasBlob(m.digest, expected.size) {
		damaged, err := l.st.CheckBlob(ctx, m.digest)
		if err != nil {
			return err
		}
		if !damaged {
			l.sum.Reused++
			return nil
		}
		l.sum.Repaired++
	}
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := delta.Apply(ctx, pw, l.src.tr, delta.Layer{Digest: m.digest, Size: expected.size}, l.openBase, l.st.TempDir())
		pw.CloseWithError(err)
		done <- err
	}()
	_, _, err := l.st.WriteBlob(ctx, pr, m.digest, expected.size)
	pr.CloseWithError(errStopped) // ends Apply if the store gave up
	if applied := <-done; applied != nil && !errors.Is(applied, errStopped) {
		return &FormatError{Member: m.name, Blob: m.digest, Of: expected.role.String(), Err: applied}
	}
	if err != nil {
		return err
	}
	l.sum.Bytes += m.size
	return nil
}

// openBase opens the base of a byte delta. It must be listed in delta.json, so that a
// bundle cannot make the site expand a layer of the bundle.
func (l *loader) openBase(d digest.Digest, size int64) (io.ReadCloser, error) {
	if _, listed := l.deltaBases[d]; !listed {
		return nil, fmt.Errorf("%s, which it was made from, is not in %s", d, deltaIndex)
	}
	if !l.st.HasBlob(d, size) {
		return nil, fmt.Errorf("%s of %d bytes, which it was made from, is not in the store", d, size)
	}
	return l.st.OpenBlob(d)
}

// errStopped ends the writer of a pipe whose reader has given up.
var errStopped = errors.New("the store stopped reading")
