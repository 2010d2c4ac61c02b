package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// journal remembers a commit that has begun, for the case that this process does
// not live to end it: one file in a directory that is locked meanwhile. A nil
// directory remembers nothing.
type journal struct {
	dir  string
	lock *os.File
	path string // of the commit's file, "" before begin
	rec  record
}

// record is the file's content.
type record struct {
	Version int          `json:"version"`
	State   journalState `json:"state"`
	Started time.Time    `json:"started"` // for people
	Moves   []recordMove `json:"moves"`
}

type recordMove struct {
	Ref string `json:"ref"`
	Old string `json:"old,omitempty"` // digest, "" where there was no such tag
	New string `json:"new"`
}

type journalState string

const (
	stateMoving  journalState = "moving"  // the set is complete in the registry: it can be finished
	stateUndoing journalState = "undoing" // it failed: it is to be undone
)

const recordSuffix = ".json"

// openJournal takes the lock of the journal's directory. It waits for a
// publication that runs, which takes seconds.
func (p *Publisher) openJournal(ctx context.Context) (*journal, error) {
	j := &journal{dir: p.opts.Journal}
	if j.dir == "" {
		return j, nil
	}
	if err := os.MkdirAll(j.dir, 0o755); err != nil {
		return nil, fmt.Errorf("publication journal: %w", err)
	}
	var err error
	if j.lock, err = os.OpenFile(filepath.Join(j.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return nil, fmt.Errorf("publication journal: %w", err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		err := syscall.Flock(int(j.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return j, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			j.close()
			return nil, fmt.Errorf("publication journal: locking %s: %w", j.lock.Name(), err)
		}
		if n == 20 {
			p.notice("waiting for another publication that uses " + j.dir)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			j.close()
			return nil, context.Cause(ctx)
		}
	}
}

func (p *Publisher) notice(s string) {
	if p.opts.Notice != nil {
		p.opts.Notice(s)
	}
}

// close gives the lock back; the system does, too, when the process dies.
func (j *journal) close() {
	if j.lock != nil {
		j.lock.Close()
		j.lock = nil
	}
}

// begin writes down what is about to be moved.
func (j *journal) begin(moves []*move) error {
	j.rec = record{Version: 1, State: stateMoving, Started: time.Now().UTC().Truncate(time.Second), Moves: recordOf(moves)}
	return j.write()
}

// undoing writes down that the tags shall go back.
func (j *journal) undoing(moves []*move) error {
	j.rec.State, j.rec.Moves = stateUndoing, recordOf(moves)
	return j.write()
}

// keep leaves what could not be put back to the next publication, and returns
// the file's path.
func (j *journal) keep(moves []*move) string {
	j.rec.Moves = recordOf(moves)
	_ = j.write() // then more of it is done again, and finds nothing to do
	return j.path
}

// end forgets the commit. What it has settled needs no earlier commit's attention
// any more.
func (j *journal) end(moves []*move) error {
	if j.dir == "" {
		return nil
	}
	if j.path != "" {
		if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("publication journal: %w", err)
		}
	}
	settled := map[string]bool{}
	for _, m := range moves {
		settled[m.tag.Name()] = true
	}
	others, err := j.load()
	if err != nil {
		return nil // Recover will say so
	}
	for path, rec := range others {
		n := len(rec.Moves)
		rec.Moves = slices.DeleteFunc(rec.Moves, func(m recordMove) bool { t, err := name.NewTag(m.Ref); return err == nil && settled[t.Name()] })
		if len(rec.Moves) < n {
			other := journal{dir: j.dir, path: path, rec: rec}
			_ = other.write()
		}
	}
	return nil
}

func recordOf(moves []*move) []recordMove {
	out := make([]recordMove, 0, len(moves))
	for _, m := range moves {
		r := recordMove{Ref: m.Ref, New: m.Digest.String()}
		if m.old != (v1.Hash{}) {
			r.Old = m.old.String()
		}
		out = append(out, r)
	}
	return out
}

// write replaces the commit's file whole, and sees it on the disk. A record of
// nothing is no file.
func (j *journal) write() error {
	if j.dir == "" {
		return nil
	}
	fail := func(err error) error { return fmt.Errorf("publication journal in %s: %w", j.dir, err) }
	if len(j.rec.Moves) == 0 {
		if j.path == "" {
			return nil
		}
		return os.Remove(j.path)
	}
	b, err := json.MarshalIndent(j.rec, "", " ")
	if err != nil {
		return fail(err)
	}
	f, err := os.CreateTemp(j.dir, "commit-*.tmp")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name())
	if j.path == "" {
		j.path = strings.TrimSuffix(f.Name(), ".tmp") + recordSuffix
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), j.path)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// load reads the commits that did not end, by their files' paths.
func (j *journal) load() (map[string]record, error) {
	names, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, fmt.Errorf("publication journal: %w", err)
	}
	out := map[string]record{}
	for _, n := range names {
		path := filepath.Join(j.dir, n.Name())
		switch {
		case strings.HasSuffix(path, ".tmp"):
			_ = os.Remove(path) // its writer is dead: we hold the lock
		case strings.HasSuffix(path, recordSuffix):
			f, err := os.Open(path)
			if err != nil {
				return nil, fmt.Errorf("publication journal: %w", err)
			}
			b, err := io.ReadAll(io.LimitReader(f, 64<<20))
			f.Close()
			var rec record
			if err == nil {
				err = json.Unmarshal(b, &rec)
			}
			if err == nil && rec.Version != 1 {
				err = fmt.Errorf("version %d is not known", rec.Version)
			}
			if err != nil {
				return nil, &JournalError{Path: path, Err: err}
			}
			out[path] = rec
		}
	}
	return out, nil
}

// JournalError says that a journal of an unfinished publication cannot be read.
type JournalError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *JournalError) Error() string {
	return fmt.Sprintf("publication journal %s cannot be read: %v", e.Path, e.Err)
}

// Unwrap gives the cause.
func (e *JournalError) Unwrap() error { return e.Err }

// Hint says what the user can do.
func (e *JournalError) Hint() string {
	return "it belongs to a publication that did not end; remove the file, look where its tags stand, and publish again"
}
