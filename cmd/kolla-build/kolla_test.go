package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestKollaSideBySide runs command lines through Kolla's Python tool and through this
// program, on Kolla's own tree, and compares the results: the Dockerfiles with all
// files beside them, the lists, and the exit status. The lines are in
// testdata/kolla/command_lines.txt.
func TestKollaSideBySide(t *testing.T) {
	kolla := os.Getenv("KOLLA_CHECKOUT")
	if kolla == "" {
		t.Skip("KOLLA_CHECKOUT does not name a checkout of openstack/kolla to compare with")
	}
	env := kollaEnv(t)
	self := filepath.Join(t.TempDir(), "kolla-build")
	linkSelf(t, self)
	archive, err := txtar.ParseFile(filepath.Join(testenv.RepoRoot(t), "testdata", "kolla", "command_lines.txt"))
	if err != nil {
		t.Fatal(err)
	}
	inputs := writeInputs(t, archive)
	profiles := kollaProfiles(t, kolla, env)
	data := t.TempDir()
	lines := 0
	for line := range strings.SplitSeq(string(archive.Comment), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		lines++
		scratch := filepath.Join(data, strconv.Itoa(lines))
		check, args, _ := strings.Cut(line, " ")
		t.Run(strings.NewReplacer("/", "_", " ", "_").Replace(line), func(t *testing.T) {
			t.Parallel()
			p := &pair{t: t, self: self, kolla: kolla, env: env, profiles: profiles,
				args: strings.Fields(strings.ReplaceAll(args, "@", inputs)), data: data, scratch: scratch}
			switch check {
			case "tree":
				p.tree()
			case "lists":
				p.lists()
			case "exit":
				p.exit()
			case "usage":
				p.usage()
			case "refuse":
				p.refuse()
			default:
				t.Fatalf("%q: a line begins with tree, lists, exit, usage or refuse", line)
			}
			p.progress("master", line)
		})
	}
	if lines < 80 {
		t.Errorf("only %d command lines are compared", lines)
	}
}

// pair runs one command line with both tools.
type pair struct {
	t           *testing.T
	self, kolla string
	env         []string // of Kolla's tool
	release     string   // the OpenStack release of the checkout, "" for master
	profiles    string   // a file with Kolla's own
	mayRefuse   bool     // skip if Kolla's tool does not understand the command line
	noPatches   bool     // Kolla's tool of that branch makes no directories for patches
	args        []string
	data        string // our data directory
	scratch     string // the beginning of paths for files
}

type outcome struct {
	stdout, stderr string
	code           int
}

func (p *pair) python(extra ...string) outcome {
	cmd := exec.Command("/usr/bin/python3", append([]string{"tools/build.py", "-q"}, slices.Concat(extra, p.args)...)...)
	cmd.Dir, cmd.Env = p.kolla, p.env
	return p.start(cmd)
}

func (p *pair) ours(extra ...string) outcome {
	args := slices.Concat([]string{"--images-dir", kollaTree(p.kolla), "--config-file", p.profiles, "-q"}, extra, p.args)
	if p.release != "" {
		args = append([]string{"--openstack-release", p.release}, args...)
	}
	cmd := exec.Command(p.self, args...)
	cmd.Dir = p.kolla
	cmd.Env = append(os.Environ(), "KOLLA_BUILD_DATA_DIR="+p.data, "KOLLA_BUILD_ENGINE=none")
	return p.start(cmd)
}

func (p *pair) start(cmd *exec.Cmd) outcome {
	p.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return outcome{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// succeed runs both tools, each with further arguments. Neither may fail.
func (p *pair) succeed(python, ours []string) (want, got string) {
	p.t.Helper()
	w, g := p.python(python...), p.ours(ours...)
	if w.code != 0 || g.code != 0 {
		p.t.Fatalf("exit status: Python's %d, ours %d\n%s\n%s", w.code, g.code, w.stderr, g.stderr)
	}
	return w.stdout, g.stdout
}

// progress reports the end of a comparison at once; go test prints the results of
// subtests at the end of the whole test.
func (p *pair) progress(release, line string) {
	if !p.t.Failed() {
		p.t.Logf("%s: same: %s", release, line)
	}
}

func (p *pair) tree() {
	want, got := p.t.TempDir(), p.t.TempDir()
	if w := p.python("--template-only", "--work-dir", want); w.code != 0 && p.mayRefuse {
		lines := strings.Split(strings.TrimSpace(w.stderr), "\n")
		p.t.Skipf("%s: Kolla's tool refuses %q: %s", p.release, p.args, lines[len(lines)-1])
	} else if w.code != 0 {
		p.t.Fatalf("the Python tool: %s", w.stderr)
	}
	if g := p.ours("--template-only", "--work-dir", got); g.code != 0 {
		p.t.Fatalf("exit status %d: %s", g.code, g.stderr)
	}
	a, b := readTree(p.t, got), readTree(p.t, want)
	if len(b) < 10 {
		p.t.Fatalf("the Python tool wrote only %d files and directories", len(b))
	}
	shown := 0
	for path, w := range b {
		g, ok := a[path]
		if p.release == "" {
			g = buildDate.ReplaceAllString(g, `build-date=""`)
		}
		switch {
		case !ok:
			p.t.Errorf("%s is missing", path)
		case g != w && shown < 3:
			shown++
			p.t.Errorf("%s differs:\ngot\n%s\nwant\n%s", path, firstDifference(g, w), firstDifference(w, g))
		}
	}
	for path := range a {
		if _, ok := b[path]; !ok && !(p.noPatches && filepath.Base(path) == "patches") {
			p.t.Errorf("%s should not exist", path)
		}
	}
}

func (p *pair) lists() {
	both := func(arg string) (string, string) { return p.succeed([]string{arg}, []string{arg}) }
	want, got := both("--list-images")
	if w, g := imageNames(want), imageNames(got); !slices.Equal(w, g) {
		p.t.Errorf("--list-images:\ngot  %s\nwant %s", g, w)
	}
	want, got = both("--list-dependencies")
	if w, g := sortedTree(p.t, want), sortedTree(p.t, got); w != g {
		p.t.Errorf("--list-dependencies:\ngot\n%s\nwant\n%s", g, w)
	}
	wantDot, gotDot := p.scratch+"-want.dot", p.scratch+"-got.dot"
	p.succeed([]string{"--save-dependency", wantDot}, []string{"--save-dependency", gotDot})
	if w, g := sortedDot(p.t, wantDot), sortedDot(p.t, gotDot); w != g {
		p.t.Errorf("--save-dependency:\ngot\n%s\nwant\n%s", g, w)
	}
}

// exit compares a mistake for which both have the same exit status.
func (p *pair) exit() { p.mistake(func(python int) int { return python }) }

// usage compares a mistake of the command line, for which our exit status is always 2.
func (p *pair) usage() { p.mistake(func(int) int { return 2 }) }

// mistake runs both with a mistake. want returns our exit status for Python's.
func (p *pair) mistake(want func(python int) int) {
	work := p.t.TempDir()
	w, g := p.python("--template-only", "--work-dir", work+"/python"),
		p.ours("--template-only", "--work-dir", work+"/ours")
	if w.code == 0 {
		p.t.Fatalf("the Python tool accepts this: %s", w.stdout)
	}
	if g.code != want(w.code) {
		p.t.Errorf("exit status %d, the Python tool's is %d\nit prints:\n%s\nwe print:\n%s", g.code,
			w.code, w.stderr, g.stderr)
	}
	if len(strings.TrimSpace(g.stderr)) == 0 {
		p.t.Error("nothing is printed")
	}
}

// refuse compares mistakes that the Python tool reports, or treats as an empty
// selection, with exit status 0.
func (p *pair) refuse() {
	w, g := p.python("--list-images"), p.ours("--list-images")
	if w.code != 0 || imageNames(w.stdout)[0] != "" {
		p.t.Errorf("the Python tool: exit status %d\n%s%s", w.code, w.stdout, w.stderr)
	}
	if g.code == 0 || g.stdout != "" || g.stderr == "" {
		p.t.Errorf("exit status %d\n%s%s", g.code, g.stdout, g.stderr)
	}
}

// writeInputs writes the files of an archive, with @ replaced by their directory, which
// is returned.
func writeInputs(t *testing.T, archive *txtar.Archive) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range archive.Files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.ReplaceAll(f.Data, []byte("@"), []byte(dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// kollaEnv returns the environment in which Kolla's tools run. Compiling modules and
// templates takes most of their time, so what they compile is kept between the runs of a
// test.
func kollaEnv(t *testing.T) []string {
	t.Helper()
	if err := exec.Command("/usr/bin/python3", "-c",
		"import oslo_config, jinja2, git, docker, pbr, yaml, requests, graphviz").Run(); err != nil {
		testenv.Missing(t, "the modules that Kolla's Python tool needs are not installed; scripts/deps.sh kolla installs them")
	}
	// Kolla takes its version, and with it a label, from its packaging.
	return append(os.Environ(), "PBR_VERSION=22.0.0", "PYTHONPYCACHEPREFIX="+t.TempDir(),
		"PYTHONPATH="+filepath.Join(testenv.RepoRoot(t), "testdata", "kolla", "python"), "KOLLA_TEMPLATE_CACHE="+t.TempDir())
}

// kollaTree returns the template tree of a checkout, which was in docker/ until 2025.2.
func kollaTree(checkout string) string {
	tree := filepath.Join(checkout, "kolla", "docker")
	if _, err := os.Stat(tree); err != nil {
		return filepath.Join(checkout, "docker")
	}
	return tree
}

// kollaProfiles writes a configuration file with the profiles of the checkout.
func kollaProfiles(t *testing.T, kolla string, env []string) string {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", "-c",
		"from kolla.common import config\nprint('[profiles]')\nfor o in config._PROFILE_OPTS: print(o.name, '=', ','.join(o.default))")
	cmd.Dir, cmd.Env = kolla, env
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "profiles.conf")
	if err := os.WriteFile(path, out, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// versionLabel is the label with the version of the tool.
var versionLabel = regexp.MustCompile(`(?m)^LABEL kolla_version=.*$`)

// buildDate is a label that Kolla's master leaves empty: its tool no longer defines
// build_date, and its own template still reads it. Ours defines it for the overrides of
// sites (docs/migrating.md).
var buildDate = regexp.MustCompile(`build-date="[0-9]{8}"`)

func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		// The tools write into dir itself or into a directory of it.
		rel = strings.TrimPrefix(rel, "docker/")
		info, err := d.Info()
		if err != nil || rel == "." || rel == "docker" {
			return err
		}
		if d.IsDir() {
			out[rel] = info.Mode().String()
			return nil
		}
		content, err := os.ReadFile(path)
		out[rel] = info.Mode().String() + "\n" + string(versionLabel.ReplaceAll(content, nil))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func firstDifference(a, b string) string {
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i, l := range la {
		if i >= len(lb) || l != lb[i] {
			return l
		}
	}
	return "(its end)"
}

// imageNames returns the names of a numbered list, sorted: the Python tool prints them
// in the order of the file system.
func imageNames(list string) []string {
	var names []string
	for l := range strings.SplitSeq(strings.TrimSpace(list), "\n") {
		_, name, _ := strings.Cut(l, " : ")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// sortedDot returns the lines of a Graphviz file, sorted.
func sortedDot(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.ReplaceAll(string(b), "rankdir=LR\t", "rankdir=LR\n\t"), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// sortedTree returns a JSON tree with every list sorted.
func sortedTree(t *testing.T, s string) string {
	t.Helper()
	if strings.TrimSpace(s) == "" {
		return ""
	}
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%v:\n%s", err, s)
	}
	text := func(v any) string {
		b, _ := json.MarshalIndent(v, "", " ")
		return string(b)
	}
	var sortAll func(any)
	sortAll = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, c := range v {
				sortAll(c)
			}
		case []any:
			for _, c := range v {
				sortAll(c)
			}
			slices.SortFunc(v, func(a, b any) int { return strings.Compare(text(a), text(b)) })
		}
	}
	sortAll(v)
	return text(v)
}
