package squash

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

func TestLimits(t *testing.T) {
	testenv.Slow(t)
	long := layerFrom(t, layer(t, strings.Repeat("a/", maxPath/2)+"b=1"))
	if _, err := merge(t.Context(), nil, []v1.Layer{long}); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a long path: %v", err)
	}
	for _, format := range []string{"gnu", "posix"} {
		sparse := layerFrom(t, testenv.SparseTar(t, format, "large", 1<<42))
		if _, err := merge(t.Context(), nil, []v1.Layer{sparse}); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("a sparse file in %s: %v", format, err)
		}
	}
	// Directories that no entry lists, and whiteouts of files of the same layer, count.
	const files = 100
	entries := []string{strings.Repeat("a/", 2000) + "b=1"}
	for i := range files {
		entries = append(entries, "d/"+strconv.Itoa(i)+"=1")
	}
	entries = append(append(entries, "d/"), slices.Repeat([]string{".wh.d"}, files)...)
	work, err := merge(t.Context(), nil, []v1.Layer{layerFrom(t, layer(t, entries...))})
	if err != nil {
		t.Fatal(err)
	}
	if work.paths != 2001+files+1 || work.removed < files*files || work.names == 0 {
		t.Errorf("%d paths, %d files compared, %d bytes of names", work.paths, work.removed, work.names)
	}
	for _, full := range []merged{{paths: maxEntries + maxImplied + 1}, {removed: maxRemoved + 1}, {names: maxNames}} {
		if err := full.keep(&tar.Header{Name: "x"}); err == nil {
			t.Errorf("a further file was accepted: %+v", full)
		}
	}
	m := &merged{entries: make(map[string]*entry, maxEntries), children: map[string]map[string]bool{}}
	for i := range maxEntries {
		m.entries[strconv.Itoa(i)] = nil
	}
	if err := m.add("one more", 0, 0, &tar.Header{Typeflag: tar.TypeReg}); err == nil {
		t.Error("one more file was accepted")
	}
}

// FuzzMerge merges layers of any bytes. The result is an error, or a layer that
// contains each path once, relative and below the root.
func FuzzMerge(f *testing.F) {
	add := func(parent, first, second []string) {
		f.Add(layer(f, parent...), layer(f, first...), layer(f, second...))
	}
	add([]string{"d/", "d/old=1", "a=1"}, []string{"d/x=1", "b=>a"}, []string{".wh.d", "c=>b", ".wh.a"})
	add(nil, []string{"d/", "d/x=1", "l->d"}, []string{"d/.wh..wh..opq", "l=file", "../../e=1"})
	add([]string{"x=1", "y=>x"}, []string{"z=>y"}, []string{".wh.x", ".wh.y", "z/", "z/a=1"})
	f.Add([]byte{}, []byte("no tar"), layer(f, "a=1"))
	maxBytes = 1 << 20 // or a sparse file of gigabytes takes all the time
	f.Fuzz(func(t *testing.T, parent, first, second []byte) {
		layers := func(raws ...[]byte) (out []v1.Layer) {
			for _, raw := range raws {
				out = append(out, fuzzLayer{raw: raw})
			}
			return out
		}
		m, err := merge(t.Context(), layers(parent), layers(first, second))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := m.write(t.Context(), &b, layers(first, second)); err != nil {
			return // such as a file whose size is wrong
		}
		var names []string
		tr := tar.NewReader(&b)
		for {
			h, err := tr.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(h.Name, "/")
			if path.IsAbs(name) || path.Clean(name) != name || strings.HasPrefix(name, "../") || name == ".." {
				t.Errorf("path %q", h.Name)
			}
			names = append(names, name)
		}
		slices.Sort(names)
		if len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("a path occurs twice: %q", names)
		}
	})
}

// fuzzLayer is a layer of any bytes.
type fuzzLayer struct {
	v1.Layer
	raw []byte
}

func (l fuzzLayer) Uncompressed() (io.ReadCloser, error) {
	if l.raw == nil {
		return nil, errors.New("no layer")
	}
	return io.NopCloser(bytes.NewReader(l.raw)), nil
}
