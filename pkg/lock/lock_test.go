package lock

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/pelletier/go-toml/v2"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

func example() *Lock {
	d := digest.FromString
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := &Lock{Version: Version, Compatibility: 30,
		Set:    Set{Base: "debian", BaseTag: "trixie", InstallType: "source", Release: "master"},
		Images: []Image{{"memcached", d("k"), d("i")}, {"base", d("k2"), d("i2")}},
		Bases:  []Base{{"debian:trixie", "linux/amd64", d("b"), 10}},
		Sources: []Source{{Section: "keystone-base", Type: "git", Location: "https://host/keystone", Reference: "master",
			Commit: "abc", Digest: d("s"), Size: 5, Modified: at}},
		Files: []File{
			{URL: "http://deb/pool/m/memcached_1.6.38-1_amd64.deb", Digest: d("m"), Size: 3, Images: []string{"memcached"}},
			{URL: "http://deb/dists/trixie/InRelease", Digest: d("r"), Size: 4, Modified: at,
				Images: []string{"base", "memcached"}},
			{URL: "https://pypi/simple/pip/", Digest: d("p"), Size: 0, Type: "text/html; charset=\"utf-8\"",
				Encoding: "gzip", Images: []string{}},
		},
		Redirect: []Link{{"http://a/x", "https://b/y", 302, []string{"base"}}},
		Absent:   []Absent{{"http://a/none", 404, []string{"base"}}},
		Missed:   []Unrepeatable{{"POST http://a/x", "base", "only GET can be repeated"}},
	}
	l.Sort()
	return l
}

func TestRoundTrip(t *testing.T) {
	l := example()
	text := l.Marshal()
	got, err := Parse(text, "lock")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !reflect.DeepEqual(got, l) {
		t.Errorf("got  %+v\nwant %+v", got, l)
	}
	if string(got.Marshal()) != string(text) {
		t.Error("another text for the same lock")
	}
	if _, ok := got.Image("memcached"); !ok {
		t.Error("memcached is not found")
	}
	if s, ok := got.FindSource("keystone-base", "git", "https://host/keystone", "master"); !ok || s.Commit != "abc" {
		t.Errorf("%v, %v", s, ok)
	}
}

// TestHostileLocks checks that mistakes are located, in the n-th entry of a kind.
func TestHostileLocks(t *testing.T) {
	text := string(example().Marshal())
	for _, c := range []struct{ about, old, new, want string }{
		{"not TOML", "version = 1", "version = [", ":5: "},
		{"a newer format", "version = 1", "version = 2", "version 2 of the format"},
		{"an unknown key", "install-type", "installed", `unknown key "set.installed"`},
		{"no digest", digest.FromString("m").String(), "sha256:abc", `"sha256:abc" is not a sha256 digest`},
		{"a digest with a path", digest.FromString("m").String(), "../../etc/passwd", "is not a sha256 digest"},
		{"another algorithm", digest.FromString("b").String(), digest.SHA512.FromString("b").String(),
			"is not a sha256 digest"},
		{"a negative size", "size = 10", "size = -10", "size -10 is negative"},
		{"an endless file", "size = 10", "size = 4611686018427387904", "is more than 1.0 TiB"},
		{"a path as URL", "http://deb/dists", "file:///dists", "is not an http or https URL"},
		{"dots in a URL", "http://deb/dists/", "http://deb/../../", "is not in the form that requests have"},
		{"credentials", "http://deb/dists/", "http://u:p@deb/dists/", "contains credentials"},
		{"a URL twice", "http://a/none", "http://a/x", "http://a/x occurs twice"},
		{"a redirect elsewhere", "https://b/y", "gopher://b/y", "is not an http or https URL"},
		{"a wrong status", "status = 404", "status = 200", "status 200 is not that of a missing file"},
		{"a section with dots", `section = "keystone-base"`, `section = "../x"`, `"../x" is not a name`},
		{"an absolute name", `name = "memcached"`, `name = "/etc/passwd"`, "is not a name"},
		{"a control character", "only GET", `only\u001b[31m GET`, "control or invisible character"},
		{"a long value", "only GET", strings.Repeat("x", maxText+1), "is too long"},
		{"a long URL", "http://a/none", "http://a/" + strings.Repeat("x", maxText), "is too long"},
		{"a number as text", "size = 10", `size = "10"`, ":27: "},
	} {
		t.Run(c.about, func(t *testing.T) {
			bad := strings.Replace(text, c.old, c.new, 1)
			if bad == text {
				t.Fatal("nothing replaced")
			}
			_, err := Parse([]byte(bad), "lock")
			var located *Error
			if !errors.As(err, &located) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %s", err, c.want)
			}
			if located.Line > 0 && !strings.Contains(strings.Join(strings.Split(bad,
				"\n")[max(0, located.Line-2):min(located.Line+8, strings.Count(bad, "\n"))], "\n"),
				strings.SplitN(c.new, `\u`, 2)[0]) {
				t.Errorf("line %d does not have %q", located.Line, c.new)
			}
		})
	}
}

func TestReadRejectsWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 1<<40); err != nil { // more than memory can hold
		t.Fatal(err)
	}
	for path, want := range map[string]string{fifo: "not a regular file", dir: "not a regular file", large: "larger than",
		filepath.Join(dir, "none"): "no such lock"} {
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

// What the parser of TOML would take a multiple of the file's size for is refused before.
func TestLockLimits(t *testing.T) {
	testenv.Slow(t)
	start := "version = 1\n"
	for name, c := range map[string]struct{ text, want string }{
		"a large file":   {start + strings.Repeat("\n", maxSize), "larger than"},
		"entries":        {start + strings.Repeat("[[file]]\n", maxEntries+1), "more than 200000 entries"},
		"a list":         {start + "images = [" + strings.Repeat(`"",`, maxList+1) + "]\n", "a list of more than"},
		"a nested list":  {start + "images = " + strings.Repeat("[\n", maxList+1), "a list of more than"},
		"a dotted key":   {start + strings.Repeat("a.", maxList+1) + "b = 1\n", "a key of more than"},
		"tables":         {start + "file = [" + strings.Repeat("{},\n", maxList+1) + "]\n", "a list of more than"},
		"one key":        {start + strings.Repeat("x = 1\n", maxValues), "values"},
		"unknown keys":   {start + numbered("x%d = 1\n", maxValues/2), "unknown key \"x0\""},
		"quoted keys":    {start + numbered("\"x%d\" = 1\n", maxValues/2), "neither a key"},
		"unknown tables": {start + numbered("[x%d]\n", maxEntries/2), "unknown key \"x0\""},
		"known tables":   {start + numbered("[[file]]\nx%d = 1\n", maxEntries/2), "unknown key \"file.x0\""},
		"a later lock":   {"version = 2\n" + strings.Repeat("[[file]]\nx = 1\n", 2*maxUnknown), "version 2"},
		"several lines":  {start + "x = \"\"\"\n\"\"\"\n", "several lines"},
		"a quoted key":   {start + "\"x\" = 1\n", "neither a key"},
		"braces":         {start + "set = {base = \"debian\"}\n", "unknown key"},
		"a key's braces": {start + "[set]\nbase = {x = 1}\n", ""},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse([]byte(c.text), "lock")
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
			t.Errorf("%s: %d bytes were allocated", name, got)
		}
	}
}

// numbered repeats a format with the numbers up to n.
func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestPackageOf(t *testing.T) {
	for in, want := range map[string]string{
		"http://h/pool/m/memcached_1.6.38-1+b1_amd64.deb":            "memcached 1.6.38-1+b1",
		"http://h/pool/l/liba_1%3a2.0~rc1-1_all.deb":                 "liba 1:2.0~rc1-1",
		"https://h/Packages/p/python3-six-1.16.0-12.el10.noarch.rpm": "python3-six 1.16.0-12.el10",
		"https://files/six-1.16.0-py2.py3-none-any.whl":              "six 1.16.0",
		"https://files/oslo.config-9.1.tar.gz":                       "oslo.config 9.1",
		"http://h/dists/trixie/main/binary-amd64/Packages.xz":        "",
		"http://h/dists/trixie/InRelease":                            "",
		"https://tarballs/openstack/keystone/keystone-master.tar.gz": "",
	} {
		name, version, _ := PackageOf(in)
		if got := strings.TrimSpace(name + " " + version); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestSummary(t *testing.T) {
	older, newer := example(), example()
	newer.Bases[0].Digest = digest.FromString("b2")
	newer.Sources[0].Commit = "def"
	newer.Files[1] = File{URL: "http://deb/pool/m/memcached_1.6.39-1_amd64.deb", Digest: digest.FromString("m2"), Size: 3,
		Images: []string{"memcached"}}
	newer.Files = append(newer.Files,
		File{URL: "http://deb/pool/n/new_1_amd64.deb", Digest: digest.FromString("n"),
			Images: []string{"a", "b", "c", "d", "e", "f"}})
	newer.Sort()
	got := strings.Join(Summary(older, newer), "\n")
	for _, want := range []string{
		"4 inputs changed:",
		"base image debian:trixie linux/amd64 " + digest.FromString("b").Encoded()[:12] + " → " + digest.FromString("b2").Encoded()[:12],
		"source keystone-base keystone master abc → keystone master def",
		"package memcached 1.6.38-1 → 1.6.39-1 (memcached)",
		"package new added: 1 (a, b, c, d and 2 more)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if s := Summary(older, example()); fmt.Sprint(s) != "[no input changed]" {
		t.Errorf("%v", s)
	}
	// The same version with other content is a change.
	newer = example()
	newer.Files[1].Digest = digest.FromString("replaced")
	if s := Summary(older, newer); len(s) != 2 || !strings.Contains(s[1], "memcached 1.6.38-1") {
		t.Errorf("%v", s)
	}
}

// FuzzParse: a lock is rejected, or is written and read again as the same.
func FuzzParse(f *testing.F) {
	f.Add(example().Marshal())
	f.Add([]byte("version = 1\n[[file]]\nurl = \"http://a/\"\ndigest = \"x\"\n"))
	f.Add([]byte("version = 1\n[[image]]\nname = \"a\"\n[set]\nbase = \"\\u0007\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse(data, "lock")
		if err != nil {
			return
		}
		if err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(&Lock{}); err != nil {
			t.Errorf("read in spite of %v", err)
		}
		l.Sort()
		text := l.Marshal()
		reparsed, err := Parse(text, "lock")
		if err != nil {
			t.Fatalf("not read again: %v\n%s", err, text)
		}
		if got := reparsed.Marshal(); string(got) != string(text) {
			t.Fatalf("got\n%s\nwant\n%s", got, text)
		}
	})
}
