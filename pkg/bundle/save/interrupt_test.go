package save

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/kolla-build/kolla-build/internal/partialfile"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/store"
)

const saveHelper = "KOLLA_TEST_SAVE" // STORE OUTPUT SPLIT BYTES FILE

// stoppingSource calls a function after a number of bytes.
type stoppingSource struct {
	Source
	left *int64
	stop func()
}

func (s stoppingSource) OpenBlob(d digest.Digest) (io.ReadCloser, error) {
	r, err := s.Source.OpenBlob(d)
	return stoppingReader{r, s}, err
}

type stoppingReader struct {
	io.ReadCloser
	s stoppingSource
}

func (r stoppingReader) Read(p []byte) (int, error) {
	if *r.s.left == 0 {
		*r.s.left = -1
		r.s.stop()
	}
	if *r.s.left > 0 {
		p = p[:min(int64(len(p)), *r.s.left)]
	}
	n, err := r.ReadCloser.Read(p)
	if *r.s.left > 0 {
		*r.s.left -= int64(n)
	}
	return n, err
}

func kill() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// TestSaveHelper is the process that TestInterruptedSave kills: after a number of bytes, or
// as soon as a file exists.
func TestSaveHelper(t *testing.T) {
	args := strings.Fields(os.Getenv(saveHelper))
	if len(args) == 0 {
		t.Skip("started by TestInterruptedSave")
	}
	st := testenv.Must[*store.Store](t)(store.OpenReadOnly(args[0]))
	split, remaining := testenv.Must[int64](t)(strconv.ParseInt(args[2], 10,
		64)), testenv.Must[int64](t)(strconv.ParseInt(args[3], 10, 64))
	if len(args) > 4 {
		remaining = -1
		go func() {
			for {
				if _, err := os.Stat(args[4]); err == nil {
					kill()
				}
			}
		}()
	}
	_, err := Bundle(t.Context(), stoppingSource{st, &remaining, kill}, testenv.Must[[]store.Entry](t)(st.Entries()),
		args[1], interruptedOptions(split))
	if err != nil {
		t.Fatal(err)
	}
}

func interruptedOptions(split int64) Options {
	if split == 0 {
		return Options{}
	}
	return Options{Split: split, Parity: 20}
}

// contents returns the digests of the files in a directory, without those of saves that are
// not complete.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var lines strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, ".partial") || strings.HasSuffix(path, "filler") ||
			strings.HasSuffix(path, "/image") {
			return err
		}
		b, err := os.ReadFile(path)
		fmt.Fprintln(&lines, strings.TrimPrefix(path, dir), digest.FromBytes(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines.String()
}

// TestInterruptedSave interrupts saves to a file, to parts with parity and to a directory: by
// kill -9 after any byte and while the files get their names, by Ctrl-C, by a full disk and
// by a medium that is removed. Saving again continues, and writes the same bytes as a save
// without interruptions. KOLLA_TEST_INTERRUPTIONS is the number of times.
func TestInterruptedSave(t *testing.T) {
	testenv.Slow(t)
	times := 12
	if text := os.Getenv("KOLLA_TEST_INTERRUPTIONS"); text != "" {
		times = testenv.Must[int](t)(strconv.Atoi(text))
	}
	const size = 1_500_000 // larger than what is buffered
	st, entries := storetest.FillSize(t, size)
	total := int64(4*size + 4096)
	outputs := []struct {
		name  string
		split int64
	}{{"set.tar", 0}, {"set.tar", 700_000}, {"set/", 0}}
	var want [3]string
	for i, o := range outputs {
		dir := t.TempDir()
		testenv.Must[Summary](t)(Bundle(t.Context(), st, entries, dir+"/"+o.name, interruptedOptions(o.split)))
		want[i] = contents(t, dir)
	}
	w := &interruptedWorld{t: t, st: st, entries: entries}
	disturbances := []func(dir, output string, split, at int64){w.kill, w.cancel, w.killNaming, w.fillDisk}
	if os.Getenv("KOLLA_TEST_INTERRUPTIONS") != "" {
		disturbances = append(disturbances, w.removeMedium)
	}
	rng := rand.New(rand.NewPCG(4, 4))
	var kept int64
	for i := range times {
		o := outputs[i%3]
		disturb := disturbances[i/3%len(disturbances)]
		w.dir = t.TempDir()
		w.resume = w.dir
		earlier := o.split == 0 && o.name == "set.tar"
		if earlier {
			if err := os.WriteFile(w.dir+"/set.tar", []byte("earlier"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for again := range 1 + rng.IntN(2) { // also a save that continues is interrupted
			w.complete = false
			disturb(w.dir, o.name, o.split, rng.Int64N(total))
			if w.complete || w.naming || again > 0 || o.name == "set/" {
				continue
			}
			for line := range strings.Lines(contents(t, w.resume)) {
				if strings.Contains(want[i%3], line) {
					t.Errorf("interruption %d of %s (split %d) leaves %s", i, o.name, o.split, line)
				}
			}
			if b, err := os.ReadFile(w.dir + "/set.tar"); earlier && (err != nil || string(b) != "earlier") {
				t.Errorf("interruption %d changed the earlier file (%v)", i, err)
			}
		}
		opts := interruptedOptions(o.split)
		opts.Resume = true
		sum, err := Bundle(t.Context(), st, entries, w.resume+"/"+o.name, opts)
		if err != nil {
			t.Fatalf("interruption %d of %s (split %d), continued: %v", i, o.name, o.split, err)
		}
		kept += sum.Kept
		if got := contents(t, w.resume); got != want[i%3] {
			t.Errorf("interruption %d of %s (split %d), continued:\n%s\nwant\n%s", i, o.name, o.split, got, want[i%3])
		}
		if leftover, err := filepath.Glob(w.resume + "/.*.partial"); err != nil || len(leftover) > 0 {
			t.Errorf("interruption %d of %s (split %d), continued: left %v", i, o.name, o.split, leftover)
		}
		w.cleanUp()
	}
	if kept == 0 {
		t.Error("nothing was kept of any interrupted save")
	}
	t.Logf("%d interruptions; %d bytes were kept of interrupted saves", times, kept)
}

// interruptedWorld interrupts saves.
type interruptedWorld struct {
	t        *testing.T
	st       *store.Store
	entries  []store.Entry
	dir      string
	resume   string // where the save is continued: dir, or another file system in it
	complete bool   // the save ended before it was disturbed
	naming   bool   // the save was killed while files got their names
	unmount  func()
}

func (w *interruptedWorld) cleanUp() {
	if w.unmount != nil {
		w.unmount()
		w.unmount = nil
	}
	w.naming = false
}

func (w *interruptedWorld) child(args ...any) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), os.Args[0], "-test.run=^TestSaveHelper$")
	cmd.Env = append(os.Environ(), saveHelper+"="+strings.TrimSpace(fmt.Sprintln(args...)))
	out, err := cmd.CombinedOutput()
	w.complete = err == nil
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL) {
		w.t.Fatalf("%v\n%s", err, out)
	}
}

func (w *interruptedWorld) kill(dir, output string, split, at int64) {
	w.child(w.st.Dir(), dir+"/"+output, split, at)
}

// killNaming kills a save when one of its last files appears.
func (w *interruptedWorld) killNaming(dir, output string, split, at int64) {
	watched := dir + "/" + output
	switch {
	case split > 0 && at%2 == 0:
		watched = partialfile.Name(watched + ".p01")
	case split > 0:
		watched, w.naming = watched+".004", true
	case output == "set/":
		watched += bundle.ManifestName
	}
	w.naming = w.naming || split == 0
	w.child(w.st.Dir(), dir+"/"+output, split, at, watched)
}

func (w *interruptedWorld) cancel(dir, output string, split, at int64) {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	_, err := Bundle(ctx, stoppingSource{w.st, &at, cancel}, w.entries, dir+"/"+output, interruptedOptions(split))
	if w.complete = err == nil; err != nil && !errors.Is(err, context.Canceled) {
		w.t.Errorf("interrupted: %v", err)
	}
}

// fillDisk fills the file system during the save, and then frees space.
func (w *interruptedWorld) fillDisk(dir, output string, split, at int64) {
	if w.resume == dir {
		w.resume = testenv.Tmpfs(w.t, "24m")
	}
	filler := w.resume + "/filler"
	fill := func() {
		f, err := os.Create(filler)
		if err != nil {
			w.t.Error(err)
			return
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(bytes.Repeat([]byte("x"), 64<<10))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			w.t.Error(err)
		}
	}
	_, err := Bundle(w.t.Context(), stoppingSource{w.st, &at, fill}, w.entries, w.resume+"/"+output,
		interruptedOptions(split))
	var full *store.FullError
	if w.complete = err == nil; err != nil && !errors.As(err, &full) {
		w.t.Errorf("on a full disk: %v", err)
	}
	if err := os.Remove(filler); err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
}

// removeMedium shuts a file system down, as when its medium is removed, and mounts it again:
// data that was not synced is lost.
func (w *interruptedWorld) removeMedium(dir, output string, split, at int64) {
	image, copied, mounted := dir+"/image", dir+"/copy", dir+"/medium"
	w.resume = mounted
	run := func(name string, args ...string) {
		w.t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			w.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	if w.unmount == nil {
		if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 32<<20),
			os.Mkdir(mounted, 0o755)); err != nil {
			w.t.Fatal(err)
		}
		run("mkfs.ext4", "-q", image)
		run("mount", "-o", "loop", image, mounted)
		w.unmount = func() { run("umount", mounted) }
	}
	shutdown := func() {
		d, err := os.Open(mounted)
		if err != nil {
			w.t.Error(err)
			return
		}
		defer d.Close()
		const shutdown, noFlush = 0x8004587d, 2 // EXT4_IOC_SHUTDOWN
		flag := uint32(noFlush)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), shutdown, uintptr(unsafe.Pointer(&flag))); errno != 0 {
			w.t.Error(errno)
		}
	}
	_, err := Bundle(w.t.Context(), stoppingSource{w.st, &at, shutdown}, w.entries, mounted+"/"+output,
		interruptedOptions(split))
	w.complete = err == nil
	run("umount", mounted)
	// A copy, because other processes can have a mount namespace in which the old one is
	// still mounted.
	run("cp", "--sparse=always", image, copied)
	if err := os.Rename(copied, image); err != nil {
		w.t.Fatal(err)
	}
	run("mount", "-o", "loop", image, mounted)
}
