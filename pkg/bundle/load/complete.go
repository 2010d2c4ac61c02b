package load

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/bundle"
)

// complete reads the manifests that precede the index, and checks that every blob is in
// the tar or, undamaged, in the store.
func (l *loader) complete(ctx context.Context) error {
	for len(l.lateManifests) > 0 {
		d := l.lateManifests[0]
		l.lateManifests = l.lateManifests[1:]
		b, err := l.st.ReadManifest(d)
		if err != nil {
			return err
		}
		if err := l.children(d, b, l.expected[d]); err != nil {
			return err
		}
	}
	if err := l.keepPartial(ctx); err != nil {
		return err
	}
	var missing []digest.Digest
	for d, e := range l.expected {
		if _, ok := l.received[d]; ok {
			continue
		}
		if l.st.HasBlob(d, e.size) {
			damaged, err := l.st.CheckBlob(ctx, d)
			if err != nil {
				return err
			}
			if !damaged {
				continue
			}
		}
		missing = append(missing, d)
	}
	if len(missing) == 0 {
		return nil
	}
	d := slices.Min(missing)
	detail := "it is neither in the bundle nor in the store"
	if n := len(missing); n > 1 {
		detail += fmt.Sprintf(", as %d others", n-1)
	}
	return &bundle.FormatError{Blob: d, Of: l.expected[d].role.String(), Detail: detail, Advice: bundle.AdviceTruncated}
}

// withMissing adds the number of missing blobs to the error of a truncated tar.
func (l *loader) withMissing(err error) error {
	var fe *bundle.FormatError
	if !l.indexSeen || !errors.As(err, &fe) || fe.Advice != bundle.AdviceTruncated {
		return err
	}
	n := 0
	for d := range l.expected {
		if _, ok := l.received[d]; !ok {
			n++
		}
	}
	fe.Detail += fmt.Sprintf(", with at least %s missing", units.Count(n, "blob"))
	return err
}

// checkSharing returns an error if walks over all images would take too long. Each manifest
// is read once.
func (l *loader) checkSharing(ctx context.Context) error {
	visits := map[digest.Digest]int{} // of a walk over a manifest or index, at most
	var count func(d digest.Digest, depth int) (int, error)
	count = func(d digest.Digest, depth int) (int, error) {
		if n, ok := visits[d]; ok || depth > ocijson.MaxNesting || ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		raw, err := l.st.ReadManifest(d)
		var doc ocijson.Document
		if err == nil {
			doc, err = ocijson.Parse(raw)
		}
		if err != nil {
			return 1, nil //nolint:nilerr // Check reports it, with the image
		}
		n := 2 + len(doc.Layers)
		for _, child := range doc.Manifests {
			childCount, err := count(child.Digest, depth+1)
			if err != nil {
				return 0, err
			}
			n = min(n+childCount, bundle.MaxVisits+1)
		}
		visits[d] = n
		return n, nil
	}
	total := 0
	for _, d := range l.images {
		n, err := count(d.Digest, 0)
		if err != nil {
			return err
		}
		if total += n; total > bundle.MaxVisits {
			return &bundle.FormatError{Detail: bundle.ErrShared.Error(), Advice: bundle.AdviceForged}
		}
	}
	return nil
}
