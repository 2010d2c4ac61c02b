package push

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// journal records a commit while it runs, in case this process is killed: one file in a
// directory that is locked during the commit. A journal without a directory records
// nothing.
type journal struct {
	dir    string
	lock   *filelock.Lock
	path   string // of the commit's file, "" before begin
	record record
}

// record is the file's content.
type record struct {
	Version int            `json:"version"`
	State   state          `json:"state"`
	Started time.Time      `json:"started"` // for people
	Updates []recordUpdate `json:"moves"`
}

type recordUpdate struct {
	Ref      string        `json:"ref"`
	Previous digest.Digest `json:"old,omitempty"` // "" if there was no such tag
	Digest   digest.Digest `json:"new"`
}

type state string

const (
	stateUpdating state = "moving"  // the set's content is in the registry, so the commit can be completed
	stateUndoing  state = "undoing" // the commit failed and has to be undone
)

const (
	recordVersion = 1
	recordSuffix  = ".json"
	maxRecord     = 64 << 20 // bytes
)

func journalError(err error) error { return fmt.Errorf("publication journal: %w", err) }

// openJournal locks the journal's directory. It waits for other publications, which
// take seconds.
func (p *Publisher) openJournal(ctx context.Context) (*journal, error) {
	j := &journal{dir: p.opts.Journal}
	if j.dir == "" {
		return j, nil
	}
	if err := atomicfile.MkdirAll(j.dir, 0o755); err != nil {
		return nil, journalError(err)
	}
	lock, err := filelock.AcquireContext(ctx, filepath.Join(j.dir, "lock"), func(held *filelock.HeldError) {
		p.notice("waiting for another publication that uses " + j.dir + held.By())
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, journalError(err)
	}
	_ = lock.SetProcess() // for the notice of the next publication
	j.lock = lock
	return j, nil
}

// close releases the lock, as the kernel does when the process ends.
func (j *journal) close() {
	if j.lock != nil {
		j.lock.Close()
		j.lock = nil
	}
}

// begin records the tags that will be updated.
func (j *journal) begin(updates []*update) error {
	j.record = record{Version: recordVersion, State: stateUpdating, Started: time.Now().UTC().Truncate(time.Second),
		Updates: recordOf(updates)}
	return j.write()
}

// undoing records that the tags have to be restored.
func (j *journal) undoing(updates []*update) error {
	j.record.State, j.record.Updates = stateUndoing, recordOf(updates)
	return j.write()
}

// keep keeps the tags that could not be restored for the next publication, and returns
// the file's path.
func (j *journal) keep(updates []*update) string {
	j.record.Updates = recordOf(updates)
	_ = j.write() // the old record only has more tags, which need no change
	return j.path
}

// end removes the record of the commit, and its tags from the records of earlier ones.
func (j *journal) end(updates []*update) error {
	if j.dir == "" {
		return nil
	}
	if j.path != "" {
		if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return journalError(err)
		}
	}
	settled := map[imageref.Ref]bool{}
	for _, u := range updates {
		settled[u.ref] = true
	}
	earlier, err := j.load()
	if err != nil {
		return nil // Recover reports it
	}
	for path, rec := range earlier {
		n := len(rec.Updates)
		rec.Updates = slices.DeleteFunc(rec.Updates, func(u recordUpdate) bool {
			ref, err := imageref.ParseTag(u.Ref)
			return err == nil && settled[ref]
		})
		if len(rec.Updates) < n {
			other := journal{dir: j.dir, path: path, record: rec}
			_ = other.write() // Recover finds that these tags need no change
		}
	}
	return nil
}

func recordOf(updates []*update) []recordUpdate {
	out := make([]recordUpdate, 0, len(updates))
	for _, u := range updates {
		out = append(out, recordUpdate{Ref: u.Ref, Previous: u.previous, Digest: u.Digest})
	}
	return out
}

// write replaces the commit's file, durably. A record without tags is removed.
func (j *journal) write() error {
	if j.dir == "" {
		return nil
	}
	if len(j.record.Updates) == 0 {
		if j.path == "" {
			return nil
		}
		return os.Remove(j.path)
	}
	b, err := json.MarshalIndent(j.record, "", " ")
	if err != nil {
		return journalError(err)
	}
	if j.path == "" {
		j.path = filepath.Join(j.dir, "commit-"+rand.Text()+recordSuffix)
	}
	b = append(b, '\n')
	if err := inputfile.CheckSize(j.path, b, maxRecord); err != nil {
		return journalError(err)
	}
	if err := atomicfile.WriteFile(j.path, b, atomicfile.Options{Durable: true}); err != nil {
		return journalError(err)
	}
	return nil
}

// load reads the unfinished commits, by the paths of their files.
func (j *journal) load() (map[string]record, error) {
	names, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, journalError(err)
	}
	out := map[string]record{}
	for _, n := range names {
		path := filepath.Join(j.dir, n.Name())
		switch {
		case strings.Contains(n.Name(), ".tmp"):
			_ = os.Remove(path) // its writer has ended, because this process holds the lock
		case strings.HasSuffix(path, recordSuffix):
			rec, err := readRecord(path)
			if err != nil {
				return nil, &JournalError{Path: path, Err: err}
			}
			out[path] = rec
		}
	}
	return out, nil
}

func readRecord(path string) (rec record, err error) {
	b, err := inputfile.ReadRegular(path, maxRecord)
	if err == nil {
		err = json.Unmarshal(b, &rec)
	}
	if err == nil && rec.Version != recordVersion {
		err = fmt.Errorf("its version is %d, this program knows %d", rec.Version, recordVersion)
	}
	return rec, err
}
