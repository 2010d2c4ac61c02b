package hostile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/procmem"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/store"
)

const (
	readerSlice  = 280             // inputs of an ordinary test run
	readerTime   = 5 * time.Minute // time limit for one input on a busy machine
	readerBatch  = 500             // inputs that a process reads
	openFilesTop = 64              // files that a process has open, at most
)

// readerVariable makes this test's program read the inputs of its arguments: the first,
// the last, the seed, and a directory.
const readerVariable = "KOLLA_HOSTILE_READER"

// reading is one input that a reader of this program gets.
type reading struct {
	dir     string // empty, removed afterwards
	readers *readers
	store   *store.Store // of healthy images, nil unless openStore was called
}

// openStore returns a store in which healthy images must survive.
func (r *reading) openStore() (*store.Store, error) {
	if r.store != nil {
		return r.store, nil
	}
	dir := filepath.Join(r.dir, "store")
	if err := os.CopyFS(dir, os.DirFS(r.readers.healthy)); err != nil {
		return nil, err
	}
	var err error
	r.store, err = store.Open(dir)
	return r.store, err
}

// input writes a file of the case, and returns its path.
func (r *reading) input(name string, content []byte) (string, error) {
	path := filepath.Join(r.dir, "in", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, content, 0o644)
}

// broken is the error of a reader that violated a condition. Any other error of a reader
// is the expected rejection of the input.
type broken struct{ error }

func brokenf(format string, args ...any) error { return broken{fmt.Errorf(format, args...)} }

// readerKinds are the readers, by input. Each one uses only the generator that it is
// given.
var readerKinds = []struct {
	name string
	read func(context.Context, *rand.Rand, *reading) error
}{
	{"bundle", readBundle}, {"signed bundle", readSigned}, {"bundle", readBundle}, {"delta", readDelta},
	{"byte delta", readByteDelta}, {"parts", readParts},
	{"bundle directory", readBundleDir}, {"several files", readSeveral}, {"docker archive", readDocker},
	{"index", readIndex}, {"inventory", readInventory},
	{"base image", readBase}, {"layer", readLayer}, {"lock", readLock}, {"inputs", readInputs},
	{"source archive", readSource}, {"configuration", readConfiguration},
	{"command line", readCommandLine}, {"template", readTemplate}, {"override", readTemplate},
	{"Dockerfile", readDockerfile}, {"context", readContext},
	{"rename", readRename}, {"journal", readJournal}, {"data directory", readDataDir}, {"logs", readLogs},
	{"step output", readOutput}, {"contract table", readContract},
	{"large file", readLarge},
}

// kindVariable selects the readers of one kind, such as "large file".
const kindVariable = "KOLLA_HOSTILE_KIND"

// readerKind returns the kind of an input.
func readerKind(i int) (name string, read func(context.Context, *rand.Rand, *reading) error) {
	kind := readerKinds[i%len(readerKinds)]
	for _, k := range readerKinds {
		if k.name == os.Getenv(kindVariable) {
			kind = k
		}
	}
	return kind.name, kind.read
}

// TestHostileReaders gives generated inputs to the readers of this program, in processes
// of this test: many more inputs than TestHostileInputs can run commands with.
func TestHostileReaders(t *testing.T) {
	if testing.Short() {
		t.Skip("it reads hundreds of generated inputs")
	}
	seed := number(t, "KOLLA_HOSTILE_SEED", 1)
	first, last := 0, readerSlice
	if n := number(t, "KOLLA_HOSTILE", 0); n > 0 {
		last = 10 * n
	}
	if selected := number(t, "KOLLA_HOSTILE_INPUT", -1); selected >= 0 {
		first, last = selected, selected+1
	}
	root := t.TempDir()
	counts := map[string]*readerCount{}
	failures := 0
	for next := first; next < last && t.Context().Err() == nil; {
		end, err := runReader(t.Context(), root, next, min(next+readerBatch, last), seed, counts)
		if err != nil {
			failures++
			name, _ := readerKind(end - 1)
			t.Errorf("input %d (%s): %v\nreproduce: KOLLA_HOSTILE_SEED=%d KOLLA_HOSTILE_INPUT=%d go test "+
				"./internal/hostile -run TestHostileReaders -v",
				end-1, name, err, seed, end-1)
			if failures >= 20 {
				t.Fatal("too many failures")
			}
		}
		next = end
	}
	total := readerCount{}
	for _, kind := range sortedKeys(counts) {
		c := counts[kind]
		t.Logf("%s: %d inputs, %d accepted, at most %v", kind, c.inputs, c.accepted, c.longest.Round(time.Millisecond))
		total.inputs, total.memory = total.inputs+c.inputs, max(total.memory, c.memory)
	}
	t.Logf("seed %d: %d inputs, %d failures, at most %d MiB of memory", seed, total.inputs, failures, total.memory>>10)
}

// TestReadersAcceptWhatIsWhole checks that the unchanged inputs are accepted: otherwise
// hostile ones would be rejected for another reason.
func TestReadersAcceptWhatIsWhole(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	rs, err := newReaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"plain": rs.made.plain, "signed": rs.made.signed,
		"foreign": rs.made.foreign, "delta": rs.made.delta, "byte delta": rs.made.byteDelta,
		"docker archive": rs.made.docker} {
		r := &reading{dir: t.TempDir(), readers: rs}
		file, err := r.input("in.tar", content)
		if err != nil {
			t.Fatal(err)
		}
		st, err := r.openStore()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := load.Bundle(t.Context(), file, st, load.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := rs.healthyIsWhole(t.Context(), r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		st.Close()
	}
}

// readerCount sums up the inputs of a kind.
type readerCount struct {
	inputs, accepted int
	memory           int64 // the most that the process has taken, in KiB
	longest          time.Duration
}

// runReader reads inputs in a separate process, up to the first one that violates a
// condition, and returns the number of the next one.
func runReader(ctx context.Context, root string, first, last, seed int, counts map[string]*readerCount) (
	next int, err error) {
	dir := filepath.Join(root, strconv.Itoa(first))
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o755); err != nil {
		return last, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return last, err
	}
	report, w, err := os.Pipe()
	if err != nil {
		return last, err
	}
	defer report.Close()
	marker := "KOLLA_HOSTILE_READER_DIR=" + dir
	cmd := exec.CommandContext(ctx, self, strconv.Itoa(first), strconv.Itoa(last), strconv.Itoa(seed), dir)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + filepath.Join(dir, "tmp"),
		readerVariable + "=1", kindVariable + "=" + os.Getenv(kindVariable), marker, "GOTRACEBACK=all"}
	cmd.Dir = dir
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return last, err
	}
	w.Close()
	quit := time.AfterFunc(readerTime, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT) }) // shows where it hangs
	defer quit.Stop()
	next = first
	var failure error
	lines := bufio.NewScanner(report)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		quit.Reset(readerTime)
		var elapsed time.Duration
		var memory int64
		var accepted bool
		line, problem, _ := strings.Cut(lines.Text(), "\t")
		if _, err := fmt.Sscan(line, (*int64)(&elapsed), &memory, &accepted); err != nil {
			return next + 1, fmt.Errorf("the report of the process: %w", err)
		}
		kind, _ := readerKind(next)
		c := counts[kind]
		if c == nil {
			c = &readerCount{}
			counts[kind] = c
		}
		c.inputs, c.memory, c.longest = c.inputs+1, max(c.memory, memory), max(c.longest, elapsed)
		if accepted {
			c.accepted++
		}
		next++
		if problem != "" {
			failure = unquoted(problem)
		}
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return last, nil
	case failure != nil:
		err = failure
	case err != nil:
		err = fmt.Errorf("the process ended: %w\n%s", err, beginning(output.Bytes()))
		next++
	case next != last:
		err = fmt.Errorf("the process ended early\n%s", beginning(output.Bytes()))
		next++
	}
	if leftover := killLeftover(marker); err == nil && len(leftover) > 0 {
		err = fmt.Errorf("processes are left: %v", leftover)
	}
	return next, err
}

func unquoted(s string) error {
	text, err := strconv.Unquote(s)
	if err != nil {
		text = s
	}
	return errors.New(text)
}

func beginning(out []byte) string { return string(out[:min(len(out), 6000)]) }

// readInputsOf is the process that reads inputs. It writes a line for each with its
// resources and violations.
func readInputsOf(args []string) int {
	limitMemory()
	report := bufio.NewWriter(os.NewFile(3, "report"))
	first, _ := strconv.Atoi(args[0])
	last, _ := strconv.Atoi(args[1])
	seed, _ := strconv.ParseUint(args[2], 10, 64)
	rs, err := newReaders(args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	for i := first; i < last; i++ {
		started := time.Now()
		accepted, err := rs.read(i, seed)
		problem := ""
		if err != nil {
			problem = "\t" + strconv.Quote(err.Error())
		}
		memory := peakMemory()
		fmt.Fprintf(report, "%d %d %v%s\n", time.Since(started), memory, accepted, problem)
		if report.Flush() != nil || err != nil {
			return 1
		}
	}
	return 0
}

// peakMemory is the most that this process has taken, in KiB.
func peakMemory() int64 {
	peak, err := procmem.Peak(os.Getpid())
	if err != nil {
		panic(err) // the limit could not be checked
	}
	return peak >> 10
}

// readers is the shared state of all inputs of a process.
type readers struct {
	dir     string
	healthy string            // a store
	names   map[string]string // of it: digests by name
	blobs   map[string][]byte // of it, by path
	made    material
}

func newReaders(dir string) (*readers, error) {
	rs := &readers{dir: dir, healthy: filepath.Join(dir, "healthy"), blobs: map[string][]byte{}}
	if err := rs.make(); err != nil {
		return nil, fmt.Errorf("making healthy images: %w", err)
	}
	var err error
	if rs.names, err = namesOf(rs.healthy); err != nil {
		return nil, err
	}
	found, err := files(filepath.Join(rs.healthy, "blobs"))
	for name := range found {
		path := filepath.Join("blobs", name)
		if raw, err := os.ReadFile(filepath.Join(rs.healthy, path)); err == nil {
			rs.blobs[path] = raw
		}
	}
	return rs, err
}

func namesOf(dir string) (map[string]string, error) {
	s, err := store.OpenReadOnly(dir)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	entries, err := s.Entries()
	names := map[string]string{}
	for _, e := range entries {
		names[e.Name] = string(e.Digest) + " " + e.Key + " " + string(e.Kind)
	}
	return names, err
}

// read reads one input and checks the conditions that hold for every input.
func (rs *readers) read(i int, seed uint64) (accepted bool, err error) {
	rnd := rand.New(rand.NewPCG(seed, uint64(i)))
	r := &reading{dir: filepath.Join(rs.dir, "case"), readers: rs}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return false, err
	}
	defer os.RemoveAll(r.dir)
	ctx, cancel := context.WithTimeout(context.Background(), readerTime)
	defer cancel()
	var refusal error
	func() {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("it panicked: %v\n%s", p, debug.Stack())
			}
		}()
		_, read := readerKind(i)
		refusal = read(ctx, rnd, r)
	}()
	if r.store != nil {
		defer r.store.Close()
	}
	var problem broken
	switch {
	case err != nil:
		return false, err
	case errors.As(refusal, &problem):
		return false, problem
	case refusal != nil && strings.ContainsAny(errorText(refusal), "\x1b\u202e"):
		return false, fmt.Errorf("its error controls the terminal: %q", refusal)
	}
	if memory := peakMemory(); memory > maxMemory {
		return false, fmt.Errorf("the process took %d MiB", memory>>10)
	}
	return refusal == nil, errors.Join(rs.healthyIsWhole(ctx, r), rs.nothingOutside())
}

// healthyIsWhole collects garbage and checks that the healthy images are unchanged.
func (rs *readers) healthyIsWhole(ctx context.Context, r *reading) error {
	if r.store == nil {
		return nil
	}
	if _, err := r.store.GC(ctx); err != nil {
		return fmt.Errorf("gc afterwards: %w", err)
	}
	for path, want := range rs.blobs {
		if got, err := os.ReadFile(filepath.Join(r.dir, "store", path)); err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("the healthy %s was lost or changed (%v)", path, err)
		}
	}
	names, err := namesOf(filepath.Join(r.dir, "store"))
	if err != nil {
		return fmt.Errorf("the store afterwards: %w", err)
	}
	for name, what := range rs.names {
		if names[name] != what {
			return fmt.Errorf("the healthy %s was %s, and is %s", name, what, names[name])
		}
	}
	for name, what := range names {
		if strings.Contains(what, foreignKey) {
			return fmt.Errorf("the foreign key of %s was accepted", name)
		}
	}
	return nil
}

// nothingOutside checks that a reader left no files outside of its directory.
func (rs *readers) nothingOutside() error {
	for dir, want := range map[string]int{rs.dir: 3, filepath.Join(rs.dir, "tmp"): 0} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		if len(entries) != want {
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			return fmt.Errorf("%s contains %q", dir, names)
		}
	}
	for _, escaped := range []string{"/" + escapee, "/tmp/" + escapee, filepath.Join(filepath.Dir(rs.dir), escapee)} {
		if _, err := os.Lstat(escaped); err == nil {
			_ = os.RemoveAll(escaped)
			return fmt.Errorf("%s was written", escaped)
		}
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err == nil && len(open) > openFilesTop {
		err = fmt.Errorf("%d files are open", len(open))
	}
	return err
}
