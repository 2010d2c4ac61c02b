package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
)

func TestBatch(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	same := func(err error) error { return err }
	content := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1000*i) }
	b := s.Batch()
	for i := range 3 * maxSyncs {
		if err := b.Write(t.Context(), bytes.NewReader(content(i)), digest.FromBytes(content(i)),
			int64(1000*i), same); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxSyncs {
		if damaged, err := s.DropBad(t.Context(), digest.FromBytes(content(i))); damaged || err != nil {
			t.Errorf("blob %d: damaged: %t, %v", i, damaged, err)
		}
	}
	// What the store has is not read.
	unread := iotest.ErrReader(errors.New("it was read"))
	if err := b.Write(t.Context(), unread, digest.FromBytes(content(9)), 9000, same); err != nil {
		t.Error(err)
	}
	if err := b.Wait(); err != nil {
		t.Error(err)
	}
}

// The error names the first damaged blob, and the blobs before it are kept.
func TestBatchWithDamagedBlobs(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	text := func(i int) string { return fmt.Sprintf("blob %d", i) }
	b := s.Batch()
	written := 0
	for i := range 100 {
		read := text(i)
		if i == 7 || i == 8 {
			read = "damage"
		}
		if err = b.Write(t.Context(), strings.NewReader(read), digest.FromString(text(i)),
			6+int64(i/10), func(err error) error {
				return fmt.Errorf("blob %d: %w", i, err)
			}); err != nil {
			break
		}
		written++
	}
	waited := b.Wait()
	var damaged *BlobError
	if !errors.As(waited, &damaged) || damaged.Digest != digest.FromString(text(7)) ||
		!strings.HasPrefix(waited.Error(), "blob 7: ") {
		t.Errorf("%d blobs written: %v, want the error of blob 7", written, waited)
	}
	if err == nil || written < 7 {
		t.Errorf("%d blobs were accepted (%v), want at least 7 and not all", written, err)
	}
	for i := range 100 {
		has := s.HasBlob(digest.FromString(text(i)), -1)
		if want := i < 7 || i > 8 && i < written && has; has != want { // later ones may have been written beside it
			t.Errorf("blob %d is in the store: %t (%d were accepted)", i, has, written)
		}
		if !has {
			continue
		}
		if bad, err := s.DropBad(t.Context(), digest.FromString(text(i))); bad || err != nil {
			t.Errorf("blob %d: damaged: %t, %v", i, bad, err)
		}
	}
	if s.HasBlob(digest.FromString("damage"), -1) {
		t.Error("the damaged content is in the store")
	}
	// One that ends early is not kept either.
	b = s.Batch()
	if err := b.Write(t.Context(), strings.NewReader("short"), digest.FromString("short and more"), 14,
		func(err error) error { return err }); !errors.As(err, &damaged) {
		t.Errorf("a blob that ends early: %v", err)
	}
	if err := b.Wait(); !errors.As(err, &damaged) || damaged.Digest != digest.FromString("short and more") {
		t.Errorf("waiting for it: %v", err)
	}
	if s.HasBlob(digest.FromString("short and more"), -1) || s.HasBlob(digest.FromString("short"), -1) {
		t.Error("a blob that ended early is in the store")
	}
	if left, err := os.ReadDir(filepath.Join(s.Dir(), "tmp")); err != nil || len(left) > 0 {
		t.Errorf("temporary files were left: %v, %v", left, err)
	}
}

// A blob gets its name when its content is on the disk, and not before: with a failed sync, it gets
// none. The others are not affected.
func TestBatchSyncsBeforeNames(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	broken := errors.New("the disk is broken")
	const count, bad = 40, 17
	content := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 100_000) }
	var mu sync.Mutex
	synced := map[digest.Digest]bool{}
	t.Cleanup(func() { atomicfile.Sync = (*os.File).Sync })
	atomicfile.Sync = func(f *os.File) error {
		written := make([]byte, len(content(0)))
		if n, err := f.ReadAt(written, 0); n < len(written) {
			return err // another file
		}
		d := digest.FromBytes(written)
		if s.HasBlob(d, -1) {
			t.Errorf("%s had its name before it was synced", d)
		}
		if written[0] == bad {
			return broken
		}
		mu.Lock()
		defer mu.Unlock()
		synced[d] = true
		return f.Sync()
	}
	b := s.Batch()
	for i := range count {
		err := b.Write(t.Context(), bytes.NewReader(content(i)), digest.FromBytes(content(i)), int64(len(content(i))),
			func(err error) error { return err })
		if err != nil && !errors.Is(err, broken) {
			t.Fatal(err)
		}
	}
	if err := b.Wait(); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	named := 0
	for i := range count {
		d := digest.FromBytes(content(i))
		if s.HasBlob(d, -1) != synced[d] {
			t.Errorf("blob %d: synced: %t, has a name: %t", i, synced[d], s.HasBlob(d, -1))
		}
		if synced[d] {
			named++
		}
	}
	if named < bad {
		t.Errorf("%d blobs were stored, want at least the %d before the one that was not synced", named, bad)
	}
}
