// Package repair owns finding damaged blobs in the store, and removing them so that
// their images are built or fetched again. It must not know how images are built, and
// must not remove blobs that it has not found to be damaged.
package repair

import (
	"context"
	"errors"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/store"
)

// Whole reports whether the store has all blobs of an image with the right sizes. It
// changes nothing.
func Whole(ctx context.Context, s *store.Store, d digest.Digest) bool { return s.Check(ctx, d) == nil }

// WholeOrRemove is like Whole, and removes the first blob of the wrong size, which
// would prevent the right one from being written.
func WholeOrRemove(ctx context.Context, s *store.Store, d digest.Digest) bool {
	err := s.Check(ctx, d)
	var blobErr *store.BlobError
	if errors.As(err, &blobErr) && !blobErr.Missing {
		_, _ = s.DropBad(ctx, blobErr.Digest) // a blob that cannot be removed is found again when it is read
	}
	return err == nil
}

// DamageError reports a blob whose content does not match its digest. The blob has been
// removed.
type DamageError struct{ Blob *store.BlobError }

func (e *DamageError) Error() string { return "the store is damaged: " + e.Blob.Error() }

// Unwrap returns the blob's error.
func (e *DamageError) Unwrap() error { return e.Blob }

// Hint returns a hint for the user.
func (e *DamageError) Hint() string {
	return "run the build again to rebuild the images with this blob"
}

// RemoveDamaged returns a *DamageError if err is about a damaged or missing
// blob, after removing a damaged one; otherwise it returns err.
func RemoveDamaged(ctx context.Context, s *store.Store, err error) error {
	var blobErr *store.BlobError
	if !errors.As(err, &blobErr) {
		return err
	}
	if !blobErr.Missing {
		if removed, rerr := s.DropBad(ctx, blobErr.Digest); rerr != nil || !removed {
			return err
		}
	}
	return &DamageError{blobErr}
}

// Verify reads every blob of the images and removes those that are damaged. It
// reports whether any blob is missing or was removed; removed is called for each
// of the latter.
func Verify(ctx context.Context, s *store.Store, images []digest.Digest, removed func(*store.BlobError)) (
	damaged bool) {
	seen := map[digest.Digest]bool{"": true}
	for _, d := range images {
		if seen[d] {
			continue
		}
		seen[d] = true
		for {
			var blobErr *store.BlobError
			if err := s.Verify(ctx, d); !errors.As(err, &blobErr) {
				break
			}
			if blobErr.Missing { // such as one that an upload has found damaged and removed
				damaged = true
				break
			}
			if ok, err := s.DropBad(ctx, blobErr.Digest); err != nil || !ok {
				break
			}
			damaged = true
			removed(blobErr)
		}
	}
	return damaged
}
