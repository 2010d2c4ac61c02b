package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

const (
	maxMemory = 300 << 10 // KiB, resident
	maxTime   = 90 * time.Second
	slice     = 20 // cases of an ordinary test run
)

// escapee is the name of a file that cases try to write where they must not. Runs do not
// share it.
var escapee = fmt.Sprintf("hostile-escaped-%08d", os.Getpid())

// hostileCase is one input with the command that reads it.
type hostileCase struct {
	kind string
	args []string
	// prepare changes the case's directory; args may name files in it by relative paths.
	prepare func(dir string) error
	stdin   []byte
	env     []string // variables besides those of all cases, which prepare may change
	title   string   // what args do not say
	// accepts reports that the exit status may be 0.
	accepts bool
}

// environment is the shared state of all cases.
type environment struct {
	program string
	root    string // of all cases
	healthy string // a data directory with images that must not be lost
	names   string // the listing of its store
	server  string // HOST:PORT of a misbehaving server
	slow    slowServers

	mu     sync.Mutex
	tally  map[string]*tally // by kind
	agents []net.Listener    // of the cases
}

// tally sums up the cases of a kind.
type tally struct {
	exits   map[int]int
	memory  int64 // the most, in KiB
	longest time.Duration
}

// count adds a case to the tally of its kind.
func (env *environment) count(kind string, code int, memory int64, elapsed time.Duration) {
	env.mu.Lock()
	defer env.mu.Unlock()
	if env.tally == nil {
		env.tally = map[string]*tally{}
	}
	s := env.tally[kind]
	if s == nil {
		s = &tally{exits: map[int]int{}}
		env.tally[kind] = s
	}
	s.exits[code]++
	s.memory, s.longest = max(s.memory, memory), max(s.longest, elapsed)
}

// launchVariable makes this test's program run the command of its arguments. The reported
// peak memory of a child is at least that of its parent at the fork, so the parent must be
// small.
const launchVariable = "KOLLA_HOSTILE_LAUNCH"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(readerVariable) != "":
		os.Exit(readInputsOf(os.Args[1:]))
	case os.Getenv(launchVariable) == "":
		os.Exit(m.Run())
	}
	os.Unsetenv(launchVariable)
	limitMemory()
	report := os.NewFile(3, "memory")
	signal.Notify(make(chan os.Signal, 1), syscall.SIGQUIT) // it is the child's
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(100)
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		fmt.Fprintln(report, usage.Maxrss)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// limitMemory makes this process, and those that it starts, fail before they use all memory of the
// machine.
func limitMemory() {
	limit := unix.Rlimit{Cur: 2 << 30, Max: 2 << 30}
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &limit); err != nil {
		panic(err)
	}
}

// generators make cases, by kind. Each one uses only the generator that it is given.
var generators = []func(*rand.Rand, *environment) hostileCase{
	bundleCase, tarCase, bundleCase, indexCase, templateCase, contextCase, registryCase, gitCase,
	commandLineCase, commandLineCase,
	slowGitCase, environmentCase, largeFileCase,
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestHostileInputs runs the generated cases, two at a time.
func TestHostileInputs(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the program many times")
	}
	seed := uint64(number(t, "KOLLA_HOSTILE_SEED", 1))
	first, last := 0, number(t, "KOLLA_HOSTILE", slice)
	if selected := number(t, "KOLLA_HOSTILE_CASE", -1); selected >= 0 {
		first, last = selected, selected+1
	}
	env := newEnvironment(t)
	var wg sync.WaitGroup
	cases := make(chan int)
	for range 2 {
		wg.Go(func() {
			for i := range cases {
				if err := env.run(i, seed); err != nil {
					t.Errorf("%v\nreproduce: KOLLA_HOSTILE_SEED=%d KOLLA_HOSTILE_CASE=%d go test ./internal/hostile -run TestHostileInputs", err, seed, i)
				}
			}
		})
	}
	for i := first; i < last && t.Context().Err() == nil; i++ {
		cases <- i
	}
	close(cases)
	wg.Wait()
	for kind, s := range env.tally {
		t.Logf("%s: exit statuses %v, at most %d MiB and %v", kind, s.exits, s.memory>>10, s.longest.Round(time.Millisecond))
	}
	if leftover := killLeftover("KOLLA_HOSTILE_RUN=" + env.root); len(leftover) > 0 {
		t.Errorf("processes are left: %v", leftover)
	}
	for _, escaped := range []string{"/" + escapee, "/tmp/" + escapee, filepath.Join(filepath.Dir(env.root), escapee)} {
		if _, err := os.Lstat(escaped); err == nil {
			t.Errorf("%s was written", escaped)
			_ = os.RemoveAll(escaped)
		}
	}
}

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	root := t.TempDir()
	env := &environment{program: filepath.Join(root, "kolla-build"), root: root, healthy: filepath.Join(root, "healthy")}
	build := exec.Command("go", "build", "-o", env.program, "./cmd/kolla-build")
	build.Dir = testenv.RepoRoot(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	env.server, env.slow = startMisbehaving(t), startSlow(t)
	t.Cleanup(func() {
		for _, a := range env.agents {
			a.Close()
		}
	})
	good := filepath.Join(root, "good.tar")
	b := newBundle()
	for _, name := range []string{"healthy-a", "healthy-b"} {
		b.addImage("site.example/kolla/"+name+":1", map[string]string{"etc/" + name: name})
	}
	if err := os.WriteFile(good, b.tar(), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(env.program, "load", good, "--data-dir", env.healthy)
	cmd.Env = env.environ(root)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("loading healthy images: %v\n%s", err, out)
	}
	var err error
	if env.names, err = env.list(env.healthy, root); err != nil || !strings.Contains(env.names, "healthy-b") {
		t.Fatalf("the store lists %q, %v", env.names, err)
	}
	return env
}

func (env *environment) environ(dir string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir,
			"home"), "TMPDIR=" + filepath.Join(dir, "tmp"), "NO_COLOR=1",
		"KOLLA_BUILD_DATA_DIR=" + filepath.Join(dir, "data"), "KOLLA_BUILD_ENGINE=none", "KOLLA_HOSTILE_RUN=" + env.root,
		"GIT_TERMINAL_PROMPT=0", "GOTRACEBACK=single",
	}
}

// run runs one case and returns the violated conditions.
func (env *environment) run(i int, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, uint64(i)))
	c := generators[i%len(generators)](rnd, env)
	dir := filepath.Join(env.root, fmt.Sprintf("case-%d", i))
	fail := func(format string, args ...any) error {
		return fmt.Errorf("case %d (%s, %s %s kolla-build %s): %s", i, c.kind, c.title, quote(c.env), quote(c.args),
			fmt.Sprintf(format, args...))
	}
	for _, sub := range []string{"home", "tmp", "work"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return fail("%v", err)
		}
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(filepath.Join(dir, "data"), os.DirFS(env.healthy)); err != nil {
		return fail("%v", err)
	}
	if c.prepare != nil {
		if err := c.prepare(filepath.Join(dir, "work")); err != nil {
			return fail("preparing it: %v", err)
		}
	}
	before, err := files(filepath.Join(dir, "work"))
	if err != nil {
		return fail("%v", err)
	}

	started := time.Now()
	code, rss, out, err := env.execute(dir, c)
	env.count(c.kind, code, rss, time.Since(started))
	if os.Getenv("KOLLA_HOSTILE_CASE") != "" {
		fmt.Printf("case %d (%s, kolla-build %s): exit status %d, %d MiB\n%s\n", i, c.kind, quote(c.args),
			code, rss>>10, tail(out))
	}
	switch {
	case err != nil:
		return fail("%v\n%s", err, tail(out))
	case code == 0 && !c.accepts:
		return fail("it was accepted\n%s", tail(out))
	case code < 0 || code > 2 && code != 75:
		return fail("exit status %d\n%s", code, tail(out))
	case rss > maxMemory:
		return fail("it took %d MiB of memory\n%s", rss>>10, tail(out))
	case bytes.Contains(out, []byte("panic:")) || bytes.Contains(out, []byte("goroutine ")) ||
		bytes.Contains(out, []byte("fatal error:")):
		return fail("it panicked\n%s", tail(out))
	}

	if bytes.ContainsAny(out, "\x1b") {
		return fail("it printed characters that control the terminal\n%q", tail(out))
	}
	after, err := files(filepath.Join(dir, "work"))
	if err != nil {
		return fail("%v", err)
	}
	for name := range after {
		if !before[name] && !strings.HasPrefix(name, "out") {
			return fail("it wrote %s", name)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fail("%v", err)
	}
	for _, e := range entries {
		switch e.Name() {
		case "home", "tmp", "work", "data":
		default:
			return fail("it wrote %s", e.Name())
		}
	}
	if leftover, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(leftover) > 0 {
		return fail("it left %s in TMPDIR", leftover[0].Name())
	}

	// Garbage collection must not remove healthy images.
	if out, err := env.command(dir, "gc", "--data-dir", filepath.Join(dir, "data")); err != nil {
		return fail("gc afterwards: %v\n%s", err, tail(out))
	}
	names, err := env.list(filepath.Join(dir, "data"), dir)
	if err != nil {
		return fail("%v", err)
	}
	for line := range strings.Lines(env.names) {
		if !strings.Contains(names, line) {
			return fail("a healthy name was lost or moved:\n%s\nnow\n%s", line, names)
		}
	}
	if strings.Contains(names, foreignKey) {
		return fail("a foreign key was accepted:\n%s", names)
	}
	for name := range blobs(env.healthy) {
		want, err := os.ReadFile(filepath.Join(env.healthy, name))
		if err != nil {
			return fail("%v", err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "data", name)); err != nil || !bytes.Equal(got, want) {
			return fail("the healthy blob %s was lost or changed (%v)", name, err)
		}
	}
	return nil
}

// execute runs the program on a case.
func (env *environment) execute(dir string, c hostileCase) (code int, rss int64, out []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	marker := "KOLLA_HOSTILE_CASE_DIR=" + dir
	self, err := os.Executable()
	if err != nil {
		return 0, 0, nil, err
	}
	memory, report, err := os.Pipe()
	if err != nil {
		return 0, 0, nil, err
	}
	defer memory.Close()
	cmd := exec.CommandContext(ctx, self, append([]string{env.program}, c.args...)...)
	cmd.Dir = filepath.Join(dir, "work")
	cmd.Env = append(append(env.environ(dir), c.env...), marker, launchVariable+"=1")
	cmd.Stdin = bytes.NewReader(c.stdin)
	cmd.ExtraFiles = []*os.File{report}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = 5 * time.Second
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT) } // shows where it hangs
	err = cmd.Run()
	report.Close()
	leftover := killLeftover(marker)
	if ctx.Err() != nil {
		return 0, 0, output.Bytes(), fmt.Errorf("it did not end within %v", maxTime)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, 0, output.Bytes(), err
	}
	if _, err := fmt.Fscan(memory, &rss); err != nil {
		return 0, 0, output.Bytes(), fmt.Errorf("measuring memory: %w", err)
	}
	if len(leftover) > 0 {
		return 0, 0, output.Bytes(), fmt.Errorf("it left processes: %v", leftover)
	}
	return cmd.ProcessState.ExitCode(), rss, output.Bytes(), nil
}

func (env *environment) command(dir string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, env.program, args...)
	cmd.Env = env.environ(dir)
	cmd.Dir = dir
	return cmd.CombinedOutput()
}

// list returns the output of `images` about a store, a line for each name with its
// digest and key.
func (env *environment) list(data, dir string) (string, error) {
	out, err := env.command(dir, "images", "--json", "--data-dir", data)
	if err != nil {
		return "", fmt.Errorf("listing images: %w\n%s", err, tail(out))
	}
	return imageLines(out)
}

// files lists the files below a directory.
func files(dir string) (map[string]bool, error) {
	found := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		found[name] = true
		return err
	})
	return found, err
}

// blobs lists the blobs of a data directory's store.
func blobs(data string) map[string]bool {
	found := map[string]bool{}
	_ = filepath.WalkDir(filepath.Join(data, "store", "blobs"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			name, _ := filepath.Rel(data, path)
			found[name] = true
		}
		return nil
	})
	return found
}

// killLeftover kills the processes whose environment has a variable, so that they do not slow
// down the cases that follow, and lists them.
func killLeftover(variable string) []string {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	var found []string
	for _, path := range environs {
		raw, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(raw, []byte(variable+"\x00")) {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || len(cmdline) == 0 { // an empty one has ended
			continue
		}
		found = append(found, fmt.Sprintf("%d %s", pid, bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return found
}

func quote(args []string) string {
	var out []string
	for _, a := range args {
		out = append(out, strconv.Quote(a[:min(len(a), 80)]))
	}
	return strings.Join(out, " ")
}

func tail(out []byte) string { return string(out[max(0, len(out)-3000):]) }
