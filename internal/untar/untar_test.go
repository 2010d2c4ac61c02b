package untar

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

func archiveOf(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestDecompress reads what the usual programs wrote; truncated data is an error.
func TestDecompress(t *testing.T) {
	testenv.Slow(t)
	text := []byte(strings.Repeat("0123456789", 50_000))
	compressed := map[string][]byte{"none": text}
	for program, deb := range map[string]string{"gzip": "gzip", "bzip2": "bzip2", "xz": "xz-utils",
		"zstd": "zstd", "pzstd": "zstd"} {
		cmd := exec.Command(testenv.Program(t, program, deb), "-c")
		cmd.Stdin = bytes.NewReader(text)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		compressed[program] = out
	}
	for name, data := range compressed {
		read := func(data []byte) ([]byte, error) {
			r, err := Decompress(bytes.NewReader(data))
			if err != nil {
				return nil, err
			}
			defer r.Close()
			return io.ReadAll(r)
		}
		if got, err := read(data); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if name != "none" {
			if _, err := read(data[:len(data)-5]); err == nil {
				t.Errorf("%s: truncated data is accepted", name)
			}
		}
	}
}

// TestMemory: a small file cannot demand much memory of its reader.
func TestMemory(t *testing.T) {
	testenv.Slow(t)
	for name, args := range map[string][]string{"xz": {"xz", "-c", "--lzma2=dict=1GiB"},
		"zstd": {"zstd", "-c", "--ultra", "--long=30"}} {
		cmd := exec.Command(testenv.Program(t, args[0], "xz-utils or zstd"), args[1:]...)
		cmd.Stdin = strings.NewReader("small")
		if name == "zstd" { // streams of unknown size have the whole window
			cmd.Stdin = io.MultiReader(strings.NewReader("small"))
		}
		data, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		r, err := Decompress(bytes.NewReader(data))
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if err == nil {
			t.Errorf("%s: a window of 1 GiB is accepted", name)
		}
	}
}

func TestOpenSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, "/dev/zero", filepath.Join(dir, "none")} {
		if r, err := Open(path); err == nil {
			r.Close()
			t.Errorf("%s was opened", path)
		}
	}
	file := filepath.Join(dir, "x")
	if err := os.WriteFile(file, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "text" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestEachLimits(t *testing.T) {
	file := func(name string, size int64) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeReg, Size: size}
	}
	limits := Limits{Members: 3, Bytes: 1 << 16}
	var limit *LimitError
	var unsafe *UnsafeError
	for name, c := range map[string]struct {
		data []byte
		want func(error) bool
	}{
		"fits": {archiveOf(t, file("a", 10), file("b", 10)), func(err error) bool { return err == nil }},
		"members": {archiveOf(t, file("a", 1), file("b", 1), file("c", 1), file("d", 1)),
			func(err error) bool { return errors.As(err, &limit) }},
		"bytes":     {archiveOf(t, file("a", 1<<16+1)), func(err error) bool { return errors.As(err, &limit) }},
		"not a tar": {[]byte(strings.Repeat("text", 1000)), func(err error) bool { return errors.Is(err, ErrNotTar) }},
		"truncated": {archiveOf(t, file("a", 5000))[:1000], func(err error) bool { return err != nil }},
		"long name": {archiveOf(t, file(strings.Repeat("x/", 3000)+"x", 0)),
			func(err error) bool { return errors.As(err, &unsafe) }},
	} {
		err := Each(t.Context(), bytes.NewReader(c.data), limits, func(_ *tar.Header, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		})
		if !c.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the cause")
	cancel(cause)
	if err := Each(ctx, bytes.NewReader(archiveOf(t, file("a", 1))), limits,
		func(*tar.Header, io.Reader) error { return nil }); !errors.Is(err, cause) {
		t.Errorf("canceled: %v", err)
	}
}

// TestNextCopiesNames: names that are kept do not keep the extended headers of their members in
// memory. An archive of a megabyte can have gigabytes of these.
func TestNextCopiesNames(t *testing.T) {
	const members, comment = 32, 1 << 19
	var headers []*tar.Header
	for range members {
		headers = append(headers, &tar.Header{Name: "name", Typeflag: tar.TypeSymlink, Linkname: "target",
			PAXRecords: map[string]string{"KOLLA.comment": strings.Repeat("x", comment), "SCHILY.xattr.user.a": "b"}})
	}
	data := archiveOf(t, headers...)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var kept []string
	tr := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := Next(tr)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeSymlink || h.Linkname != "target" || len(h.PAXRecords) != 2 {
			t.Fatalf("%+v", h)
		}
		kept = append(kept, h.Name, h.Linkname, h.PAXRecords["SCHILY.xattr.user.a"])
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); len(kept) != 3*members || grown > members*comment/4 {
		t.Errorf("%d names of %d members keep %d bytes", len(kept), members, grown)
	}
	runtime.KeepAlive(data)
}

// TestNextKeepsFields: a copy has all fields of the header.
func TestNextKeepsFields(t *testing.T) {
	at := time.Unix(1_700_000_000, 500)
	data := archiveOf(t, &tar.Header{Name: "dev", Typeflag: tar.TypeChar, Mode: 0o4755, Uid: 1,
		Gid: 2, Uname: "u", Gname: "g",
		ModTime: at, AccessTime: at, ChangeTime: at, Devmajor: 3, Devminor: 4, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}})
	want, err := tar.NewReader(bytes.NewReader(data)).Next()
	if err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 it is not copied
	want.Xattrs = nil
	if got, err := Next(tar.NewReader(bytes.NewReader(data))); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v (%v)", got, want, err)
	}
}

// The names of all members count.
func TestEachNames(t *testing.T) {
	limit := maxNames
	t.Cleanup(func() { maxNames = limit })
	maxNames = 100
	limits := Limits{Members: 100, Bytes: 1 << 20}
	none := func(*tar.Header, io.Reader) error { return nil }
	long := &tar.Header{Name: strings.Repeat("n", 30), Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("l", 20)}
	if err := Each(t.Context(), bytes.NewReader(archiveOf(t, long, long)), limits, none); err != nil {
		t.Error(err)
	}
	var tooMany *LimitError
	if err := Each(t.Context(), bytes.NewReader(archiveOf(t, long, long, long)), limits, none); !errors.As(err, &tooMany) {
		t.Errorf("three: %v", err)
	}
}

// The holes of a sparse member count, and reading them ends with the context.
func TestSparseMembers(t *testing.T) {
	for _, format := range []string{"gnu", "posix"} {
		archive := testenv.SparseTar(t, format, "large", 1<<42)
		copied := func(ctx context.Context, bytesLimit int64) error {
			return Each(ctx, bytes.NewReader(archive), Limits{Members: 3, Bytes: bytesLimit},
				func(_ *tar.Header, r io.Reader) error {
					_, err := io.Copy(io.Discard, r)
					return err
				})
		}
		var limit *LimitError
		if err := copied(t.Context(), 1<<40); !errors.As(err, &limit) {
			t.Errorf("%s: %v", format, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := copied(ctx, 1<<50); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: after its end: %v", format, err)
		}
		cancel()
	}
}

func TestCleanName(t *testing.T) {
	for name, want := range map[string]string{"a/b": "a/b", "./a//b/.": "a/b", ".": ".", "./": ".", "": ".",
		"a..b": "a..b", "caf\xe9": "caf\xe9"} {
		if got, err := CleanName(name); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"/a", "..", "a/../b", "../a", "a\x00b"} {
		if got, err := CleanName(name); err == nil {
			t.Errorf("%q: %q, want an error", name, got)
		}
	}
}

func FuzzEach(f *testing.F) {
	data := archiveOf(f, &tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 3},
		&tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "a"},
		&tar.Header{Name: "x", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.a": "b"}})
	f.Add(data)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	f.Add(b.Bytes())
	for _, program := range []string{"xz", "zstd", "bzip2"} {
		cmd := exec.Command(program, "-c")
		cmd.Stdin = bytes.NewReader(data)
		if out, err := cmd.Output(); err == nil {
			f.Add(out)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decompress(bytes.NewReader(data))
		if err != nil {
			return
		}
		defer r.Close()
		_ = Each(t.Context(), r, Limits{Members: 100, Bytes: 1 << 20}, func(h *tar.Header, r io.Reader) error {
			if clean, err := CleanName(h.Name); err == nil && !filepath.IsLocal(clean) {
				t.Errorf("%q is %q, which leads out of the directory", h.Name, clean)
			}
			_, err := io.Copy(io.Discard, r)
			return err
		})
	})
}
