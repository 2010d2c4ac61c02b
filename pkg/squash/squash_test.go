package squash

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/pkg/archive"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// layerFrom returns a tar as a layer.
func layerFrom(t testing.TB, raw []byte) v1.Layer {
	t.Helper()
	return archivetest.Layer(t, raw, tarball.WithMediaType(types.OCILayer))
}

// layer returns a tar of lines: "dir/" is a directory, "file=text", "link->target"
// a symbolic link, "name=>target" a hard link.
func layer(t testing.TB, lines ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, l := range lines {
		h := &tar.Header{Name: l, Typeflag: tar.TypeReg, Mode: 0o644}
		text := ""
		if name, target, ok := strings.Cut(l, "=>"); ok {
			h.Name, h.Linkname, h.Typeflag = name, target, tar.TypeLink
		} else if name, target, ok := strings.Cut(l, "->"); ok {
			h.Name, h.Linkname, h.Typeflag = name, target, tar.TypeSymlink
		} else if strings.HasSuffix(l, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		} else {
			h.Name, text, _ = strings.Cut(l, "=")
		}
		h.Size = int64(len(text))
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// squashed merges layers and returns the resulting tar.
func squashed(t testing.TB, parent, layers [][]byte) []byte {
	t.Helper()
	all := func(raws [][]byte) []v1.Layer {
		var out []v1.Layer
		for _, raw := range raws {
			out = append(out, layerFrom(t, raw))
		}
		return out
	}
	m, err := merge(t.Context(), all(parent), all(layers))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := m.write(t.Context(), &b, all(layers)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// members lists a tar in the notation of layer.
func members(t testing.TB, raw []byte) []string {
	t.Helper()
	var out []string
	tr := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(tr)
		switch {
		case h.Typeflag == tar.TypeLink:
			out = append(out, h.Name+"=>"+h.Linkname)
		case h.Typeflag == tar.TypeSymlink:
			out = append(out, h.Name+"->"+h.Linkname)
		case len(text) > 0:
			out = append(out, h.Name+"="+string(text))
		default:
			out = append(out, h.Name)
		}
	}
}

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name   string
		parent []string
		layers [][]string
		want   []string
	}{
		{"later content wins", nil, [][]string{{"a=1", "b=1"}, {"a=2"}}, []string{"b=1", "a=2"}},
		{"deleted files", []string{"old=1"}, [][]string{{"a=1"}, {".wh.a", ".wh.old"}}, []string{".wh.a", ".wh.old"}},
		{"a directory that is deleted and added again is opaque", []string{"d/", "d/old=1"},
			[][]string{{"d/", "d/x=1"}, {".wh.d"}, {"d/", "d/y=2"}}, []string{"d/", "d/.wh..wh..opq", "d/y=2"}},
		{"a deletion in an opaque directory needs no whiteout", []string{"d/", "d/old=1"},
			[][]string{{".wh.d"}, {"d/", "d/y=2"}, {"d/.wh.y", "d/.wh.old"}}, []string{"d/", "d/.wh..wh..opq"}},
		{"an opaque directory hides earlier layers, not its own", []string{"d/", "d/old=1"},
			[][]string{{"d/", "d/x=1"}, {"d/y=2", "d/.wh..wh..opq"}}, []string{"d/", "d/.wh..wh..opq", "d/y=2"}},
		{"an opaque marker alone", []string{"d/"}, [][]string{{"d/.wh..wh..opq"}, {"d/y=2"}},
			[]string{"d/.wh..wh..opq", "d/y=2"}},
		{"a file replaces a directory", nil, [][]string{{"d/", "d/x=1"}, {"d=file"}}, []string{"d=file"}},
		{"a directory replaces a file", nil, [][]string{{"d=file"}, {"d/", "d/x=1"}},
			[]string{"d/", "d/.wh..wh..opq", "d/x=1"}},
		{"a whiteout after the member of its own layer", nil, [][]string{{"a=1"}, {"a=2", ".wh.a"}}, []string{"a=2"}},
		{"a directory that is changed keeps its content", nil, [][]string{{"d/", "d/x=1"}, {"d/"}}, []string{"d/", "d/x=1"}},
		{"hard links of one layer", nil, [][]string{{"b=1", "c=>b", "a=>b"}}, []string{"a=1", "b=>a", "c=>a"}},
		{"a hard link whose first name is deleted", nil, [][]string{{"a=1", "b=>a"}, {".wh.a"}}, []string{".wh.a", "b=1"}},
		{"a hard link whose first name is replaced", nil, [][]string{{"a=1", "b=>a"}, {"a=2"}}, []string{"b=1", "a=2"}},
		{"a hard link to an earlier layer", nil, [][]string{{"a=1"}, {"b=>a"}}, []string{"a=1", "b=>a"}},
		{"a hard link to the parent", []string{"a=1"}, [][]string{{"b=>a"}, {"c=>b"}}, []string{"b=>a", "c=>a"}},
		{"a hard link to a deleted file of the parent", []string{"x=1", "a=>x"}, [][]string{{"b=>a"}, {".wh.a"}},
			[]string{".wh.a", "b=1"}},
		{"files of AUFS", nil, [][]string{{".wh..wh.plnk/", ".wh..wh.aufs=x", "a=1"}}, []string{"a=1"}},
		{"names with dots and slashes", nil, [][]string{{"./", "./d/", "./d/x=1", "/y=2"}},
			[]string{"./", "d/", "d/x=1", "y=2"}},
		{"a file in a deleted directory", nil, [][]string{{".wh.d"}, {"d/x=1"}}, []string{"d/", "d/.wh..wh..opq", "d/x=1"}},
		{"symbolic links", nil, [][]string{{"l->a", "d/", "d/x=1"}, {"l->b", "d->e"}}, []string{"l->b", "d->e"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var raws [][]byte
			for _, l := range c.layers {
				raws = append(raws, layer(t, l...))
			}
			got := members(t, squashed(t, [][]byte{layer(t, c.parent...)}, raws))
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// A whiteout without a name must not delete its own directory or a parent directory.
func TestWhiteoutOfNothing(t *testing.T) {
	for _, name := range []string{"d/.wh.", "d/.wh..", "d/.wh...", ".wh.", ".wh..."} {
		layers := []v1.Layer{layerFrom(t, layer(t, "d/", "d/a=1")), layerFrom(t, layer(t, name))}
		if _, err := merge(t.Context(), nil, layers); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// TestSameAsUnsquashed changes a file tree at random, makes layers of the changes
// with containerd, unpacks them, and compares the result with that of the squashed
// layer: content, modes, owners, links, devices and extended attributes.
func TestSameAsUnsquashed(t *testing.T) {
	testenv.Root(t)
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomTree(t, uint64(seed)) })
	}
}

func randomTree(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	top := t.TempDir()
	dir := func(name string) string {
		d := filepath.Join(top, name)
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		return d
	}
	var layers [][]byte
	last := dir("0")
	for i := range 5 {
		next := filepath.Join(top, fmt.Sprint(i+1))
		if out, err := exec.Command("cp", "-a", last, next).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for range 12 {
			change(t, r, next)
		}
		rc := archive.Diff(t.Context(), last, next)
		raw, err := io.ReadAll(rc)
		rc.Close()
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, raw)
		last = next
	}
	apply := func(name string, raws ...[]byte) string {
		d := dir(name)
		for _, raw := range raws {
			if _, err := archive.Apply(t.Context(), d, bytes.NewReader(raw)); err != nil {
				t.Fatal(err)
			}
		}
		return d
	}
	first := squashed(t, layers[:2], layers[2:])
	if !bytes.Equal(first, squashed(t, layers[:2], layers[2:])) {
		t.Error("the same layers gave other bytes")
	}
	want := describe(t, apply("all", layers...))
	got := describe(t, apply("squashed", layers[0], layers[1], first))
	if got != want {
		t.Errorf("unsquashed:\n%s\nsquashed:\n%s\nlayers: %q\nsquashed: %q", want, got,
			membersOf(t, layers), members(t, first))
	}
}

func membersOf(t *testing.T, layers [][]byte) (out [][]string) {
	for _, l := range layers {
		out = append(out, members(t, l))
	}
	return out
}

// change makes a random change to a tree.
func change(t *testing.T, r *rand.Rand, root string) {
	t.Helper()
	name := func() string {
		p := root
		for range 1 + r.IntN(3) {
			p = filepath.Join(p, string(rune('a'+r.IntN(4))))
		}
		return p
	}
	p := name()
	// Changes that fail are skipped: only the resulting tree matters.
	switch r.IntN(9) {
	case 0, 1:
		_ = os.MkdirAll(p, 0o755)
	case 2, 3:
		_ = os.MkdirAll(filepath.Dir(p), 0o755)
		if err := os.WriteFile(p, fmt.Appendf(nil, "%d", r.IntN(1000)), 0o644); err == nil && r.IntN(2) == 0 {
			_ = unix.Lsetxattr(p, "user.kind", []byte{byte(r.IntN(250)), 0}, 0)
			_ = os.Chown(p, r.IntN(5), r.IntN(5))
			_ = os.Chmod(p, 0o755|fs.ModeSetuid)
		}
	case 4, 5:
		_ = os.RemoveAll(p)
	case 6:
		_ = os.Link(p, name())
	case 7:
		_ = os.Symlink("target", p)
	case 8:
		_ = unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))
	}
}

// describe lists a tree with a line for each path.
func describe(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	inodes := map[uint64]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %v %d:%d rdev=%d", rel, info.Mode(), st.Uid, st.Gid, st.Rdev)
		switch mode := info.Mode(); {
		case mode.IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q mtime=%d", data, info.ModTime().UnixNano())
		case mode&fs.ModeSymlink != 0:
			to, _ := os.Readlink(p)
			fmt.Fprintf(&b, " -> %s", to)
		}
		if !d.IsDir() {
			if first := inodes[st.Ino]; first != "" {
				fmt.Fprintf(&b, " same as %s", first)
			} else {
				inodes[st.Ino] = rel
			}
		}
		for _, x := range []string{"user.kind", "security.capability"} {
			buf := make([]byte, 64)
			if n, err := unix.Lgetxattr(p, x, buf); err == nil {
				fmt.Fprintf(&b, " %s=%x", x, buf[:n])
			}
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestCapabilities checks that file capabilities are kept.
func TestCapabilities(t *testing.T) {
	value, _ := hex.DecodeString("0100000200040000000000000000000000000000")
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Name: "ping", Typeflag: tar.TypeReg, Mode: 0o4755,
			PAXRecords: map[string]string{"SCHILY.xattr.security.capability": string(value)}},
		{Name: "pong", Typeflag: tar.TypeLink, Linkname: "ping", Mode: 0o4755,
			PAXRecords: map[string]string{"SCHILY.xattr.security.capability": string(value)}},
	} {
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	out := squashed(t, nil, [][]byte{b.Bytes(), layer(t, ".wh.ping")})
	tr := tar.NewReader(bytes.NewReader(out))
	for {
		h, err := tr.Next()
		if err != nil {
			t.Fatalf("no pong: %v", err)
		}
		if h.Name == "pong" {
			if h.Mode != 0o4755 || h.Typeflag != tar.TypeReg ||
				h.PAXRecords["SCHILY.xattr.security.capability"] != string(value) {
				t.Errorf("%+v", h)
			}
			return
		}
	}
}

// emptyOCI is an image without layers.
var emptyOCI = mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)

// appendStep adds a layer with the given members to an image, and an instruction without one.
func appendStep(t *testing.T, img v1.Image, step string, members ...string) v1.Image {
	t.Helper()
	img, err := mutate.Append(img,
		mutate.Addendum{Layer: layerFrom(t, layer(t, members...)), History: v1.History{CreatedBy: step}},
		mutate.Addendum{History: v1.History{CreatedBy: step + " ENV", EmptyLayer: true}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestImage(t *testing.T) {
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	parent := appendStep(t, emptyOCI, "base", "a=1")
	img := appendStep(t, appendStep(t, appendStep(t, parent, "one", "b=1"), "two", "c=1"), "three", ".wh.b")
	if _, err := s.WriteImage(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	res, err := Image(t.Context(), img, parent, s)
	if err != nil || res.Squashed != 3 {
		t.Fatalf("%+v, %v", res, err)
	}
	if err := s.Verify(t.Context(), res.Manifest); err != nil {
		t.Error(err)
	}
	got, err := s.Image(res.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := got.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	pc, _ := parent.ConfigFile()
	if len(conf.RootFS.DiffIDs) != 2 || conf.RootFS.DiffIDs[0] != pc.RootFS.DiffIDs[0] {
		t.Errorf("layers %v", conf.RootFS.DiffIDs)
	}
	var history []string
	for _, h := range conf.History {
		history = append(history, fmt.Sprintf("%s %v", h.CreatedBy, h.EmptyLayer))
	}
	want := []string{"base false", "base ENV true", "one true", "one ENV true", "two true", "two ENV true", "three true",
		"three ENV true", "kolla-build --squash false"}
	if !slices.Equal(history, want) {
		t.Errorf("history %q", history)
	}
	layers, err := got.Layers()
	if err != nil {
		t.Fatal(err)
	}
	rc, err := layers[1].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(rc)
	rc.Close()
	if err != nil {
		t.Fatal(err)
	}
	if l := members(t, raw); !slices.Equal(l, []string{".wh.b", "c=1"}) {
		t.Errorf("the layer holds %q", l)
	}
	if id, err := layers[1].DiffID(); err != nil || id != conf.RootFS.DiffIDs[1] ||
		digest.FromBytes(raw).String() != id.String() {
		t.Errorf("diff ID %v, %v", id, err)
	}

	// A single layer is unchanged; another parent is rejected; a canceled context is an
	// error.
	if res, err := Image(t.Context(), appendStep(t, parent, "one", "b=1"), parent, s); err != nil || res.Squashed != 0 {
		t.Errorf("one layer: %+v, %v", res, err)
	}
	if _, err := Image(t.Context(), img, appendStep(t, emptyOCI, "x", "x=1"), s); err == nil {
		t.Error("layers of another image were treated as the parent's")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Image(ctx, img, parent, s); err == nil {
		t.Error("it went on after its end")
	}
}
