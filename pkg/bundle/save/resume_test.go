package save

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/kolla-build/kolla-build/internal/partialfile"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// interrupted saves and ends at the last blob, and returns the partial file.
func interrupted(t *testing.T, s *store.Store, entries []store.Entry, out string, opts Options) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opts.Progress = func(done, total int64) {
		if done > total*9/10 {
			cancel()
		}
	}
	if _, err := Bundle(ctx, s, entries, out, opts); !errors.Is(err, context.Canceled) ||
		!strings.Contains(usererr.Hint(err), ".partial") {
		t.Fatalf("interrupted: %v (hint %q)", err, usererr.Hint(err))
	}
	if opts.Split > 0 {
		return partialfile.Name(out + ".001")
	}
	return partialfile.Name(out)
}

// Only the same set is continued. Data of another one is not used, and Resume is an error.
func TestResumeOfAnotherSet(t *testing.T) {
	for _, split := range []int64{0, 70_000} {
		s, entries := storetest.FillSize(t, 40_000)
		out := filepath.Join(t.TempDir(), "set.tar")
		first := Options{Tool: "one", Split: split}
		partial := interrupted(t, s, entries, out, first)
		left := testenv.Must[[]byte](t)(os.ReadFile(partial))
		_, err := Bundle(t.Context(), s, entries, out, Options{Tool: "two", Split: split, Resume: true})
		if err == nil || !strings.Contains(err.Error(), "another set") || usererr.Hint(err) == "" {
			t.Errorf("split %d: %v", split, err)
		}
		if b := testenv.Must[[]byte](t)(os.ReadFile(partial)); !bytes.Equal(b, left) {
			t.Errorf("split %d: refusing to resume changed what was left", split)
		}
		first.Resume = true
		if sum := testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, out, first)); sum.Kept == 0 {
			t.Errorf("split %d: nothing was kept", split)
		}
		interrupted(t, s, entries, out, first)
		sum := testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, out, Options{Tool: "two", Split: split}))
		if path := append(sum.Parts, out)[0]; !testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), path,
			verify.Options{})).OK {
			t.Errorf("split %d: the new set is damaged", split)
		}
	}
}

// Data before the first damage is still used.
func TestResumeOfDamaged(t *testing.T) {
	s, entries := storetest.FillSize(t, 40_000)
	want := testenv.Must[[]byte](t)(os.ReadFile(saveTo(t, s, entries, Options{})))
	for at := 0; at < len(want)*3/4; at += 2_999 {
		out := filepath.Join(t.TempDir(), "set.tar")
		partial := interrupted(t, s, entries, out, Options{})
		b := testenv.Must[[]byte](t)(os.ReadFile(partial))
		if at >= len(b) {
			continue
		}
		b[at] ^= 1
		if err := os.WriteFile(partial, b, 0o600); err != nil {
			t.Fatal(err)
		}
		sum := testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, out, Options{}))
		if got := testenv.Must[[]byte](t)(os.ReadFile(out)); !bytes.Equal(got, want) || sum.Kept > int64(at) {
			t.Errorf("damaged at %d: %d bytes kept, the same file: %v", at, sum.Kept, bytes.Equal(got, want))
		}
	}
}

// Two saves of one name exclude each other, and the first is not disturbed.
func TestTwoSaves(t *testing.T) {
	s, entries := storetest.FillSize(t, 40_000)
	for _, opts := range []Options{{}, {Split: 70_000, Parity: 20}} {
		out := filepath.Join(t.TempDir(), "set.tar")
		first := opts
		tried := false
		first.Progress = func(int64, int64) {
			if tried {
				return
			}
			tried = true
			if _, err := Bundle(t.Context(), s, entries[:1], out, opts); err == nil ||
				!strings.Contains(err.Error(), "another save") {
				t.Errorf("split %d: a second save: %v", opts.Split, err)
			}
		}
		sum := testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, out, first))
		if r := testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), append(sum.Parts, out)[0],
			verify.Options{})); !r.OK || len(r.Images) != 2 || !tried {
			t.Errorf("split %d: %+v", opts.Split, r)
		}
	}
}

// The pieces are what archive/tar writes, also for names that need more than one block.
func TestPieces(t *testing.T) {
	files := []bundle.File{bundle.ContentFile("oci-layout", []byte(layoutFile)),
		bundle.ContentFile("index.json", make([]byte, 512)),
		bundle.ContentFile("blobs/sha256/"+strings.Repeat("a", 64), []byte("x")),
		bundle.ContentFile("blobs/sha512/"+strings.Repeat("b", 128), make([]byte, 1025))}
	var got, want bytes.Buffer
	if err := newTarWriter(files, Options{}).write(t.Context(), &got, 0); err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(&want)
	for i, f := range files {
		if i == 2 {
			for _, dir := range []string{"blobs/", "blobs/sha256/"} {
				h := tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: time.Unix(0, 0)}
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
			}
		}
		r := testenv.Must[io.ReadCloser](t)(f.Open())
		h := tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Size: f.Size, Mode: 0o644, ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		testenv.Must[int64](t)(io.Copy(w, r))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("%d bytes differ from the %d of archive/tar", got.Len(), want.Len())
	}
	if n := testenv.Must[int64](t)(tarSize(files)); n != int64(want.Len()) {
		t.Errorf("size %d, want %d", n, want.Len())
	}
}

// failingEarlier is an output whose earlier content cannot be read.
type failingEarlier struct{ kept []int64 }

func (f *failingEarlier) Write(p []byte) (int, error) { return len(p), nil }
func (f *failingEarlier) Earlier() (io.Reader, error) {
	return io.MultiReader(strings.NewReader("x"), iotest.ErrReader(syscall.EIO)), nil
}
func (f *failingEarlier) Keep(n int64) error {
	f.kept = append(f.kept, n)
	return nil
}

// A medium that cannot be read is not mistaken for one that has less.
func TestResumeOfUnreadable(t *testing.T) {
	var out failingEarlier
	_, err := writeResumed(t.Context(), &out, []bundle.File{bundle.ContentFile("oci-layout", []byte(layoutFile))},
		Options{})
	if !errors.Is(err, syscall.EIO) || usererr.Hint(err) == "" || len(out.kept) > 0 {
		t.Errorf("%v (hint %q), kept %v", err, usererr.Hint(err), out.kept)
	}
}
