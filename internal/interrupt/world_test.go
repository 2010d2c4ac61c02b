package interrupt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/store"
)

func TestMain(m *testing.M) { registrytest.Main(m) }

func TestInterrupted(t *testing.T) {
	testenv.Slow(t)
	testenv.Root(t) // mounts file systems
	w := newWorld(t)
	for _, command := range commands {
		t.Run(command.name, func(t *testing.T) {
			w := *w
			w.t = t
			command.run(t, &w)
		})
	}
}

// commands are what is interrupted, besides save.
var commands = []struct {
	name string
	run  func(*testing.T, *world)
}{{"Load", testLoad}, {"Push", testPush}, {"Copy", testCopy}}

// make test-bundles runs the commands that ONLY names, by the names of their tests.
func TestSelectedCommands(t *testing.T) {
	script := filepath.Join(testenv.RepoRoot(t), "scripts", "test-bundles.sh")
	selected := func(selected string) (string, error) {
		cmd := exec.CommandContext(t.Context(), script)
		cmd.Env = append(os.Environ(), "GO=echo", "ONLY="+selected)
		out, err := cmd.Output()
		return string(out), err
	}
	all, err := selected("")
	if err != nil || !strings.Contains(all, "TestInterruptedSave$") ||
		!strings.Contains(all, "TestInterrupted$/^(Load|Push|Copy)$") {
		t.Errorf("without ONLY: %q, %v", all, err)
	}
	for _, command := range commands {
		out, err := selected(strings.ToLower(command.name))
		if err != nil || !strings.Contains(out, "TestInterrupted$/^("+command.name+")$") || strings.Contains(out, "Save") {
			t.Errorf("%s: %q, %v", command.name, out, err)
		}
	}
	var exit *exec.ExitError
	if out, err := selected("load lod"); !errors.As(err, &exit) || exit.ExitCode() != 2 || out != "" {
		t.Errorf("an unknown command: %q, %v", out, err)
	}
}

// names are the images of the set.
var names = []string{"base", "nova-api", "nova-compute"}

const host, tag = "localhost:4000", "t1"

// times returns how many runs are interrupted.
func times(t *testing.T, few int) int {
	t.Helper()
	text := os.Getenv("KOLLA_TEST_INTERRUPTIONS")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// world has two states of the set, old and new, in all forms of transport.
type world struct {
	t        *testing.T
	tool     string
	dir      string
	old, new map[string]digest.Digest // by name
	images   map[string]v1.Image      // of the new state
	oldFile  string
	oldStore *store.Store
	newStore *store.Store
	newFile  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.tool = filepath.Join(w.dir, "kolla-build")
	build := exec.Command("go", "build", "-o", w.tool, "./cmd/kolla-build")
	build.Dir = testenv.RepoRoot(t)
	build.Env = append(os.Environ(), "HOME="+os.Getenv("KOLLA_BUILD_TEST_HOME"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building kolla-build: %v\n%s", err, out)
	}
	w.oldStore, w.old, _ = w.fill("old")
	w.newStore, w.new, w.images = w.fill("new")
	w.oldFile, w.newFile = w.save(w.oldStore, "old.tar", save.Options{})[0],
		w.save(w.newStore, "new.tar", save.Options{})[0]
	return w
}

// fill makes a store with one state of the set.
func (w *world) fill(name string) (*store.Store, map[string]digest.Digest, map[string]v1.Image) {
	w.t.Helper()
	s, err := store.Open(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	base := registrytest.Base(w.t, 2_000_000)
	images := map[string]v1.Image{"base": base, "nova-api": registrytest.Image(w.t, base, 700_000, 3),
		"nova-compute": registrytest.Image(w.t, base, 800_000, 2)}
	digests := map[string]digest.Digest{}
	for name, img := range images {
		if digests[name], err = s.WriteImage(w.t.Context(), img); err != nil {
			w.t.Fatal(err)
		}
		if err := s.Put(store.Entry{Name: host + "/kolla/" + name + ":" + tag, Digest: digests[name],
			Kind: store.KindBuilt}); err != nil {
			w.t.Fatal(err)
		}
	}
	return s, digests, images
}

// save saves a store and returns the files.
func (w *world) save(s *store.Store, output string, opts save.Options) []string {
	w.t.Helper()
	entries, err := s.Entries()
	if err != nil {
		w.t.Fatal(err)
	}
	path := filepath.Join(w.dir, output)
	if strings.HasSuffix(output, "/") {
		path += "/"
	}
	sum, err := save.Bundle(w.t.Context(), s, entries, path, opts)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(sum.Parts) > 0 {
		return sum.Parts
	}
	return []string{filepath.Clean(path)}
}

// docker returns a file with the new state as docker save writes it.
func (w *world) docker(format archivetest.Format) string {
	w.t.Helper()
	var images []archivetest.Image
	for _, name := range names {
		images = append(images, archivetest.Image{Image: w.images[name],
			Names: []string{host + "/kolla/" + name + ":" + tag}})
	}
	path := filepath.Join(w.dir, string(format)+".tar")
	if err := os.WriteFile(path, archivetest.Archive(w.t, format, images...), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// run is a process of kolla-build.
type run struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out bytes.Buffer
}

func (w *world) start(t *testing.T, args ...string) *run {
	t.Helper()
	r := &run{t: t, cmd: exec.Command(w.tool, args...)}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	in, err := r.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.in = in
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cmd.Process.Kill() })
	return r
}

// feed writes to the standard input of a process, which may have ended.
func (r *run) feed(b []byte) {
	r.t.Helper()
	if _, err := r.in.Write(b); err != nil && !errors.Is(err, syscall.EPIPE) {
		r.t.Fatal(err)
	}
}

// wait returns the exit status, -1 for a process that was killed.
func (r *run) wait() int {
	r.t.Helper()
	err := r.cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	r.t.Fatal(err)
	return 0
}

// must runs a command that must succeed.
func (w *world) must(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command(w.tool, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("kolla-build %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// entries opens the store of a data directory, which the caller closes, and lists it.
func entries(t *testing.T, dataDir string) (*store.Store, []store.Entry) {
	t.Helper()
	s, err := store.OpenReadOnly(filepath.Join(dataDir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.Entries()
	if err != nil {
		s.Close()
		t.Fatal(err)
	}
	return s, found
}

// named returns what the names in a data directory refer to.
func named(t *testing.T, dataDir string) map[string]digest.Digest {
	t.Helper()
	s, all := entries(t, dataDir)
	defer s.Close()
	found := map[string]digest.Digest{}
	for _, e := range all {
		_, rest, _ := strings.Cut(e.Name, "/kolla/")
		name, _, _ := strings.Cut(rest, ":")
		found[name] = e.Digest
	}
	return found
}

// undamaged reads all blobs of the images in a data directory.
func undamaged(t *testing.T, dataDir string) {
	t.Helper()
	s, all := entries(t, dataDir)
	defer s.Close()
	for _, e := range all {
		if err := s.Verify(t.Context(), e.Digest); err != nil {
			t.Error(err)
		}
	}
}

// list returns the files of a directory.
func list(t *testing.T, dir string) string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return strings.Join(files, "\n")
}

// blobs counts the blobs in a data directory.
func blobs(dataDir string) int {
	entries, _ := os.ReadDir(filepath.Join(dataDir, "store", "blobs", "sha256"))
	return len(entries)
}

// fillUp leaves this many bytes free in a file system, and returns the file that has the
// others.
func fillUp(t *testing.T, dir string, free int64) string {
	t.Helper()
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var written int64
	for block := make([]byte, 64<<10); err == nil; {
		var n int
		n, err = f.Write(block)
		written += int64(n)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Truncate(max(0, written-free)); err != nil {
		t.Fatal(err)
	}
	return ballast
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// copyDir copies a directory.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// tally counts the results of runs.
type tally map[string]int

func (c tally) String() string {
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(c)) {
		lines = append(lines, fmt.Sprintf("%s: %d", key, c[key]))
	}
	return strings.Join(lines, ", ")
}
