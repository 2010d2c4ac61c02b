package hostile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/pkg/contract"
	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/lock"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// A shape is a text of any size: a unit that is repeated between a beginning and an end. In the
// unit, # stands for its number.
type shape struct{ head, unit, tail string }

// write writes a text of about a size in bytes to a file, without having it in memory.
func (s shape) write(path string, size int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	parts := strings.Split(s.unit, "#")
	w.WriteString(s.head)
	var number []byte
	for i, n := 0, 0; n < size; i++ {
		number = strconv.AppendInt(number[:0], int64(i), 36)
		for j, part := range parts {
			if j > 0 {
				w.Write(number)
				n += len(number)
			}
			w.WriteString(part)
			n += len(part)
		}
	}
	w.WriteString(s.tail)
	return w.Flush()
}

var tomlShapes = []shape{
	{"", "a#=1\n", ""}, {"", "[a#]\n", ""}, {"", "[[registry]]\nlocation='a#'\n", ""},
	{"[[registry]]\nlocation='a'\n", "[[registry.mirror]]\nlocation='b#'\n", ""},
	{"a=", "[", ""}, {"a=[", "1,", "]"}, {"a=[", "[],", "]"}, {"a=", "{a=", ""}, {"a={", "b#=1,", "c=1}"},
	{"", "a.", "b=1"}, {"[a", ".b", "]\n"}, {"a='", "x", "'"}, {"a=\"", `\u0000`, "\""},
	{"a='''", "x\n", "'''"}, {"", "\n", ""}, {"#", "x", "\n"}, {"credential-helpers=[", "'a#',", "]"},
	{"[[file]]\nurl='http://a/b'\nimages=[", "'a#',", "]"}, {"", "[[file]]\nurl='http://a/#'\nsize=1\n", ""},
	{"[registries.insecure]\nregistries=[", "'a#.example',", "]"}, {"version=1\n", "[[image]]\nname='a#'\n", ""},
}

var jsonShapes = []shape{
	{"", "[", ""}, {"", `{"a":`, ""}, {`{"a":`, "[", ""}, {`{"auths":`, `{"a":`, ""},
	{`{"auths":{`, `"h#":{"auth":"YTpi"},`, `"z":{}}}`}, {`{"auths":{`, `"#":{"password":"x"},`, `"z":{}}}`},
	{`{"auths":{`, `"h":{},`, `"z":{}}}`},
	{`{"auths":{"h":{"auth":"`, "YTpi", `"}}}`}, {`{"auths":{"`, "x", `":{}}}`},
	{`{"credHelpers":{`, `"#":"x",`, `"z":"x"}}`}, {`{"x":[`, "0,", "0]}"}, {`{"x":[`, "{},", "{}]}"},
	{`{"x":"`, `\u0000`, `"}`}, {`{`, `"#":0,`, `"z":0}`},
	{`{"insecure-registries":[`, `"a#.example",`, `"z"]}`}, {`{"x":`, "1", "}"}, {"", " ", ""}, {"", "{}", ""},
	{`{"version":1,"blobs":[`, `{"digest":"sha256:` + strings.Repeat("0", 48) + `#","size":1},`, `{}]}`},
	{`{"version":1,"blobs":[`, "{},", "{}]}"}, {`{"version":1,"images":[`, "{},", "{}]}"},
	{`{"version":1,"images":[{"layers":[`, `"",`, `""]}]}`},
	{`{"version":1,"images":[`, `{"name":"a#"},`, "{}]}"}, {`{"version":1,"of":"`, "x", `"}`},
}

var yamlShapes = []shape{
	{"a: ", "[", ""}, {"a: [", "1,", "1]"}, {"a: [", "[],", "1]"}, {"a: {", "b#: 1, ", "c: 1}"}, {"", "a#: 1\n", ""},
	{"", "- ", "x"}, {"", "? ", ""}, {"", "? a#\n", ""}, {"a: \"", "x", "\""}, {"a: |\n", "  x\n", ""},
	{"a: >\n", "  x\n\n", ""}, {"", "&a ", "x"}, {"a: ", "!!a ", "x"},
	{"#", "x", "\n"}, {"", "#\n", ""}, {"", "---\n", ""}, {"a: &a [x]\nb: [", "*a,", "*a]"},
	{"a: &a\n", "  k#: 1\n", "b: {<<: [" + strings.Repeat("*a,", 100_000) + "*a]}\n"},
	{"debian: &a\n", "  k#: {url: x}\n", strings.Repeat("x: {<<: *a}\n", 1000)},
	{"debian:\n", "  k#: {url: x}\n", ""},
	{"debian:\n  x: &r\n", "    k#: 1\n", strings.Repeat("  y: *r\n", 50_000)},
	{"", "x#: &x# {k: 1, <<: [*x#, *x#]}\n", ""}, {"a: ", "&x# [", ""}, {"", "a: &a#\n", ""},
	{"%TAG ! tag:", "x", "\n---\na: 1\n"}, {"a: '", "''", "'"}, {"a: ", "1", ""}, {"a: 0x", "f", ""},
}

var iniShapes = []shape{
	{"[DEFAULT]\n", "a#=1\n", ""}, {"[DEFAULT]\n", "a=1\n", ""}, {"[DEFAULT]\na=1\n", " x\n", ""},
	{"", "[a#]\n", ""}, {"", "[a]\n", ""}, {"", "[a#]\nb=1\n", ""}, {"[DEFAULT]\na=", "x", ""}, {"[", "x", "]"},
	{"[DEFAULT]\n", "#x\n", ""}, {"[DEFAULT]\n", "\n", ""}, {"[DEFAULT]\n", "x", "=1\n"},
	{"[DEFAULT]\na=", "$a", ""}, {"[DEFAULT]\na=", "${DEFAULT.tag}", ""}, {"[DEFAULT]\nnamespace=", "$tag", ""},
	{"[DEFAULT]\nbuild_args=", "a#:1,", ""}, {"[DEFAULT]\nregex=", "(", ""}, {"[DEFAULT]\nregex=", "a#,", ""},
	{"[DEFAULT]\nregex=", "a|", ""}, {"[DEFAULT]\nprofile=", "a#,", ""}, {"[profiles]\n", "a#=b\n", ""},
	{"", "[a#-plugin-b]\ntype=git\nlocation=http://a\n", ""}, {"", "[a#-user]\nuid=#\n", ""},
	{"[DEFAULT]\ntag=", "\"", ""}, {"[DEFAULT]\n", "registry=a#\n", ""},
}

var tableShapes = []shape{
	{"image\tkind\tvalue\trole\n", "a#\tcommand\tb\tc\n", ""}, {"image\tkind\tvalue\trole\n", "a\tfile\t/#\t\n", ""},
	{"", "\t", ""}, {"", "\n", ""}, {"", "x", ""}, {"image\tkind\tvalue\trole\na\tcommand\t", "x ", "\n"},
}

// largeKinds are files that users name, and the readers of them.
var largeKinds = []struct {
	name   string
	shapes []shape
	read   func(ctx context.Context, r *reading, path string) error
}{
	{"kolla-build.conf", iniShapes, func(_ context.Context, r *reading, path string) error {
		return loadConfig(r, "--config-file", path)
	}},
	{"registries.conf", tomlShapes, func(ctx context.Context, r *reading, path string) error {
		return readSettings(ctx, r, "containers/registries.conf", path)
	}},
	{"daemon.json", jsonShapes, func(ctx context.Context, r *reading, path string) error {
		return readSettings(ctx, r, "docker/daemon.json", path)
	}},
	{"auth.json", jsonShapes, readLogins},
	{"variables", append(yamlShapes, jsonShapes...), readVariables},
	{"repos.yaml", yamlShapes, readRepositories},
	{"lock", tomlShapes, func(_ context.Context, _ *reading, path string) error { _, err := lock.Read(path); return err }},
	{"inventory", jsonShapes, func(_ context.Context, _ *reading, path string) error {
		return withFile(path, func(f io.Reader) error { _, err := inventory.Read(f); return err })
	}},
	{"contract table", tableShapes, func(_ context.Context, _ *reading, path string) error {
		return withFile(path, func(f io.Reader) error { _, err := contract.ReadTable(f, "table"); return err })
	}},
	{"contract exceptions", tableShapes, func(_ context.Context, _ *reading, path string) error {
		return withFile(path, func(f io.Reader) error { _, err := contract.ReadExceptions(f, "exceptions"); return err })
	}},
}

func withFile(path string, read func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return brokenf("%w", err)
	}
	defer f.Close()
	return read(f)
}

// readLarge reads a file of up to 64 MiB of a format that users write by hand.
func readLarge(ctx context.Context, rnd *rand.Rand, r *reading) error {
	kind := pick(rnd, largeKinds)
	s := pick(rnd, kind.shapes)
	size := pick(rnd, []int{10 << 10, 100 << 10, 250 << 10, 1000 << 10, 3 << 20, 15 << 20, 31 << 20, 63 << 20})
	path, err := r.input("large", nil)
	if err != nil {
		return brokenf("%w", err)
	}
	if err := s.write(path, size); err != nil {
		return brokenf("%w", err)
	}
	title := fmt.Sprintf("%s of %d bytes (%.40q, then %.40q)", kind.name, size, s.head, s.unit)
	started := time.Now()
	err = kind.read(ctx, r, path)
	if elapsed := time.Since(started); elapsed > maxTime || os.Getenv("KOLLA_HOSTILE_INPUT") != "" {
		what := brokenf("%s: %v and %d MiB; %.200q", title, elapsed.Round(time.Millisecond), peakMemory()>>10, err)
		if elapsed > maxTime {
			return what
		}
		os.Stderr.WriteString(what.Error() + "\n")
	}
	if memory := peakMemory(); memory > maxMemory {
		return brokenf("%s took %d MiB", title, memory>>10)
	}
	var problem broken
	if err != nil && !errors.As(err, &problem) && len(errorText(err)) > 64<<10 {
		return brokenf("%s: an error of %d bytes", title, len(errorText(err)))
	}
	return err
}

// readSettings reads a file of the host's settings for registries.
func readSettings(ctx context.Context, r *reading, name, path string) error {
	etc := filepath.Join(r.dir, "etc")
	if err := os.MkdirAll(filepath.Dir(filepath.Join(etc, name)), 0o755); err != nil {
		return brokenf("%w", err)
	}
	if err := os.Symlink(path, filepath.Join(etc, name)); err != nil {
		return brokenf("%w", err)
	}
	client, err := registry.New(ctx, registry.Options{Retries: -1, EtcDir: etc})
	if err == nil {
		client.Close()
	}
	return err
}

// readLogins looks up the login for a registry that requires one.
func readLogins(ctx context.Context, r *reading, path string) error {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer s.Close()
	os.Setenv("REGISTRY_AUTH_FILE", path)
	defer os.Unsetenv("REGISTRY_AUTH_FILE")
	client, err := registry.New(ctx, registry.Options{Retries: -1, EtcDir: r.dir})
	if err != nil {
		return brokenf("%w", err)
	}
	defer client.Close()
	_, _, err = client.Fetch(ctx, strings.TrimPrefix(s.URL, "http://")+"/x:1", "")
	return err
}

func readVariables(ctx context.Context, r *reading, path string) error {
	template, err := r.input("x.j2", []byte("{{ a }}"))
	if err != nil {
		return brokenf("%w", err)
	}
	_, _, err = render.RenderFile(ctx, render.FileOptions{Template: template, VarsFile: path})
	return err
}

func readRepositories(ctx context.Context, r *reading, path string) error {
	if _, err := r.input("tree/base/Dockerfile.j2", []byte("FROM x:1\n")); err != nil {
		return brokenf("%w", err)
	}
	return renderTree(ctx, r, "--base", "debian", "--images-dir", filepath.Join(r.dir, "in", "tree"), "--repos-yaml", path)
}
