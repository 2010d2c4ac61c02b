package save

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/filecopy"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// blobFiles are the layers of two images that are large enough to be copied within the kernel.
func blobFiles(t *testing.T) (*store.Store, []store.Entry, []string) {
	t.Helper()
	s, entries := storetest.FillSize(t, 3*filecopy.MinSize)
	var paths []string
	for _, e := range entries {
		for _, l := range testenv.Must[[]v1.Descriptor](t)(storetest.LayersOf(s, e)) {
			if l.Size >= filecopy.MinSize {
				paths = append(paths, filepath.Join(s.Dir(), "blobs", "sha256", l.Digest.Hex))
			}
		}
	}
	slices.Sort(paths)
	if paths = slices.Compact(paths); len(paths) < 2 {
		t.Fatalf("only %d large layers", len(paths))
	}
	return s, entries, paths
}

// countCopies counts the calls of copy_file_range that copied something. Those from the one with
// the number failFrom, unless that is 0, return failure and copy nothing.
func countCopies(t *testing.T, failFrom int64, failure error) (copied *atomic.Int64) {
	t.Helper()
	var calls atomic.Int64
	copied = &atomic.Int64{}
	t.Cleanup(func() { filecopy.CopyFileRange = unix.CopyFileRange })
	filecopy.CopyFileRange = func(from int, fromAt *int64, to int, toAt *int64, size, flags int) (int, error) {
		if calls.Add(1) >= failFrom && failFrom > 0 {
			return 0, failure
		}
		n, err := unix.CopyFileRange(from, fromAt, to, toAt, size, flags)
		if n > 0 {
			copied.Add(1)
		}
		return n, err
	}
	return copied
}

// The file is the same, whether its layers are copied within the kernel or read: because the
// output is on another file system, because the kernel cannot copy, or because it copies nothing.
// The same holds for what load stores.
func TestSaveAndLoadOnFileSystems(t *testing.T) {
	s, entries, layers := blobFiles(t)
	var piped bytes.Buffer
	testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, "-", Options{Stdout: &piped}))
	for name, c := range map[string]struct {
		dir      func(*testing.T) string
		failFrom int64
		failure  error
		copied   int // calls that copy
	}{
		"same file system":                      {dir: (*testing.T).TempDir, copied: len(layers)},
		"another file system":                   {dir: testenv.OtherFileSystem},
		"copies fail":                           {dir: (*testing.T).TempDir, failFrom: 1, failure: unix.EXDEV},
		"nothing is copied":                     {dir: (*testing.T).TempDir, failFrom: 1},
		"nothing is copied after the first one": {dir: (*testing.T).TempDir, failFrom: 2, copied: 1},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(c.dir(t), "set.tar")
			var done, total int64
			opts := Options{Progress: func(d, n int64) { done, total = d, n }}
			copied := countCopies(t, c.failFrom, c.failure)
			testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, out, opts))
			if b := testenv.Must[[]byte](t)(os.ReadFile(out)); !bytes.Equal(b, piped.Bytes()) {
				t.Errorf("%s: %d bytes differ from the %d to standard output", out, len(b), piped.Len())
			}
			if got := copied.Load(); got != int64(c.copied) {
				t.Errorf("save: %d calls copied within the kernel, want %d", got, c.copied)
			}
			if done != total || total == 0 {
				t.Errorf("save: progress ended at %d of %d", done, total)
			}
			to := storetest.Open(t)
			copied = countCopies(t, c.failFrom, c.failure)
			sum := testenv.Must[load.Summary](t)(load.Bundle(t.Context(), out, to, load.Options{}))
			if got := copied.Load(); got != int64(c.copied) {
				t.Errorf("load: %d calls copied within the kernel, want %d", got, c.copied)
			}
			for _, e := range sum.Images {
				if err := to.Verify(t.Context(), e.Digest); err != nil {
					t.Error(err)
				}
			}
			out = filepath.Join(filepath.Dir(out), "set")
			copied = countCopies(t, c.failFrom, c.failure)
			testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, out+"/", opts))
			if got := copied.Load(); got != int64(c.copied) {
				t.Errorf("save to a directory: %d calls copied within the kernel, want %d", got, c.copied)
			}
			if done != total {
				t.Errorf("save to a directory: progress ended at %d of %d", done, total)
			}
			if r := testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), out, verify.Options{})); !r.OK {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A save whose disk is full after the first layer fails, and completes when there is space.
func TestFullDiskDuringKernelCopy(t *testing.T) {
	s, entries, _ := blobFiles(t)
	out := filepath.Join(t.TempDir(), "set.tar")
	copied := countCopies(t, 2, unix.ENOSPC)
	if _, err := Bundle(t.Context(), s, entries, out, Options{}); !errors.Is(err, unix.ENOSPC) || copied.Load() != 1 {
		t.Errorf("after %d copies: %v", copied.Load(), err)
	}
	countCopies(t, 0, nil)
	if sum := testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, out, Options{})); sum.Kept < filecopy.MinSize {
		t.Errorf("%d bytes were kept", sum.Kept)
	}
	if !testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), out, verify.Options{})).OK {
		t.Error("the bundle is damaged")
	}
}

// Progress grows while copies are hashed, because copying takes no time where blocks are shared.
// The end of the context stops the hashes.
func TestProgressOfKernelCopy(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 1<<20)
	from := filepath.Join(t.TempDir(), "from")
	if err := os.WriteFile(from, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f := bundle.ContentFile("blobs/sha256/x", content)
	f.Open = func() (io.ReadCloser, error) { return openedFile(from) }
	whole := make(chan struct{})
	t.Cleanup(func() { filecopy.CopyFileRange = unix.CopyFileRange })
	filecopy.CopyFileRange = func(from int, fromAt *int64, to int, toAt *int64, size, flags int) (int, error) {
		n, err := unix.CopyFileRange(from, fromAt, to, toAt, size, flags)
		if *fromAt == f.Size {
			close(whole)
		}
		return n, err
	}
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	var last int64
	opts := Options{Progress: func(done, _ int64) { <-whole; last = done; cancel(stopped) }}
	err := writeToFile(ctx, filepath.Join(t.TempDir(), "set.tar"), []bundle.File{f}, &Summary{}, opts)
	if !errors.Is(err, stopped) || last == 0 || last == f.Size {
		t.Errorf("%d of %d bytes hashed (%v)", last, f.Size, err)
	}
}

// Damage in the store is found although the bytes do not pass through the process, and no file
// gets the name. After a repair, the same save completes.
func TestSaveOfDamagedLargeBlob(t *testing.T) {
	s, entries, paths := blobFiles(t)
	for _, path := range paths {
		whole := testenv.Must[[]byte](t)(os.ReadFile(path))
		write := func(b []byte) {
			if err := errors.Join(os.Remove(path), os.WriteFile(path, b, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		changed := bytes.Clone(whole)
		changed[filecopy.MinSize/2] ^= 1
		dir := t.TempDir()
		for output, name := range map[string]string{"set.tar": "set.tar", "set/": "set/blobs/sha256/" + filepath.Base(path)} {
			for what, damaged := range map[string][]byte{"changed": changed, "truncated": whole[:len(whole)-1],
				"longer": append(changed, 0)} {
				write(damaged)
				_, err := Bundle(t.Context(), s, entries, dir+"/"+output, Options{})
				var blob *store.BlobError
				if !errors.As(err, &blob) || blob.Digest.Encoded() != filepath.Base(path) {
					t.Errorf("%s: %s %s: %v", output, what, filepath.Base(path), err)
				}
				if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s: %s has its name (%v)", output, name, err)
				}
			}
			write(whole)
			testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, dir+"/"+output, Options{}))
			if !testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), filepath.Join(dir, output), verify.Options{})).OK {
				t.Errorf("%s: the bundle after a repair is damaged", output)
			}
		}
	}
}

// A blob that is truncated after the save has planned its size is reported as damaged.
func TestBlobTruncatedDuringSave(t *testing.T) {
	s, _, paths := blobFiles(t)
	size := testenv.Must[os.FileInfo](t)(os.Stat(paths[0])).Size()
	d := digest.NewDigestFromEncoded(digest.SHA256, filepath.Base(paths[0]))
	f := bundle.File{Name: bundle.BlobPath(d), Size: size, Digest: d,
		Open: func() (io.ReadCloser, error) { return s.OpenBlob(d) }}
	if err := errors.Join(os.Chmod(paths[0], 0o600), os.Truncate(paths[0], size-1)); err != nil {
		t.Fatal(err)
	}
	var blob *store.BlobError
	err := writeToFile(t.Context(), filepath.Join(t.TempDir(), "set.tar"), []bundle.File{f}, &Summary{}, Options{})
	if !errors.As(err, &blob) || blob.Digest != d {
		t.Error(err)
	}
}

// A copy that differs from its source is an error.
func TestWrongCopy(t *testing.T) {
	dir := t.TempDir()
	content := bytes.Repeat([]byte("0123456789"), filecopy.MinSize)
	from := filepath.Join(dir, "from")
	if err := os.WriteFile(from, content, 0o600); err != nil {
		t.Fatal(err)
	}
	intact := bundle.ContentFile("blobs/sha256/x", content)
	changed := bytes.Clone(content)
	changed[0] ^= 1
	f := bundle.File{Name: intact.Name, Size: intact.Size, Digest: digest.FromBytes(changed),
		Open: func() (io.ReadCloser, error) { return openedFile(from) }}
	out := filepath.Join(dir, "set.tar")
	err := writeToFile(t.Context(), out, []bundle.File{f}, &Summary{}, Options{})
	if err == nil || !strings.Contains(err.Error(), "was not written correctly") {
		t.Error(err)
	}
}

// fileReader is a reader of a file that offers it for copying.
type fileReader struct {
	io.ReadCloser
	f *os.File
}

func (f fileReader) File() *os.File { return f.f }

func openedFile(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	return fileReader{f, f}, err
}

// The disk begins to write long before the end, although each layer is small: waiting for the sync
// at the end would take as long as all of it.
func TestDiskBeginsEarly(t *testing.T) {
	testenv.Slow(t)
	s, entries := storetest.FillSize(t, 5<<20)
	var calls, early atomic.Int64
	t.Cleanup(func() { disk.SyncFileRange = unix.SyncFileRange })
	disk.SyncFileRange = func(_ int, _, n int64, _ int) error {
		calls.Add(1)
		early.Add(n)
		return nil
	}
	dir := t.TempDir()
	sum := testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, dir+"/set.tar", Options{}))
	if left := sum.Bytes - early.Load(); left > 10<<20 { // a signal can end a copy in the middle of a layer
		t.Errorf("save: %d calls for all but %d of %d bytes", calls.Load(), left, sum.Bytes)
	}
	calls.Store(0)
	early.Store(0)
	testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, dir+"/set/", Options{}))
	if left := sum.Bytes - early.Load(); left > 1<<20 {
		t.Errorf("save to a directory: %d calls for all but %d of %d bytes", calls.Load(), left, sum.Bytes)
	}
	calls.Store(0)
	early.Store(0)
	testenv.Must[load.Summary](t)(load.Bundle(t.Context(), dir+"/set.tar", storetest.Open(t), load.Options{}))
	if left := sum.Bytes - early.Load(); left > 1<<20 {
		t.Errorf("load: %d calls for all but %d of %d bytes", calls.Load(), left, sum.Bytes)
	}
}
