package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/faultproxy"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

// kind is a kind of fault.
type kind struct {
	name string
	per  int // approximate number of faults in a trial
	// disturb injects up to n faults into runs of tr, calls nothingLost after each
	// one, and returns their number.
	disturb func(tr *trial, rng *rand.Rand, n int) int
	once    bool // one trial in an ordinary test run
}

var kinds = []kind{
	{"tool killed", 3, killTool, false},
	{"builder killed", 3, killBuilder, false},
	{"Ctrl-C", 3, interrupt, false},
	{"registry", 6, registryFaults, false},
	{"mirror", 6, mirrorFaults, false},
	{"disk full", 4, fullDisk, false},
	{"clock wrong", 4, wrongClock, false},
	{"two at once", 3, twoAtOnce, false},
	{"partial", 4, partialFaults, true},
	{"retention", 4, retentionFaults, true},
	{"clock jumps", 2, clockJumps, true},
}

// together is how many trials run at a time. They spend half of their time waiting.
const together = 2

// amount returns how often each fault is injected, and the seed, as the environment has them.
func amount(t *testing.T, repetitionsByDefault int) (repetitions int, seed uint64) {
	t.Helper()
	repetitions, err := strconv.Atoi(env("KOLLA_FAULTS", fmt.Sprint(repetitionsByDefault)))
	if err != nil {
		t.Fatal(err)
	}
	seed, err = strconv.ParseUint(env("KOLLA_FAULTS_SEED", fmt.Sprint(time.Now().UnixNano()%1e9)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("KOLLA_FAULTS_SEED=%d", seed)
	return repetitions, seed
}

func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("starts builders")
	}
	testenv.Root(t)
	testenv.Program(t, "mount", "mount")
	repetitions, seed := amount(t, 12)
	w := newWorld(t)
	if os.Getenv("KOLLA_FAULTS_CLOCK") != "" {
		w.clockTool = buildClockTool(t)
	}
	type count struct{ faults, trials, runs int }
	var mu sync.Mutex
	counts := map[string]*count{}
	start := time.Now()
	slots := make(chan struct{}, together)
	t.Run("kinds", func(t *testing.T) {
		for k, kind := range kinds {
			if selected := os.Getenv("KOLLA_FAULTS_ONLY"); selected != "" &&
				!slices.Contains(strings.Split(selected, ","), kind.name) {
				continue
			}
			if kind.name == "clock jumps" && w.clockTool == "" {
				continue
			}
			counts[kind.name] = &count{}
			repetitions := repetitions
			if kind.once && os.Getenv("KOLLA_FAULTS") == "" {
				repetitions = min(repetitions, kind.per)
			}
			for i, remaining := 0, repetitions; remaining > 0; i, remaining = i+1, remaining-kind.per {
				t.Run(fmt.Sprintf("%s/%d", kind.name, i), func(t *testing.T) {
					t.Parallel()
					slots <- struct{}{}
					defer func() { <-slots }()
					rng := rand.New(rand.NewPCG(seed, uint64(k)<<32|uint64(i)))
					tr := w.trial(t, strings.ReplaceAll(fmt.Sprintf("%s-%d", kind.name, i), " ", "-"), "snapshot")
					n := kind.disturb(tr, rng, min(remaining, kind.per))
					tr.recovers()
					mu.Lock()
					c := counts[kind.name]
					c.faults, c.trials, c.runs = c.faults+n, c.trials+1, c.runs+tr.runs
					mu.Unlock()
					if !t.Failed() {
						tr.stopRegistry()
						os.RemoveAll(tr.dir)
					}
				})
			}
		}
	})
	total := count{}
	table := "what was done          faults  trials  runs\n"
	for _, kind := range kinds {
		c := counts[kind.name]
		if c == nil {
			continue
		}
		table += fmt.Sprintf("%-22s %6d %7d %5d\n", kind.name, c.faults, c.trials, c.runs)
		total.faults, total.trials, total.runs = total.faults+c.faults, total.trials+c.trials, total.runs+c.runs
	}
	table += fmt.Sprintf("%-22s %6d %7d %5d", "all", total.faults, total.trials, total.runs)
	outcome := "nothing lost"
	if t.Failed() {
		outcome = "SOMETHING LOST, see above"
	}
	t.Logf("seed %d, %v: %s\n%s", seed, time.Since(start).Round(time.Second), outcome, table)
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// moment returns a random time, up to a little more than that of an undisturbed run.
func (tr *trial) moment(rng *rand.Rand) time.Duration {
	return time.Duration(rng.Float64() * 1.1 * float64(tr.w.took))
}

// killTool kills the program with SIGKILL, several times in the same data directory.
func killTool(tr *trial, rng *rand.Rand, n int) int {
	for range n {
		at := tr.moment(rng)
		tr.run(tr.command(new_), func(c *exec.Cmd) {
			time.Sleep(at)
			_ = c.Process.Kill()
		})
		tr.nothingLost()
	}
	return n
}

// killBuilder kills the buildkitd of a run, which then starts another one.
func killBuilder(tr *trial, rng *rand.Rand, n int) int {
	killed := 0
	for round := 0; killed < n && round < 4; round++ {
		killed += tr.killedUnder(rng, n-killed, tr.repeatFlags(round)...)
	}
	return killed
}

// repeatFlags returns options with which a run has work to do again.
func (tr *trial) repeatFlags(round int) []string {
	if round == 0 {
		return nil
	}
	os.RemoveAll(filepath.Join(tr.dir, "data", "sources"))
	return []string{"--nocache"}
}

// killedUnder kills up to n builders during one run.
func (tr *trial) killedUnder(rng *rand.Rand, n int, extra ...string) int {
	killed := 0
	out, err := tr.run(tr.command(new_, append(extra, "--retries", "6")...), func(c *exec.Cmd) {
		for killed < n {
			for wait := tr.moment(rng) / 2; wait > 0; wait -= 10 * time.Millisecond {
				time.Sleep(10 * time.Millisecond)
				if ended(c.Process.Pid) {
					return
				}
			}
			for pid := range daemons(tr.dir) {
				if syscall.Kill(pid, syscall.SIGKILL) == nil {
					killed++
				}
			}
		}
	})
	if err != nil {
		tr.Errorf("%s: the run does not survive %d killed builders: %v\n%s", tr.name, killed, err, out)
	}
	tr.nothingLost()
	return killed
}

// ended reports whether a child has ended, without waiting for it.
func ended(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	i := strings.LastIndexByte(string(data), ')')
	return i > 0 && strings.HasPrefix(string(data[i+1:]), " Z")
}

// daemons returns the buildkitd processes of a trial.
func daemons(dir string) map[int]bool {
	pids := map[int]bool{}
	for _, p := range processes(dir) {
		pid, cmd, _ := strings.Cut(p, " ")
		if n, err := strconv.Atoi(pid); err == nil && strings.Contains(cmd, "--root "+dir+"/data/buildkit ") {
			pids[n] = true
		}
	}
	return pids
}

// interrupt sends the signal of Ctrl-C or of a service manager, sometimes twice, which
// ends the program at once.
func interrupt(tr *trial, rng *rand.Rand, n int) int {
	for range n {
		at, sig, duplicate, pause := tr.moment(rng), syscall.SIGINT, rng.IntN(3) == 0,
			time.Duration(rng.IntN(300))*time.Millisecond
		if rng.IntN(2) == 0 {
			sig = syscall.SIGTERM
		}
		tr.run(tr.command(new_), func(c *exec.Cmd) {
			time.Sleep(at)
			_ = c.Process.Signal(sig)
			if duplicate {
				time.Sleep(pause)
				_ = c.Process.Signal(sig)
			}
		})
		tr.nothingLost()
	}
	return n
}

// registryFaults injects faults between the program and its registry.
func registryFaults(tr *trial, rng *rand.Rand, n int) int {
	tr.registry.Set(faultproxy.Options{Target: tr.server.Addr().String(), Seed: rng.Uint64(),
		Rate: 0.1 + 0.2*rng.Float64(),
		Max:  n, Stall: 3 * time.Second})
	return tr.disturbed(tr.registry, n)
}

// partialFaults injects faults between the program and its registry while images may be
// published without others. An image is published only with those that it depends on.
func partialFaults(tr *trial, rng *rand.Rand, n int) int {
	tr.registry.Set(faultproxy.Options{Target: tr.server.Addr().String(), Seed: rng.Uint64(),
		Rate: 0.3 + 0.4*rng.Float64(),
		Max:  n, Stall: 3 * time.Second})
	for round := 0; ; round++ {
		out, err := tr.run(tr.command(new_, append(tr.repeatFlags(round), "--allow-partial", "--timeout",
			"2", "--retries", "1")...))
		sets := tr.sets()
		isNew := map[string]bool{}
		for _, im := range images { // parents first
			isNew[im.name] = sets[im.name] == new_
			if isNew[im.name] && im.parent != "" && !isNew[im.parent] {
				tr.Errorf("%s: %s is published without %s:\n%s", tr.name, im.name, im.parent, out)
			}
			if err == nil && !isNew[im.name] {
				tr.Errorf("%s: the run succeeds without publishing %s:\n%s", tr.name, im.name, out)
			}
		}
		tr.storeIsWhole()
		done := 0
		for _, c := range tr.registry.Injected() {
			done += c
		}
		if done >= n || round > 6 {
			tr.registry.Quiet()
			return done
		}
	}
}

// retentionFaults injects faults between the program and its registry while older sets
// are removed. The dated tags of the newest set stay, all of them.
func retentionFaults(tr *trial, rng *rand.Rand, n int) int {
	day := func(d int) []string { return []string{"--also-tag", fmt.Sprintf("2026-01-%02d", d), "--retain", "1"} }
	tr.mustRun(old, day(1)...)
	tr.registry.Set(faultproxy.Options{Target: tr.server.Addr().String(), Seed: rng.Uint64(),
		Rate: 0.1 + 0.2*rng.Float64(),
		Max:  n, Stall: 3 * time.Second})
	for round := 0; ; round++ {
		out, err := tr.run(tr.command(new_, append(append(tr.repeatFlags(round), day(2)...), "--timeout",
			"2", "--retries", "6")...))
		set := tr.nothingLost()
		if set == old {
			for _, im := range images {
				if d := tr.tagOf(im.name, "2026-01-01"); d != tr.w.was[im.name] {
					tr.Errorf("%s: a run that published nothing (%v) left %q as the earlier tag of %s:\n%s",
						tr.name, err, d, im.name, out)
				}
			}
		}
		done := 0
		for _, c := range tr.registry.Injected() {
			done += c
		}
		if done >= n || round > 6 {
			tr.registry.Quiet()
			out := tr.mustRun(new_, day(2)...)
			for _, im := range images {
				if d := tr.tagOf(im.name, "2026-01-02"); d != tr.tag(im.name) {
					tr.Errorf("%s: the dated tag of %s is %q:\n%s", tr.name, im.name, d, out)
				}
				if d := tr.tagOf(im.name, "2026-01-01"); d != "" {
					tr.Errorf("%s: the earlier tag of %s stays:\n%s", tr.name, im.name, out)
				}
			}
			return done
		}
	}
}

// clockJumps has the clock of the program jump by years while two runs work in the same
// data directory. It needs a program whose clock can jump.
func clockJumps(tr *trial, rng *rand.Rand, n int) int {
	for range n {
		off := time.Duration(rng.Int64N(int64(20*365*24*time.Hour))) + time.Hour
		if rng.IntN(2) == 0 {
			off = -off
		}
		at := tr.moment(rng)
		tr.env = []string{fmt.Sprintf("KOLLA_TEST_CLOCK=%d", int64(off.Seconds())),
			fmt.Sprintf("KOLLA_TEST_CLOCK_AFTER=%d", at.Milliseconds())}
		second := make(chan struct{})
		cmd := tr.command(new_, "--nocache")
		go func() {
			defer close(second)
			if out, err := cmd.CombinedOutput(); err != nil {
				tr.Errorf("%s: with a clock that jumps by %v the second run ends with %v:\n%s", tr.name, off, err, out)
			}
		}()
		out, err := tr.run(tr.command(new_))
		<-second
		tr.runs++
		if err != nil {
			tr.Errorf("%s: with a clock that jumps by %v after %v a run ends with %v:\n%s", tr.name, off, at, err, out)
		}
		if set := tr.nothingLost(); set != new_ {
			tr.Errorf("%s: with a clock that jumps by %v the registry has the %s set", tr.name, off, set)
		}
	}
	tr.env = nil
	return n
}

// mirrorFaults injects faults between the program with its RUN steps and the mirror.
func mirrorFaults(tr *trial, rng *rand.Rand, n int) int {
	tr.mirror.Set(faultproxy.Options{Target: tr.mirrorAddr(), Seed: rng.Uint64(), Rate: 0.4 + 0.2*rng.Float64(),
		Max: n, Stall: 3 * time.Second})
	return tr.disturbed(tr.mirror, n)
}

// disturbed runs until a proxy has injected its faults.
func (tr *trial) disturbed(p *faultproxy.Proxy, n int) int {
	for round := 0; ; round++ {
		out, err := tr.run(tr.command(new_, append(tr.repeatFlags(round), "--timeout", "2", "--retries", "6")...))
		set := tr.nothingLost()
		if err != nil {
			tr.Logf("%s: a disturbed run ends with %v, and the registry has the %s set:\n%s", tr.name,
				err, set, lastLines(out, 8))
		}
		done := 0
		for _, c := range p.Injected() {
			done += c
		}
		if done >= n || round > 6 {
			p.Quiet()
			return done
		}
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// fullDisk puts the data directory on a disk with too little space, and adds a little
// after each failure.
func fullDisk(tr *trial, rng *rand.Rand, n int) int {
	data := filepath.Join(tr.dir, "data")
	aside := filepath.Join(tr.dir, "aside")
	if err := os.Rename(data, aside); err != nil {
		tr.Fatal(err)
	}
	if err := os.Mkdir(data, 0o755); err != nil {
		tr.Fatal(err)
	}
	used, err := exec.Command("du", "-sk", aside).Output()
	if err != nil {
		tr.Fatal(err)
	}
	kb, _, _ := strings.Cut(string(used), "\t")
	size, err := strconv.Atoi(kb)
	if err != nil {
		tr.Fatal(err)
	}
	size += 1000 // the directories themselves
	mount := func(flags string, kb int) {
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("%ssize=%dk", flags, kb), "tmpfs",
			data).CombinedOutput(); err != nil {
			testenv.Missing(tr, fmt.Sprintf("a tmpfs cannot be mounted here: %v: %s", err, out))
		}
	}
	mount("", size)
	tr.Cleanup(func() {
		if out, err := exec.Command("umount", data).CombinedOutput(); err != nil {
			tr.Errorf("unmounting %s: %v: %s", data, err, out)
		}
	})
	copyTree(tr.T, aside, data)
	os.RemoveAll(aside)
	done := 0
	for range n {
		out, err := tr.run(tr.command(new_, "--min-free", "1"))
		tr.nothingLost()
		if err == nil {
			break
		}
		if !strings.Contains(out, "space") && !strings.Contains(out, "full") {
			tr.Errorf("%s: a run on a full disk does not say what it lacks:\n%s", tr.name, out)
		}
		done++
		size += 200 + rng.IntN(1500)
		mount("remount,", size)
	}
	mount("remount,", 1<<20)
	return done
}

// wrongClock runs a program whose clock is wrong by years in both directions. Without
// such a program, files have dates in the future and the past, as after such runs.
func wrongClock(tr *trial, rng *rand.Rand, n int) int {
	for i := range n {
		off := time.Duration(rng.Int64N(int64(20*365*24*time.Hour))) + time.Hour
		if rng.IntN(2) == 0 {
			off = -off
		}
		tr.env = []string{fmt.Sprintf("KOLLA_TEST_CLOCK=%d", int64(off.Seconds()))}
		if tr.w.clockTool == "" {
			tr.redate(time.Now().Add(off))
		}
		gen := new_
		if i%2 == 1 {
			gen = old // alternating, so that each run has work to do
		}
		out, err := tr.run(tr.command(gen))
		if err != nil {
			tr.Errorf("%s: with a clock %v off a run ends with %v:\n%s", tr.name, off, err, out)
		}
		if set := tr.nothingLost(); set != gen {
			tr.Errorf("%s: with a clock %v off the registry has the %s set", tr.name, off, set)
		}
	}
	tr.env = nil
	return n
}

// redate changes the times of all files in the data directory.
func (tr *trial) redate(when time.Time) {
	tr.Helper()
	err := filepath.Walk(filepath.Join(tr.dir, "data"), func(path string, info os.FileInfo, err error) error {
		if err != nil || info.Mode()&os.ModeSymlink != 0 || strings.Contains(path, "/snapshots/") {
			return err
		}
		return os.Chtimes(path, when, when)
	})
	if err != nil {
		tr.Fatal(err)
	}
}

// twoAtOnce starts two runs with the same data directory. One of them may be killed.
func twoAtOnce(tr *trial, rng *rand.Rand, n int) int {
	for range n {
		pause, kill, at := time.Duration(rng.Float64()*float64(tr.w.took)), rng.IntN(2) == 0, tr.moment(rng)
		second := make(chan struct{})
		go func() {
			defer close(second)
			time.Sleep(pause)
			cmd := tr.command(new_)
			out, err := cmd.CombinedOutput()
			if err != nil {
				tr.Errorf("%s: the second of two runs ends with %v:\n%s", tr.name, err, out)
			}
		}()
		out, err := tr.run(tr.command(new_), func(c *exec.Cmd) {
			if kill {
				time.Sleep(at)
				_ = c.Process.Kill()
			}
		})
		if err != nil && !kill {
			tr.Errorf("%s: the first of two runs ends with %v:\n%s", tr.name, err, out)
		}
		<-second
		tr.runs++
		tr.nothingLost()
	}
	return n
}

// buildClockTool builds the program with a standard library whose clock is wrong by
// KOLLA_TEST_CLOCK seconds. Preloaded libraries do not affect Go programs, which read
// the clock from the kernel.
func buildClockTool(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(data), "\nfunc Now() Time {", "\nfunc realNow() Time {", 1)
	text = strings.Replace(text, "import (", "import (\n\t\"syscall\"", 1) + wrongNow
	fake, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	for file, content := range map[string]string{fake: text, overlay: fmt.Sprintf(`{"Replace":{%q:%q}}`, path, fake)} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return buildTool(t, dir, "-overlay", overlay)
}

const wrongNow = `
var testOffset = func() Duration {
	s, _ := syscall.Getenv("KOLLA_TEST_CLOCK")
	sign, n := Duration(1), Duration(0)
	for _, c := range s {
		if c == '-' {
			sign = -1
		} else {
			n = n*10 + Duration(c-'0')
		}
	}
	return sign * n * Second
}()

// testAfter is the time between the start of the program and the jump of its clock.
var testAfter = func() Duration {
	s, _ := syscall.Getenv("KOLLA_TEST_CLOCK_AFTER")
	n := Duration(0)
	for _, c := range s {
		n = n*10 + Duration(c-'0')
	}
	return n * Millisecond
}()

var testStart = runtimeNano()

// Now is off by testOffset.
func Now() Time {
	t := realNow()
	if testOffset == 0 || Duration(runtimeNano()-testStart) < testAfter {
		return t
	}
	t.stripMono()
	return t.Add(testOffset)
}
`
