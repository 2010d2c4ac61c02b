package child

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// watchInterval is the time between two counts of processes. A program that starts
// processes without end starts about a hundred in it.
const watchInterval = 500 * time.Millisecond

// watcher counts the processes of all watched sessions in one pass over /proc.
type watcher struct {
	mu       sync.Mutex
	sessions map[int]watchedSession // by the session's leader
	running  bool
}

type watchedSession struct {
	limit    int
	exceeded func()
}

var sessions = &watcher{sessions: map[int]watchedSession{}}

// watchSession calls exceeded once if a session has more processes than limit. The
// returned function ends the watch.
func watchSession(leader, limit int, exceeded func()) (stop func()) {
	w := sessions
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions[leader] = watchedSession{limit, exceeded}
	if !w.running {
		w.running = true
		go w.run()
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.sessions, leader)
	}
}

func (w *watcher) run() {
	for {
		time.Sleep(watchInterval)
		w.mu.Lock()
		if len(w.sessions) == 0 {
			w.running = false
			w.mu.Unlock()
			return
		}
		counts := map[int]int{}
		for _, p := range processes() {
			counts[p.session]++
		}
		var exceeded []func()
		for leader, s := range w.sessions {
			if counts[leader] > s.limit {
				exceeded = append(exceeded, s.exceeded)
				delete(w.sessions, leader)
			}
		}
		w.mu.Unlock()
		for _, f := range exceeded {
			f()
		}
	}
}

type process struct{ pid, session int }

// processes lists the processes that have not ended.
func processes() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var out []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it has ended
		}
		// PID (NAME) STATE PARENT GROUP SESSION …; a name may contain anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 4 || fields[0][0] == 'Z' {
			continue
		}
		if session, err := strconv.Atoi(string(fields[3])); err == nil {
			out = append(out, process{pid, session})
		}
	}
	return out
}

// killSession kills the processes of a session, repeatedly until it finds none: a
// process may have started others in the meantime.
func killSession(leader int) {
	for range 100 {
		found := false
		for _, p := range processes() {
			if p.session == leader {
				found = true
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
		}
		if !found {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
