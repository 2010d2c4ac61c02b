package source

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/untar"
)

// TestEmptyArchives checks that as in Kolla, an image without sources has the two archives, with
// the same bytes each time.
func TestEmptyArchives(t *testing.T) {
	var digests []string
	for range 2 {
		f, _ := newFetcher(t, Options{})
		files, err := f.Archives(context.Background(), Request{Image: "base",
			Plugins: []Spec{{Name: "base-plugin-x", Type: TypeURL, Location: "http://127.0.0.1:1/", Enabled: false}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := names(files); got != "additions-archive plugins-archive" {
			t.Fatalf("got %s", got)
		}
		for _, file := range files {
			dir := strings.TrimSuffix(file.Name, "-archive") + "/"
			if got := listTar(t, file.Path); !slices.Equal(got, []string{dir}) {
				t.Errorf("%s contains %v", file.Name, got)
			}
			if !file.Modified.IsZero() {
				t.Errorf("%s is dated %s", file.Name, file.Modified)
			}
			digests = append(digests, file.Digest.String())
		}
	}
	if digests[0] != digests[2] || digests[1] != digests[3] {
		t.Errorf("digests differ: %v", digests)
	}
}

func TestLocalDirectory(t *testing.T) {
	ctx := context.Background()
	make := func(owner int, when time.Time) (string, string) {
		base := t.TempDir()
		dir := filepath.Join(base, "keystone")
		for name, text := range map[string]string{"setup.py": "x", "a/b/c.py": "y", "a-b": "z", "bin/run": "#!/bin/sh\n"} {
			p := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Join(dir, "bin/run"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("setup.py", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		if err := exec.Command("mkfifo", filepath.Join(dir, "pipe")).Run(); err != nil {
			t.Fatal(err)
		}
		_ = filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
			_ = os.Lchown(p, owner, owner) // only root can
			if info.Mode()&os.ModeSymlink == 0 {
				_ = os.Chtimes(p, when, when)
			}
			return err
		})
		return base, dir
	}
	var first File
	for i, when := range []time.Time{time.Unix(1_600_000_000, 5), time.Unix(1_700_000_000, 0)} {
		base, dir := make(1000+i, when)
		f, log := newFetcher(t, Options{LocalsBase: base})
		location := dir
		if i == 1 {
			location = "keystone" // found in LocalsBase
		}
		s := Spec{Name: "keystone-base", Type: TypeLocal, Location: location, Enabled: true}
		files, err := f.Archives(ctx,
			Request{Image: "keystone-base", Source: &s, Wants: func(n string) bool { return n == "keystone-base-archive" }})
		if err != nil {
			t.Fatal(err)
		}
		if names(files) != "keystone-base-archive" {
			t.Fatalf("got %s", names(files))
		}
		want := []string{"keystone/", "keystone/a/", "keystone/a/b/", "keystone/a/b/c.py", "keystone/a-b", "keystone/bin/",
			"keystone/bin/run", "keystone/link -> setup.py", "keystone/setup.py"}
		if got := listTar(t, files[0].Path); !slices.Equal(got, want) {
			t.Errorf("it contains %q", got)
		}
		if !strings.Contains(log.String(), "pipe is omitted") {
			t.Errorf("the log does not mention the pipe:\n%s", log)
		}
		if i == 1 && files[0].Digest != first.Digest {
			t.Errorf("digest %s, before %s", files[0].Digest, first.Digest)
		}
		first = files[0]
		checkClean(t, f.opts.CacheDir)
	}
}

func TestLocalFileIsCopied(t *testing.T) {
	f, _ := newFetcher(t, Options{})
	path := filepath.Join(t.TempDir(), "x.bin")
	if err := os.WriteFile(path, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	const sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	s := Spec{Name: "etcd", Type: TypeLocal, Location: path, Enabled: true,
		SHA256: map[string]string{"amd64": strings.ToUpper(sum)}}
	files, err := f.Archives(context.Background(), Request{Source: &s})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(files[0].Path); err != nil || string(b) != "hello" ||
		files[0].Digest != "sha256:"+sum || files[0].Size != 5 {
		t.Errorf("%+v %q %v", files[0], b, err)
	}
	s.SHA256 = map[string]string{"amd64": strings.Repeat("0", 64)}
	var ce *ChecksumError
	if _, err := f.Resolve(context.Background(), s); !errors.As(err, &ce) || ce.Got != sum {
		t.Errorf("got %v", err)
	}
}

// pluginsRequest returns a request for an image with plugins and additions. One archive is both.
func pluginsRequest(t *testing.T, srv *fileServer) Request {
	t.Helper()
	first := srv.put(t, "one.tar.gz", makeTar(t, true,
		member{name: "./", kind: tar.TypeDir}, member{name: "plug-1.0/setup.py",
			text: "one"}, member{name: "shared", text: "first"},
		member{name: "plug-1.0/hard", kind: tar.TypeLink, link: "plug-1.0/setup.py"}))
	two := srv.put(t, "two.tar",
		makeTar(t, false, member{name: "shared", text: "second"}, member{name: "link", kind: tar.TypeSymlink, link: "/etc"}))
	dir := filepath.Join(t.TempDir(), "local-plugin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("f"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := func(s string) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
	}
	return Request{
		Image: "neutron-server",
		Context: []ContextEntry{
			{Path: "additions", Mode: fs.ModeDir | 0o755},
			{Path: "additions/own", Mode: 0o644, Open: text("o")},
			{Path: "additions/link", Mode: fs.ModeSymlink | 0o777, Open: text("own")},
			{Path: "plugins/shared", Mode: 0o600, Open: text("the tree's")},
		},
		Plugins: []Spec{
			{Name: "neutron-server-plugin-one", Type: TypeURL, Location: first, Enabled: true},
			{Name: "neutron-server-plugin-two", Type: TypeURL, Location: two, Enabled: true},
			{Name: "neutron-server-plugin-off", Type: TypeURL, Location: srv.URL + "/none", Enabled: false},
			{Name: "neutron-server-plugin-dir", Type: TypeLocal, Location: dir, Enabled: true},
		},
		Additions: []Spec{{Name: "neutron-server-additions-x", Type: TypeURL, Location: first, Enabled: true}},
	}
}

// TestPluginsAndAdditions checks that as in Kolla, plugins are unpacked into one directory.
func TestPluginsAndAdditions(t *testing.T) {
	ctx := context.Background()
	srv := serveFiles(t)
	req := pluginsRequest(t, srv)
	f, _ := newFetcher(t, Options{})
	files, err := f.Archives(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"plugins/", "plugins/link -> /etc", "plugins/local-plugin/", "plugins/local-plugin/f",
		"plugins/plug-1.0/", "plugins/plug-1.0/hard", "plugins/plug-1.0/setup.py", "plugins/shared"}
	if got := listTar(t, files[0].Path); !slices.Equal(got, want) {
		t.Errorf("plugins: %q", got)
	}
	if got := readMember(t, files[0].Path, "plugins/shared"); got != "second" {
		t.Errorf("the later plugin does not win: %q", got)
	}
	if got := readMember(t, files[0].Path, "plugins/plug-1.0/hard"); got != "one" {
		t.Errorf("the hard link has %q", got)
	}
	want = []string{"additions/", "additions/link -> own", "additions/own", "additions/plug-1.0/",
		"additions/plug-1.0/hard",
		"additions/plug-1.0/setup.py", "additions/shared"}
	if got := listTar(t, files[1].Path); !slices.Equal(got, want) {
		t.Errorf("additions: %q", got)
	}
	if len(files[0].Sources) != 3 || files[0].Modified.IsZero() {
		t.Errorf("sources %+v, modified %s", files[0].Sources, files[0].Modified)
	}
	// A source of two archives is fetched once.
	n := 0
	for _, s := range srv.take() {
		if strings.Contains(s, "one.tar.gz") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d requests for one.tar.gz", n)
	}
	// On another machine, the bytes are the same.
	other, _ := newFetcher(t, Options{})
	second, err := other.Archives(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		if files[i].Digest != second[i].Digest {
			t.Errorf("%s: %s and %s", files[i].Name, files[i].Digest, second[i].Digest)
		}
	}
	checkClean(t, f.opts.CacheDir)
	// tar(1) can read it.
	out, err := exec.Command("tar", "-tf", files[0].Path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "plugins/plug-1.0/setup.py") {
		t.Errorf("tar: %v\n%s", err, out)
	}
}

func TestCompressedPlugins(t *testing.T) {
	ctx := context.Background()
	for tool, pkg := range map[string]string{"gzip": "gzip", "bzip2": "bzip2", "xz": "xz-utils", "zstd": "zstd"} {
		t.Run(tool, func(t *testing.T) {
			bin := testenv.Program(t, tool, pkg)
			file := filepath.Join(t.TempDir(), "p.tar")
			if err := os.WriteFile(file, makeTar(t, false, member{name: "p/x", text: strings.Repeat("x", 100_000)}),
				0o644); err != nil {
				t.Fatal(err)
			}
			if err := exec.Command(bin, "-q", "-k", file).Run(); err != nil {
				t.Fatal(err)
			}
			ext := map[string]string{"gzip": ".gz", "bzip2": ".bz2", "xz": ".xz", "zstd": ".zst"}[tool]
			f, _ := newFetcher(t, Options{})
			s := Spec{Name: "a-plugin-p", Type: TypeLocal, Location: file + ext, Enabled: true}
			files, err := f.Archives(ctx, Request{Image: "a", Plugins: []Spec{s}})
			if err != nil {
				t.Fatal(err)
			}
			if got := readMember(t, files[0].Path, "plugins/p/x"); len(got) != 100_000 {
				t.Errorf("%d bytes", len(got))
			}
			// A truncated archive is an error.
			data, err := os.ReadFile(file + ext)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file+ext, data[:len(data)-9], 0o644); err != nil {
				t.Fatal(err)
			}
			f2, _ := newFetcher(t, Options{})
			if _, err := f2.Archives(ctx, Request{Image: "a", Plugins: []Spec{s}}); err == nil {
				t.Error("a damaged archive was used")
			}
			checkClean(t, f2.opts.CacheDir)
		})
	}
}

func TestUnsafeMembersAreRefused(t *testing.T) {
	ctx := context.Background()
	for name, members := range map[string][]member{
		"absolute":     {{name: "/etc/passwd", text: "x"}},
		"climbs":       {{name: "a/../../x", text: "x"}},
		"dots":         {{name: "..", kind: tar.TypeDir}},
		"device":       {{name: "null", kind: tar.TypeChar}},
		"pipe":         {{name: "pipe", kind: tar.TypeFifo}},
		"below a link": {{name: "l", kind: tar.TypeSymlink, link: "/etc"}, {name: "l/passwd", text: "x"}},
		"below a file": {{name: "f", text: "x"}, {name: "f/g", text: "x"}},
		"hard link":    {{name: "h", kind: tar.TypeLink, link: "/etc/shadow"}},
		"hard, climbs": {{name: "h", kind: tar.TypeLink, link: "../../etc/shadow"}},
		"root as link": {{name: ".", kind: tar.TypeSymlink, link: "/etc"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "bad.tar")
			if err := os.WriteFile(file, makeTar(t, false, members...), 0o644); err != nil {
				t.Fatal(err)
			}
			f, _ := newFetcher(t, Options{})
			s := Spec{Name: "a-plugin-p", Type: TypeLocal, Location: file, Enabled: true}
			_, err := f.Archives(ctx, Request{Image: "a", Plugins: []Spec{s}})
			var ue *untar.UnsafeError
			if !errors.As(err, &ue) || !strings.Contains(err.Error(), "[a-plugin-p]") {
				t.Errorf("got %v", err)
			}
			checkClean(t, f.opts.CacheDir)
		})
	}
	t.Run("two plugins together", func(t *testing.T) {
		dir := t.TempDir()
		var specs []Spec
		for i, m := range []member{{name: "l", kind: tar.TypeSymlink, link: "/etc"}, {name: "l/passwd", text: "x"}} {
			file := filepath.Join(dir, string(rune('a'+i)))
			if err := os.WriteFile(file, makeTar(t, false, m), 0o644); err != nil {
				t.Fatal(err)
			}
			specs = append(specs, Spec{Name: "p", Type: TypeLocal, Location: file, Enabled: true})
		}
		f, _ := newFetcher(t, Options{})
		var ue *untar.UnsafeError
		if _, err := f.Archives(ctx, Request{Image: "a", Plugins: specs}); !errors.As(err, &ue) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an image's own source", func(t *testing.T) {
		srv := serveFiles(t)
		url := srv.put(t, "bad.tar.gz", makeTar(t, true, member{name: "../../x", text: "x"}))
		f, _ := newFetcher(t, Options{})
		var ue *untar.UnsafeError
		if _, err := f.Resolve(ctx, Spec{Name: "a", Type: TypeURL, Location: url, Enabled: true}); !errors.As(err, &ue) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no archive", func(t *testing.T) {
		for _, text := range []string{"", "hello", strings.Repeat("x", 5000)} {
			file := filepath.Join(t.TempDir(), "x")
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			f, _ := newFetcher(t, Options{})
			s := Spec{Name: "a-plugin-p", Type: TypeLocal, Location: file, Enabled: true}
			if _, err := f.Archives(ctx, Request{Image: "a", Plugins: []Spec{s}}); !errors.Is(err, untar.ErrNotTar) {
				t.Errorf("%d bytes: %v", len(text), err)
			}
		}
	})
}

func TestSpecMistakes(t *testing.T) {
	for _, c := range []struct {
		s           Spec
		say, advise string
	}{
		{Spec{Type: "svn", Location: "x"}, `type "svn" is not one of url, git and local`, ""},
		{Spec{Type: TypeURL}, "a type without a location", "location ="},
		{Spec{Type: TypeGit}, "a type without a location", "location ="},
		{Spec{Type: TypeURL, Location: "example.org/x"}, "not a URL", "https://"},
		{Spec{Type: TypeURL, Location: "ftp://example.org/x"}, `scheme "ftp"`, ""},
		{Spec{Type: TypeURL, Location: "file:///none/such"}, "no such file", ""},
		{Spec{Type: TypeLocal, Location: "/none/such"}, "no such file or directory", "--locals-base"},
		{Spec{Type: TypeLocal, Location: "/dev/null"}, "neither a regular file nor a directory", ""},
		{Spec{Type: TypeGit, Location: "https://example.org/x"}, "without a reference", "reference = BRANCH"},
		{Spec{Type: TypeGit, Location: "--upload-pack=x", Reference: "m"}, "not a location", ""},
		{Spec{Type: TypeGit, Location: "https://example.org/x", Reference: "-m"}, "is not the name of", ""},
		{Spec{Type: TypeGit, Location: "https://example.org/x", Reference: "a..b"}, "is not the name of", ""},
	} {
		c.s.Name, c.s.Enabled = "nova-base", true
		f, _ := newFetcher(t, Options{Retries: -1})
		_, err := f.Resolve(context.Background(), c.s)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), "source [nova-base]") ||
			!strings.Contains(err.Error(), c.say) || !strings.Contains(e.Hint(), c.advise) {
			t.Errorf("%+v: %v (hint %v)", c.s, err, e)
		}
	}
	f, _ := newFetcher(t, Options{})
	if r, err := f.Resolve(context.Background(), Spec{Name: "x"}); err != nil || r != (Resolved{}) {
		t.Errorf("no source: %+v %v", r, err)
	}
	if _, err := New(Options{}); err == nil {
		t.Error("a Fetcher without a cache directory is accepted")
	}
}

func FuzzMemberName(f *testing.F) {
	for _, s := range []string{"a/b", "../x", "/x", "./", "a/../../b", "a//b/."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		clean, err := memberName(&tar.Header{Name: name, Typeflag: tar.TypeReg})
		if err == nil && !filepath.IsLocal(clean) {
			t.Errorf("%q is %q, which leads out of the directory", name, clean)
		}
	})
}
