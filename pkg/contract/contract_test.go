package contract

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

// file is an entry of a test's layer.
type file struct {
	name string
	mode int64
	uid  int
	text string
	link string // of a symbolic link
	hard string // of a hard link
}

func layer(t testing.TB, files ...file) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Uid: f.uid, Gid: f.uid, Typeflag: tar.TypeReg, Size: int64(len(f.text))}
		switch {
		case f.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		case f.hard != "":
			h.Typeflag, h.Linkname = tar.TypeLink, f.hard
		case strings.HasSuffix(f.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return asLayer(t, b.Bytes())
}

func asLayer(t testing.TB, data []byte) v1.Layer {
	t.Helper()
	return archivetest.Layer(t, data)
}

func image(t testing.TB, conf v1.Config, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.Config(img, conf); err != nil {
		t.Fatal(err)
	}
	return img
}

var accounts = []file{
	{name: "etc/passwd", mode: 0o644, text: "root:x:0:0::/root:/bin/sh\nnova:x:42436:42436::/var/lib/nova:/bin/sh\n"},
	{name: "etc/group", mode: 0o644, text: "root:x:0:\nnova:x:42436:\nkolla:x:42400:nova\n"},
}

// check returns the status and detail of one row for an image.
func check(t testing.TB, img v1.Image, row string) result {
	t.Helper()
	table, err := ReadTable(strings.NewReader("image\tkind\tvalue\nx\t"+row+"\n"), "test")
	if err != nil {
		t.Fatal(err)
	}
	im, err := newReader(table).Open(context.Background(), "x", img)
	if err != nil {
		t.Fatal(err)
	}
	results := checkImage(im, table, nil)
	return results[len(results)-1]
}

func TestRows(t *testing.T) {
	conf := v1.Config{User: "nova", Env: []string{"PATH=/usr/bin", "LANG=C"},
		Labels: map[string]string{"kolla_version": "1"}}
	img := image(t, conf,
		layer(t, append(accounts,
			file{name: "usr/bin/tool", mode: 0o755, text: "#!/bin/sh\n"},
			file{name: "usr/bin/secret", mode: 0o700, text: "#!/bin/sh\n"},
			file{name: "usr/bin/sh", mode: 0o755, text: "static"},
			file{name: "usr/bin/env", mode: 0o755, text: "static"},
			file{name: "usr/bin/orphan", mode: 0o755, text: "#!/usr/bin/python9\n"},
			file{name: "usr/bin/by-env", mode: 0o755, text: "#!/usr/bin/env -S tool -x\n"},
			file{name: "usr/bin/by-env-missing", mode: 0o755, text: "#!/usr/bin/env nothing\n"},
			file{name: "usr/bin/old", mode: 0o755, text: "static"},
			file{name: "usr/local/bin/kolla_start", mode: 0o755, text: "if kolla_is_set KOLLA_BOOTSTRAP; then\n"},
			file{name: "usr/lib/python3/dist-packages/nova/__init__.py", mode: 0o644},
			file{name: "usr/lib/python3/dist-packages/nova/wsgi/api.py", mode: 0o644,
				text: "import sys\nimport binascii\nimport zlib\nfrom nova import x\napplication = x.make()\n"},
			file{name: "usr/lib/python3/dist-packages/nova/wsgi/bad.py", mode: 0o644,
				text: "import missing.part\ndef application(): pass\n"},
			file{name: "etc/nova/nova.conf", mode: 0o640, uid: 42436},
			file{name: "etc/loop", link: "loop"},
			file{name: "bin", link: "usr/bin"},
			file{name: "etc/out", link: "../../../../usr/bin/tool"},
		)...),
		layer(t, file{name: "usr/bin/.wh.old"}, file{name: "usr/bin/hard", mode: 0o755, text: "#!/bin/sh\n"},
			file{name: "usr/bin/harder", mode: 0o755, hard: "usr/bin/hard"}))
	for row, want := range map[string]string{
		"command\ttool --option":        "",
		"command\t/bin/tool":            "",
		"command\tharder":               "",
		"command\told":                  "no program old",
		"command\tsecret":               "not executable for nova",
		"command\tsudo secret":          "no program sudo",
		"command\torphan":               "python9",
		"command\tby-env":               "",
		"command\tby-env-missing":       "no program nothing",
		"command\tsh -c 'cd / && tool'": "",
		"command\tsh -c 'tool && lost'": "no program lost",
		"command\t/etc/out":             "",
		"command\t/etc/loop":            "too many symbolic links",
		"file\t/etc/nova/nova.conf exists owner=nova:nova perm=0640": "",
		"file\t/etc/nova/nova.conf exists perm=0600":                 "mode 0640",
		"file\t/etc/nova/nova.conf exists owner=root":                "owner 42436",
		"file\t/etc/nova/*.conf":                                     "",
		"file\t/etc/nova/*.ini":                                      "does not exist",
		"file\t/var/log/kolla/nova.log owner=glance:kolla":           "no user glance",
		"directory\t/etc/nova":                                       "",
		"directory\t/var/new/directory":                              "",
		"directory\t/etc/nova/nova.conf/x":                           "not a directory",
		"user\tnova:42436:42436":                                     "",
		"user\tnova:1":                                               "id 42436, not 1",
		"user\tkolla":                                                "",
		"user\tglance":                                               "no user glance",
		"env\tLANG":                                                  "",
		"env\tLANG=de":                                               "",
		"env\tKOLLA_BOOTSTRAP":                                       "",
		"env\tKOLLA_UPGRADE":                                         "no start script reads",
		"label\tkolla_version":                                       "",
		"label\tversion=2":                                           "label version",
		"module\twsgi:nova.wsgi.api:application":                     "",
		"module\twsgi:nova.wsgi.api:app":                             "defines no app",
		"module\twsgi:nova.wsgi.bad:application":                     "imports missing.part",
		"module\tpython:glance":                                      "no Python module glance",
		"module\tansible:ping":                                       "no Ansible module ping",
		"config\t/config/nova.conf -> /etc/nova/nova.conf owner=nova perm=0600":   "",
		"config\t/config/nova.conf -> /etc/nova/nova.conf/x owner=nova perm=0600": "not a directory",
		"config\t/config/nova.conf -> /etc/nova/nova.conf owner=glance perm=0600": "no user glance",
		"volume\tkolla_logs:/var/log/kolla/":                                      "",
		"volume\tdata:/etc/nova/nova.conf/data":                                   "not a directory",
	} {
		got := check(t, img, row)
		if want == "" && got.Status != statusHeld || want != "" &&
			(got.Status != statusFailed || !strings.Contains(got.Detail, want)) {
			t.Errorf("%s: %s %q, want %q", row, got.Status, got.Detail, want)
		}
	}
}

// libraryLine is a line of ldd with a file.
var libraryLine = regexp.MustCompile(`(/\S+)`)

// The libraries of a program are found as ldd finds them, and one that is missing is named.
func TestLibraries(t *testing.T) {
	const program = "/usr/bin/ls"
	out, err := exec.Command(testenv.Program(t, "ldd", "libc-bin"), program).Output()
	if err != nil {
		t.Fatal(err)
	}
	files := []file{{name: "usr/bin/ls", mode: 0o755, text: read(t, program)}}
	for _, name := range libraryLine.FindAllString(string(out), -1) {
		files = append(files, file{name: name, mode: 0o755, text: read(t, name)})
	}
	if len(files) < 3 {
		t.Fatalf("ldd printed %s", out)
	}
	conf := v1.Config{Env: []string{"PATH=/usr/bin"}}
	if got := check(t, image(t, conf, layer(t, files...)), "command\tls"); got.Status != statusHeld {
		t.Errorf("%s: %s", got.Status, got.Detail)
	}
	for _, f := range files[1:] {
		removed := layer(t, file{name: filepath.Join(filepath.Dir(f.name), ".wh."+filepath.Base(f.name))})
		got := check(t, image(t, conf, layer(t, files...), removed), "command\tls")
		if got.Status != statusFailed || !strings.Contains(got.Detail, filepath.Base(f.name)) &&
			!strings.Contains(got.Detail, "interpreter") {
			t.Errorf("without %s: %s %q", f.name, got.Status, got.Detail)
		}
	}
	// A program of the image is checked although no row names it.
	im, err := newReader(&Table{}).Open(context.Background(), "x", image(t, conf, layer(t, files[0])))
	if err != nil {
		t.Fatal(err)
	}
	if got := checkImage(im, &Table{}, nil); len(got) != 1 || got[0].Kind != KindProgram || got[0].Status != statusFailed {
		t.Errorf("%+v", got)
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Checking any image ends, with failed rows or an error.
func TestHostileImages(t *testing.T) {
	testenv.Slow(t)
	program := read(t, "/proc/self/exe")
	damaged := []byte(program[:min(len(program), 1<<20)])
	for i := 16; i < 512 && i < len(damaged); i++ {
		damaged[i] ^= byte(i * 37)
	}
	deep := strings.Repeat("d/", 1500)
	var loops []file
	for i := range 100 {
		loops = append(loops, file{name: fmt.Sprintf("l%d", i), link: fmt.Sprintf("l%d/../l%d", (i+1)%100, (i+7)%100)})
	}
	include := "include /etc/ld.so.conf.d/*.conf\n"
	for name, l := range map[string]v1.Layer{
		"truncated ELF":   layer(t, file{name: "usr/bin/tool", mode: 0o755, text: "\x7fELF\x02\x01\x01"}),
		"damaged ELF":     layer(t, file{name: "usr/bin/tool", mode: 0o755, text: string(damaged)}),
		"own interpreter": layer(t, file{name: "usr/bin/tool", mode: 0o755, text: "#!/usr/bin/tool\n"}),
		"loops of links":  layer(t, append(loops, file{name: "usr/bin/tool", link: "/l0/x"})...),
		"deep directories": layer(t, file{name: deep + "f", mode: 0o644},
			file{name: "usr/bin/tool", link: "/" + deep + "f"}),
		"includes itself": layer(t, file{name: "etc/ld.so.conf", mode: 0o644, text: include},
			file{name: "etc/ld.so.conf.d/a.conf", mode: 0o644, text: include}, file{name: "usr/bin/tool",
				mode: 0o755, text: program}),
		"hard link to self": layer(t, file{name: "usr/bin/tool", mode: 0o755, hard: "usr/bin/tool"}),
		"accounts": layer(t, file{name: "etc/passwd", mode: 0o644,
			text: ":::\nx\nnova:x:99999999999999999999:1::\n\x00\xff"}, file{name: "etc/group", mode: 0o644, text: ":\n:::"}),
		"passwd is a link": layer(t, file{name: "etc/passwd", link: "/etc/passwd"}),
		"names outside":    layer(t, file{name: "../../../../usr/bin/tool", mode: 0o755, text: "#!/../../bin/sh\n"}),
		"root is a file":   layer(t, file{name: ".", mode: 0o644, text: "x"}),
	} {
		t.Run(name, func(t *testing.T) {
			img := image(t, v1.Config{User: "nova", Entrypoint: []string{"tool"},
				Env: []string{"PATH=/usr/bin:relative::/", "X"}}, l)
			for _, row := range []string{"command\ttool", "file\t/usr/bin/*", "module\twsgi:nova.wsgi:application",
				"user\tnova:1:1", "volume\t/a:/usr/bin/tool/x"} {
				check(t, img, row)
			}
		})
	}
	t.Run("not a tar", func(t *testing.T) {
		if _, err := newReader(&Table{}).Open(context.Background(), "x",
			image(t, v1.Config{}, asLayer(t, bytes.Repeat([]byte("no tar"), 1000)))); err == nil {
			t.Error("no error")
		}
	})
}

func TestTables(t *testing.T) {
	for text, want := range map[string]string{
		"image\tvalue\n":                       `no column "kind"`,
		"image\tkind\tvalue\nx\tcmd\tls\n":     `unknown kind "cmd"`,
		"image\tkind\tvalue\nx\tcommand\n":     "needs an image",
		"image\twhat\tvalue\nx\tcommand\tls\n": "",
		"":                                     "",
	} {
		_, err := ReadTable(strings.NewReader(text), "t.tsv")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	large := strings.NewReader("image\tkind\tvalue\n" + strings.Repeat("a\tfile\tb\n", maxTable/9))
	if _, err := ReadTable(large, "t.tsv"); err == nil || !strings.Contains(err.Error(), "1.0 MiB") {
		t.Errorf("a large table: %v", err)
	}
	large = strings.NewReader(strings.Repeat("a\tany\tfile\tb\tc\n", maxTable/15+1))
	if _, err := ReadExceptions(large, "e.tsv"); err == nil || !strings.Contains(err.Error(), "1.0 MiB") {
		t.Errorf("a large table of exceptions: %v", err)
	}
	if _, err := ReadExceptions(strings.NewReader("x\tany\t*\tv\n"), "e.tsv"); err == nil {
		t.Error("an exception without a reason is accepted")
	}
}

// An exception turns a failed row into an exempt one, where its condition holds.
func TestExceptions(t *testing.T) {
	table, err := ReadTable(strings.NewReader("image\tkind\tvalue\twhen\nx\tcommand\tlost\t\nx\tcommand\tother\trocky\n"), "t")
	if err != nil {
		t.Fatal(err)
	}
	im, err := newReader(table).Open(context.Background(), "x",
		image(t, v1.Config{Env: []string{"KOLLA_BASE_DISTRO=debian"}}))
	if err != nil {
		t.Fatal(err)
	}
	for condition, want := range map[string]status{"any": statusExempt, "deb": statusExempt, "debian+deb": statusExempt,
		"rpm": statusFailed, "deb+trixie": statusFailed} {
		got := checkImage(im, table, []Exception{{Image: "x*", Condition: condition, Kind: "command",
			Value: "lo*", Reason: "because"}})
		if len(got) != 2 || got[0].Status != want || got[1].Status != statusAbsent {
			t.Errorf("%s: %+v", condition, got)
		}
	}
}

// The built-in tables can be read, and their images exist.
func TestBuiltInTables(t *testing.T) {
	table, err := builtInTable()
	if err != nil {
		t.Fatal(err)
	}
	required := strings.Fields(read(t, "../../dockerfiles/testdata/required.txt"))
	known := map[string]bool{"*": true}
	for _, name := range required {
		known[name] = true
		if len(table.Rows(name)) == 0 {
			t.Errorf("no rows for %s", name)
		}
	}
	for _, r := range table.rows {
		if !known[r.Image] {
			t.Errorf("a row names the image %s, which does not exist", r.Image)
		}
	}
	if _, err := builtInExceptions(); err != nil {
		t.Error(err)
	}
}

func FuzzELF(f *testing.F) {
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(program[:min(len(program), 1<<16)])
	f.Add([]byte("\x7fELF\x02\x01\x01\x00"))
	f.Fuzz(func(t *testing.T, data []byte) { readELF(bytes.NewReader(data)) })
}

func FuzzPrograms(f *testing.F) {
	for _, s := range []string{"tool --x", `sh -c 'a && "b c" | $(d)'`, "sudo -u nova x; A=b y", `a\ b "`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if len(line) > 10000 {
			t.Skip()
		}
		programs(line)
	})
}

// Two programs may have setuid or setgid in every image, and one a capability; others are
// allowed for images by name.
func TestSetuidExceptions(t *testing.T) {
	exceptions, err := builtInExceptions()
	if err != nil {
		t.Fatal(err)
	}
	var everywhere []string
	for _, e := range exceptions {
		if program, ok := strings.CutPrefix(e.Value, "setuid "); ok && e.Kind == KindClean &&
			strings.Trim(e.Image, "*") == "" {
			everywhere = append(everywhere, program)
		}
	}
	slices.Sort(everywhere)
	if want := []string{"/usr/bin/arping", "/usr/bin/sudo", "/usr/sbin/unix_chkpwd"}; !slices.Equal(everywhere, want) {
		t.Errorf("allowed in every image: %v, want %v", everywhere, want)
	}
}

// Each check of a clean image finds its files, and exceptions can name single files.
func TestCleanImages(t *testing.T) {
	passwd := file{name: "etc/passwd", mode: 0o644, text: "root:x:0:0::/:\nnova:x:42436:42436::/:\n"}
	for _, c := range []struct {
		check string
		file  file
		want  string // the value of the row that fails, "" for none
	}{
		{"compilers", file{name: "usr/bin/x86_64-linux-gnu-gcc-14", mode: 0o755}, "compilers"},
		{"compilers", file{name: "usr/share/gcc", mode: 0o755}, ""},
		{"headers", file{name: "usr/include/python3.13/Python.h", mode: 0o644}, "headers /usr/include/python3.13/Python.h"},
		{"headers", file{name: "usr/include/sudo_plugin.h", mode: 0o644}, "headers /usr/include/sudo_plugin.h"},
		{"caches", file{name: "var/lib/apt/lists/x_Packages", mode: 0o644}, "caches"},
		{"caches", file{name: "root/.cache/pip/http/a", mode: 0o644}, "caches"},
		{"caches", file{name: "var/cache/apt/archives/lock", mode: 0o644}, ""},
		{"host-keys", file{name: "etc/ssh/ssh_host_rsa_key", mode: 0o600}, "host-keys"},
		{"host-keys", file{name: "etc/ssh/sshd_config", mode: 0o600}, ""},
		{"machine-id", file{name: "etc/machine-id", mode: 0o444, text: "0123\n"}, "machine-id"},
		{"machine-id", file{name: "etc/machine-id", mode: 0o444}, ""},
		{"bytecode", file{name: "usr/lib/python3/a/__pycache__/b.cpython-311.pyc", mode: 0o644}, "bytecode"},
		{"bytecode", file{name: "usr/lib/python3/a/__pycache__/b.cpython-313.opt-1.pyc", mode: 0o644}, ""},
		{"world-writable", file{name: "var/lib/x", mode: 0o666}, "world-writable /var/lib/x"},
		{"world-writable", file{name: "var/lib/link", mode: 0o777, link: "x"}, ""},
		{"setuid", file{name: "usr/bin/su", mode: 0o4755}, "setuid /usr/bin/su"},
		{"setuid", file{name: "usr/bin/wall", mode: 0o2755}, "setuid /usr/bin/wall"},
		{"user", file{name: "usr/bin/x", mode: 0o755}, ""},
		{"unknown", file{name: "usr/bin/x", mode: 0o755}, "unknown"},
	} {
		table, err := ReadTable(strings.NewReader("image\tkind\tvalue\nx\tclean\t"+c.check+"\n"), "t")
		if err != nil {
			t.Fatal(err)
		}
		python := file{name: "usr/bin/python3.13", mode: 0o755}
		im, err := newReader(table).Open(context.Background(), "x",
			image(t, v1.Config{User: "nova"}, layer(t, passwd, python, c.file)))
		if err != nil {
			t.Fatal(err)
		}
		var failed []string
		for _, r := range checkImage(im, table, nil) {
			if r.Kind == KindClean && r.Status == statusFailed {
				failed = append(failed, r.Value)
			}
		}
		if got := strings.Join(failed, " and "); got != c.want {
			t.Errorf("%s with %s: %q fails, want %q", c.check, c.file.name, got, c.want)
		}
		if c.want == "" {
			continue
		}
		exception := []Exception{{Image: "x", Condition: "any", Kind: KindClean, Value: c.want, Reason: "a reason"}}
		for _, r := range checkImage(im, table, exception) {
			if r.Kind == KindClean && r.Status == statusFailed {
				t.Errorf("%s with %s fails although there is an exception", c.check, c.file.name)
			}
		}
	}

	table, err := ReadTable(strings.NewReader("image\tkind\tvalue\nx\tclean\tuser\nx\tclean\thost-keys\n"), "t")
	if err != nil {
		t.Fatal(err)
	}
	key := file{name: "etc/ssh/ssh_host_rsa_key", mode: 0o600, text: "key"}
	im, err := newReader(table).Open(context.Background(), "x",
		image(t, v1.Config{}, layer(t, passwd, key), layer(t, file{name: "etc/ssh/.wh.ssh_host_rsa_key"})))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range checkImage(im, table, nil) {
		if r.Kind == KindClean && r.Status != statusFailed {
			t.Errorf("%s is %s for an image of root with a key in a lower layer", r.Value, r.Status)
		}
	}
}
