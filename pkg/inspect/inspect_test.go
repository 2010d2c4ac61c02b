package inspect

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

// entries of a test's layer: "path" is a file with its path's last part as
// content, "path/" a directory, "path -> target" a symbolic link and
// "path => target" a hard link.
func layer(t testing.TB, entries ...string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e, Typeflag: tar.TypeReg, Mode: 0o644, ModTime: time.Unix(1, 0)}
		body := ""
		if name, target, ok := strings.Cut(e, " -> "); ok {
			h.Name, h.Linkname, h.Typeflag = name, target, tar.TypeSymlink
		} else if name, target, ok := strings.Cut(e, " => "); ok {
			h.Name, h.Linkname, h.Typeflag = name, target, tar.TypeLink
		} else if name, text, ok := strings.Cut(e, "="); ok {
			h.Name, body = name, text
		} else if strings.HasSuffix(e, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		h.Size = int64(len(body))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, body)
	}
	w.Close()
	return archivetest.Layer(t, b.Bytes())
}

func image(t testing.TB, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func all(string) int64 { return 1 << 20 }

func TestReadFiles(t *testing.T) {
	for _, c := range []struct {
		name   string
		layers [][]string
		want   map[string]string
	}{
		{"the upper one counts", [][]string{{"a=1", "b=1"}, {"a=2"}}, map[string]string{"a": "2", "b": "1"}},
		{"whiteout", [][]string{{"d/", "d/a=1", "d/b=1"}, {"d/.wh.a="}}, map[string]string{"d/b": "1"}},
		{"whiteout of a directory", [][]string{{"d/", "d/a=1", "d/e/f=1", "x=1"}, {".wh.d="}}, map[string]string{"x": "1"}},
		{"whiteout and a new one in the same layer", [][]string{{"d/a=1", "d/b=1"}, {"d/a=2", ".wh.d="}},
			map[string]string{"d/a": "2"}},
		{"opaque", [][]string{{"d/a=1", "d/b=1"}, {"d/.wh..wh..opq=", "d/b=2"}}, map[string]string{"d/b": "2"}},
		{"opaque root", [][]string{{"a=1"}, {".wh..wh..opq=", "b=2"}}, map[string]string{"b": "2"}},
		{"a file in place of a directory", [][]string{{"d/a=1"}, {"d=file"}}, map[string]string{"d": "file"}},
		{"a link in place of a directory", [][]string{{"d/a=1", "x=1"}, {"d -> x"}}, map[string]string{"x": "1"}},
		{"a directory again", [][]string{{"d/", "d/a=1"}, {"d/"}}, map[string]string{"d/a": "1"}},
		{"odd spellings", [][]string{{"./a=1", "/b/../c=1", "../../d=1"}, {"./.wh.a="}},
			map[string]string{"c": "1", "d": "1"}},
		{"hard link", [][]string{{"a=1", "b => a"}}, map[string]string{"a": "1", "b": "1"}},
		{"twice in one layer", [][]string{{"a=1", "a=2"}}, map[string]string{"a": "2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var layers []v1.Layer
			for _, l := range c.layers {
				layers = append(layers, layer(t, l...))
			}
			got, err := readFiles(t.Context(), image(t, layers...), Options{Want: all})
			if err != nil {
				t.Fatal(err)
			}
			for name, text := range c.want {
				if string(got[name].Data) != text {
					t.Errorf("%s: %q, want %q", name, got[name].Data, text)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// A hard link to a file that is not wanted itself has the content of that file.
func TestHardLinkToUnwanted(t *testing.T) {
	l := layer(t, "store/x=text", "want => store/x")
	_, files, err := ReadLayer(t.Context(), l, Options{Want: func(p string) int64 {
		if p == "want" {
			return 3
		}
		return 0
	}})
	if err != nil {
		t.Fatal(err)
	}
	if c := files["want"]; string(c.Data) != "tex" || c.Size != 4 {
		t.Errorf("got %q of %d", c.Data, c.Size)
	}
}

// TestLargeFiles checks that reading a large file allocates little more than its size, and that
// Options.Large is called once.
func TestLargeFiles(t *testing.T) {
	const size = largeFile + 1<<20
	l := layer(t, "small=x", "large="+strings.Repeat("x", size))
	calls := 0
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, files, err := ReadLayer(t.Context(), l, Options{Want: func(string) int64 { return 2 * size },
		Large: func() { calls++ }})
	runtime.ReadMemStats(&after)
	if err != nil || len(files["large"].Data) != size || len(files["small"].Data) != 1 || calls != 1 {
		t.Fatalf("%d bytes, %d calls, %v", len(files["large"].Data), calls, err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > size*3/2 {
		t.Errorf("%d bytes were allocated for %d", got, size)
	}
}

func TestTree(t *testing.T) {
	tree, err := readTree(t.Context(), image(t, layer(t, "d/", "d/a=1", "l -> d/a"), layer(t, "d/b=22", ".wh.l=")),
		Options{Digests: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(paths(tree), " "); got != "d d/a d/b" {
		t.Errorf("paths %q", got)
	}
	b, ok := tree.byPath["d/b"]
	if !ok || b.layer != 1 || b.Size != 2 || b.Type != File || !strings.HasPrefix(b.Digest.String(), "sha256:785f3ec7") {
		t.Errorf("d/b is %+v", b)
	}
}

func TestLimits(t *testing.T) {
	l := layer(t, "a=12345678", "b=1", "c=1")
	for name, limits := range map[string]Limits{
		"entries": {Entries: 2}, "bytes in the names of entries": {Names: 2}, "bytes": {Bytes: 1024},
		"bytes of content": {Capture: 8},
	} {
		_, _, err := ReadLayer(t.Context(), l, Options{Limits: limits, Want: all})
		var le *LimitError
		if !errors.As(err, &le) || le.What != name {
			t.Errorf("%s: error %v", name, err)
		}
	}
	deep := layer(t, strings.Repeat("a/", 100_000)+"b=1")
	if _, _, err := ReadLayer(t.Context(), deep, Options{}); err == nil {
		t.Error("a path of 200,000 bytes was taken")
	}
	if _, _, err := ReadLayer(t.Context(), layer(t, "a -> "+strings.Repeat("b", maxPath+1)), Options{}); err == nil {
		t.Error("a link of more than 4 KiB was taken")
	}
	var implied []string
	for i := range (Limits{}).orDefault().Implied/2000 + 1 {
		implied = append(implied, strconv.Itoa(i)+strings.Repeat("/a", 2000))
	}
	var tooMany *LimitError
	if _, _, err := ReadLayer(t.Context(), layer(t, implied...), Options{}); !errors.As(err, &tooMany) {
		t.Errorf("paths of many directories: %v", err)
	}
	for want, limits := range map[string]Limits{
		"the layers together have more than 7 entries":                       {Entries: 7},
		"the layers together have more than 7 bytes in the names of entries": {Names: 7},
	} {
		var usage Usage
		for n := range 3 { // of 3 entries each
			_, _, err := ReadLayer(t.Context(), l, Options{Limits: limits, Usage: &usage})
			if n < 2 && err != nil || n == 2 && (err == nil || !strings.HasSuffix(err.Error(), want)) {
				t.Errorf("layer %d: %v, want %s", n, err, want)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := ReadLayer(ctx, l, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
}

// A sparse file is a file, whose holes count and can be interrupted.
func TestSparseFiles(t *testing.T) {
	for _, format := range []string{"gnu", "posix"} {
		sparse := func(size int64) v1.Layer {
			raw := testenv.SparseTar(t, format, "large", size)
			return archivetest.Layer(t, raw)
		}
		small, _, err := ReadLayer(t.Context(), sparse(1<<20), Options{Digests: true})
		if err != nil || len(small.Entries) != 1 || small.Entries[0].Size != 1<<20 ||
			!strings.HasPrefix(small.Entries[0].Digest.String(), "sha256:30e14955") {
			t.Errorf("%s: %+v, %v", format, small, err)
		}
		var limit *LimitError
		if _, _, err := ReadLayer(t.Context(), sparse(1<<42), Options{Digests: true}); !errors.As(err, &limit) {
			t.Errorf("%s: %v", format, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, _, err := ReadLayer(ctx, sparse(1<<37), Options{Digests: true}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: after its end: %v", format, err)
		}
		cancel()
	}
}

func FuzzLayer(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range []string{"a", "d/b", ".wh.c", "d/.wh..wh..opq"} {
		_ = w.WriteHeader(&tar.Header{Name: n, Typeflag: tar.TypeReg, Mode: 0o644})
	}
	w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		if err != nil {
			return
		}
		layer, _, err := ReadLayer(t.Context(), l, Options{Digests: true, Want: all})
		if err != nil {
			return
		}
		for _, p := range paths(Merge([]*Layer{layer})) {
			if strings.HasPrefix(p, "/") || p == ".." || strings.HasPrefix(p, "../") {
				t.Errorf("path %q leaves the image", p)
			}
		}
	})
}

func TestCompareLayers(t *testing.T) {
	read := func(entries ...string) *Layer {
		l, _, err := ReadLayer(t.Context(), layer(t, entries...), Options{Digests: true})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	a := read("same=1", "text=1", "gone=1", "link -> a", "back/.wh.x=", "was=1", "kind=1", "size=1")
	b := read("same=1", "text=2", "new=1", "link -> b", "back/x=1", ".wh.was=", "kind/", "size=11", ".wh.below=")
	var got []string
	for _, change := range CompareLayers(a, b) {
		c := change.Describe()
		got = append(got, strings.TrimSpace(c.Kind+" "+c.Path+" "+strings.Join(c.What, ",")))
	}
	want := "added back/x; removed below; removed gone; changed kind type; changed link link; added new; changed size " +
		"content; changed text content; removed was"
	if s := strings.Join(got, "; "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	if c := CompareLayers(a, a); len(c) != 0 {
		t.Errorf("of the same: %v", c)
	}
}

func TestCompareConfigs(t *testing.T) {
	a := `{"created":"2025-01-01T00:00:00Z","config":{"Env":["PATH=/bin","A=1"],"Cmd":["a","b"],"Labels":{"x":"1"},"User":""},"rootfs":{"diff_ids":["sha256:1"]},"history":[{"created_by":"RUN a"}]}`
	b := `{"created":"2025-01-01T00:00:00Z","config":{"Env":["PATH=/bin","B=1"],"Cmd":["a","c"],"Labels":{"x":"2"}},"rootfs":{"diff_ids":["sha256:2"]},"history":[{"created_by":"RUN a"},{"created_by":"RUN b"}]}`
	got, err := CompareConfigs([]byte(a), []byte(b))
	if err != nil {
		t.Fatal(err)
	}
	want := []FieldChange{{"config.Cmd", "[a b]", "[a c]"}, {"config.Env.A", "1", ""}, {"config.Env.B", "", "1"},
		{"config.Labels.x", "1", "2"}, {"history[1].created_by", "", "RUN b"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// readFiles returns the content of the files of an image that Options.Want selects, as
// a container sees them.
func readFiles(ctx context.Context, img v1.Image, opts Options) (map[string]Content, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("reading image: %w", err)
	}
	var parts []Part[Content]
	for i, l := range layers {
		layer, files, err := ReadLayer(ctx, l, opts)
		if err != nil {
			return nil, fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err)
		}
		parts = append(parts, MakePart(layer, files, func(string) bool { return true }))
	}
	return MergeParts(parts), nil
}

// readTree reads the file system of an image.
func readTree(ctx context.Context, img v1.Image, opts Options) (*Tree, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	var all []*Layer
	for _, l := range layers {
		layer, _, err := ReadLayer(ctx, l, opts)
		if err != nil {
			return nil, err
		}
		all = append(all, layer)
	}
	return Merge(all), nil
}

func paths(t *Tree) []string { return slices.Sorted(maps.Keys(t.byPath)) }
