package interrupt

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
)

// loadTrial is one interrupted load. at is the position of the interruption, from 0 to 1.
type loadTrial struct {
	*world
	t       *testing.T
	dataDir string
	at      float64
	serial  int
	form    *form
	stored  []int // new blobs, if it was killed between them
}

// form is a form of the new state of the set, and the result of an undisturbed load.
type form struct {
	file  string
	names map[string]digest.Digest
	files string // of the data directory
}

// loadKinds are how loads are interrupted. Each returns the exit status of the load.
var loadKinds = []struct {
	name      string
	bundle    bool // only of a bundle
	interrupt func(*loadTrial) int
}{
	{"killed", false, func(l *loadTrial) int {
		return l.stream(func(r *run) { _ = r.cmd.Process.Kill() })
	}},
	{"Ctrl-C", false, func(l *loadTrial) int {
		return l.stream(func(r *run) { _ = r.cmd.Process.Signal(syscall.SIGINT) })
	}},
	{"pipe closed", false, func(l *loadTrial) int {
		return l.stream(func(r *run) { r.in.Close() })
	}},
	{"disk full", false, (*loadTrial).fullDisk},
	{"killed between blobs", true, (*loadTrial).killedBetweenBlobs},
	{"parts removed", true, (*loadTrial).partsRemoved},
	{"disk full at the end", true, (*loadTrial).fullAtTheEnd},
	{"directory removed", true, (*loadTrial).directoryRemoved},
}

// testLoad interrupts loads into a store that has an older state of the set.
func testLoad(t *testing.T, w *world) {
	n := times(t, len(loadKinds))
	disk := testenv.Tmpfs(t, "48m")
	before := filepath.Join(disk, "before")
	w.must(t, "load", w.oldFile, "--data-dir", before)
	forms := []*form{{file: w.newFile}, {file: w.docker(archivetest.Docker25)}, {file: w.docker(archivetest.Docker10)}}
	for _, f := range forms {
		data := filepath.Join(disk, "undisturbed")
		copyDir(t, before, data)
		w.must(t, "load", f.file, "--replace", "--data-dir", data)
		f.names, f.files = named(t, data), list(t, data)
		remove(t, data)
	}
	if !maps.Equal(forms[0].names, w.new) {
		t.Fatalf("undisturbed, the names refer to %v, want %v", forms[0].names, w.new)
	}

	count := tally{}
	var stored []int
	for i := range n {
		kind := loadKinds[i%len(loadKinds)]
		l := &loadTrial{world: w, t: t, dataDir: filepath.Join(disk, "data"), at: float64(i+1) / float64(n+1),
			serial: i, form: forms[0]}
		if !kind.bundle {
			l.form = forms[i/len(loadKinds)%len(forms)]
		}
		copyDir(t, before, l.dataDir)
		status := kind.interrupt(l)
		stored = append(stored, l.stored...)
		switch got := named(t, l.dataDir); {
		case status == 0:
			count[kind.name+" too late"]++
		case !maps.Equal(got, w.old):
			t.Errorf("%d, %s at %.3f: the names refer to %v, want %v", i, kind.name, l.at, got, w.old)
		default:
			count[kind.name]++
		}
		w.must(t, "load", l.form.file, "--replace", "--data-dir", l.dataDir)
		if got := named(t, l.dataDir); !maps.Equal(got, l.form.names) {
			t.Errorf("%d, %s at %.3f, repeated: the names refer to %v, want %v", i, kind.name, l.at, got, l.form.names)
		}
		undamaged(t, l.dataDir)
		if got := list(t, l.dataDir); got != l.form.files {
			t.Errorf("%d, %s at %.3f: the data directory has\n%s\nand undisturbed\n%s", i, kind.name, l.at, got, l.form.files)
		}
		remove(t, l.dataDir)
		if t.Failed() {
			break
		}
	}
	t.Logf("%d loads: %s; new blobs when killed between them: %v", n, count, stored)
	if count["killed"] == 0 || count["killed between blobs"] == 0 || count["disk full"] == 0 {
		t.Errorf("too few interruptions: %s", count)
	}
}

// content returns what a load reads from its standard input.
func (l *loadTrial) content() []byte {
	l.t.Helper()
	b, err := os.ReadFile(l.form.file)
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

func (l *loadTrial) load(args ...string) *run {
	l.t.Helper()
	return l.start(l.t, append([]string{"load", "--replace", "--data-dir", l.dataDir}, args...)...)
}

// stream interrupts a load after a part of its standard input.
func (l *loadTrial) stream(interrupt func(*run)) int {
	l.t.Helper()
	content := l.content()
	r := l.load("-")
	// The end of a tar is 1024 zeros: without them it is not complete.
	r.feed(content[:int(float64(len(content)-2048)*l.at)])
	interrupt(r)
	status := r.wait()
	if status == 0 {
		l.t.Errorf("the load ended with status 0 after %.3f of the file", l.at)
	}
	return status
}

// killedBetweenBlobs kills a load when it has stored a part of the blobs, while it stores the next
// ones.
func (l *loadTrial) killedBetweenBlobs() int {
	l.t.Helper()
	content := l.content()
	before := blobs(l.dataDir) // as many as there are new ones
	target := before + 1 + int(l.at*float64(before-1))
	r := l.load("-")
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		_, _ = r.in.Write(content[:len(content)-2048]) // without its end, it is not complete; fails when the load is killed
	}()
	l.until(r, func() bool { return blobs(l.dataDir) >= target })
	_ = r.cmd.Process.Kill()
	<-fed
	status := r.wait()
	if n := blobs(l.dataDir); n < target {
		l.t.Errorf("the load ended with %d blobs, before it was killed at %d: %s", n, target, r.out.String())
	}
	l.stored = append(l.stored, blobs(l.dataDir)-before)
	return status
}

// fullDisk fills the file system of the data directory while a load reads.
func (l *loadTrial) fullDisk() int {
	l.t.Helper()
	content := l.content()
	r := l.load("-")
	n := int(float64(len(content)-2048) * l.at)
	r.feed(content[:n])
	ballast := fillUp(l.t, filepath.Dir(l.dataDir), int64(l.serial%5)*64<<10)
	r.feed(content[n:])
	r.in.Close()
	status := r.wait()
	remove(l.t, ballast)
	if status != 0 && !strings.Contains(r.out.String(), "no space left") {
		l.t.Errorf("the load on a full disk printed %s", r.out.String())
	}
	return status
}

// fullAtTheEnd fills the file system when all blobs are stored and the names are not.
func (l *loadTrial) fullAtTheEnd() int {
	l.t.Helper()
	content := l.content()
	complete := 2 * blobs(l.dataDir)
	r := l.load("-")
	r.feed(content[:len(content)-1024])
	l.until(r, func() bool { return blobs(l.dataDir) >= complete })
	ballast := fillUp(l.t, filepath.Dir(l.dataDir), int64(l.serial%3)<<10)
	r.feed(content[len(content)-1024:])
	r.in.Close()
	status := r.wait()
	remove(l.t, ballast)
	return status
}

// until waits for a condition or the end of a process.
func (l *loadTrial) until(r *run, condition func() bool) {
	l.t.Helper()
	ended := fmt.Sprintf("/proc/%d/exe", r.cmd.Process.Pid)
	for !condition() {
		if _, err := os.Readlink(ended); err != nil { // a zombie has none
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// partsRemoved removes the directory of the parts while they are read, and restores it.
func (l *loadTrial) partsRemoved() int {
	l.t.Helper()
	return l.removed(filepath.Join(l.dir, "parts"), func(dir string) string {
		return l.save(l.newStore, "parts/set.tar", save.Options{Split: 400_000})[0]
	})
}

// directoryRemoved removes the files of a directory while it is read.
func (l *loadTrial) directoryRemoved() int {
	l.t.Helper()
	return l.removed(filepath.Join(l.dir, "set"),
		func(dir string) string { return l.save(l.newStore, "set/", save.Options{})[0] })
}

func (l *loadTrial) removed(dir string, write func(dir string) string) int {
	l.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	path := write(dir)
	at := blobs(l.dataDir) + int(l.at*float64(blobs(l.dataDir))/2) // content that was already read cannot be removed
	r := l.load(path)
	l.until(r, func() bool { return blobs(l.dataDir) >= at })
	remove(l.t, dir)
	status := r.wait()
	if strings.Contains(r.out.String(), "panic") {
		l.t.Error(r.out.String())
	}
	return status
}
