package child

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/internal/units"
)

// watchInterval is the time between two counts of processes. A program that starts
// processes without end starts about a hundred in it.
const watchInterval = 500 * time.Millisecond

// watcher observes the processes of all watched sessions in one pass over /proc.
type watcher struct {
	mu       sync.Mutex
	sessions map[int]*watchedSession // by the session's leader
	running  bool
}

type watchedSession struct {
	limits   Limits
	exceeded func(limit string, idle bool)

	// since is the beginning of the time for which Limits.Idle is checked, and done what the
	// processes have done in it. last is what each process had done when it was last seen.
	since time.Time
	done  activity
	last  map[int]activity
}

// activity is what a process has done since its start.
type activity struct {
	transferred int64 // bytes that it has read and written
	cpu         time.Duration
}

var sessions = &watcher{sessions: map[int]*watchedSession{}}

// watchSession calls exceeded once, with the limit, if a session exceeds its limit of
// processes or is idle. The returned function ends the watch.
func watchSession(leader int, limits Limits, exceeded func(limit string, idle bool)) (stop func()) {
	w := sessions
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions[leader] = &watchedSession{limits: limits, exceeded: exceeded, since: time.Now()}
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
		members := map[int][]process{}
		for _, p := range processes() {
			if w.sessions[p.session] != nil {
				members[p.session] = append(members[p.session], p)
			}
		}
		var exceeded []func()
		for leader, s := range w.sessions {
			if limit, idle := s.check(members[leader], time.Now()); limit != "" {
				exceeded = append(exceeded, func() { s.exceeded(limit, idle) })
				delete(w.sessions, leader)
			}
		}
		w.mu.Unlock()
		for _, f := range exceeded {
			f()
		}
	}
}

// check returns the limit that a session exceeds, or "", and whether it is Limits.Idle.
func (s *watchedSession) check(members []process, now time.Time) (limit string, idle bool) {
	if s.limits.Processes > 0 && len(members) > s.limits.Processes {
		return fmt.Sprintf("%d processes", s.limits.Processes), false
	}
	if s.limits.Idle <= 0 {
		return "", false
	}
	current := map[int]activity{}
	for _, p := range members {
		n, known := bytesTransferred(fmt.Sprintf("/proc/%d", p.pid))
		if !known {
			s.limits.Idle = 0
			return "", false
		}
		a := activity{n, p.cpu}
		s.done.transferred += max(0, a.transferred-s.last[p.pid].transferred)
		s.done.cpu += max(0, a.cpu-s.last[p.pid].cpu)
		current[p.pid] = a
	}
	s.last = current
	elapsed := now.Sub(s.since)
	if elapsed < s.limits.Idle {
		return "", false
	}
	if float64(s.done.transferred) < 1024*elapsed.Seconds() && s.done.cpu < elapsed/100 {
		return units.Duration(s.limits.Idle) + " in which it reads and writes less than 1 KiB a second", true
	}
	s.since, s.done = now, activity{}
	return "", false
}

type process struct {
	pid, session int
	cpu          time.Duration
}

// clockTick is the unit of processor times in /proc. It is the same on all architectures of Go.
const clockTick = 10 * time.Millisecond

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
		// PID (NAME) STATE PARENT GROUP SESSION …; a name may contain anything. The processor times
		// are the fields 14 and 15.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 13 || fields[0] == "Z" {
			continue
		}
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		if session, err := strconv.Atoi(fields[3]); err == nil {
			out = append(out, process{pid, session, time.Duration(user+system) * clockTick})
		}
	}
	return out
}

// bytesTransferred returns how much a process, with its directory in /proc, has read and written, 0
// if it has ended. It is not known of processes of other users, and of kernels that do not count it.
func bytesTransferred(dir string) (n int64, known bool) {
	text, err := os.ReadFile(dir + "/io")
	if errors.Is(err, syscall.ESRCH) {
		return 0, true
	}
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(dir)
		return 0, errors.Is(err, fs.ErrNotExist)
	}
	var read, written int64
	_, err = fmt.Sscanf(string(text), "rchar: %d\nwchar: %d\n", &read, &written)
	return read + written, err == nil
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
