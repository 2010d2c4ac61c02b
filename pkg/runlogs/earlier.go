package runlogs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// earlierLogs are the logs that a directory of the user had when a run started. A log that is
// still the same is not one of the run. Times are compared only with those of the same file:
// the clock of a file server may be wrong, and copies have other times.
type earlierLogs map[string]fileState

type fileState struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

// maxEarlier limits the file that lists earlier logs.
const maxEarlier = 16 << 20

// earlierFile returns the path of the list of earlier logs, which only some links have.
func (r run) earlierFile() string {
	return filepath.Join(filepath.Dir(r.path), "."+r.name+".earlier.json")
}

// remove removes a run, but not what a link leads to.
func (r run) remove() error {
	if err := os.RemoveAll(r.path); err != nil {
		return err
	}
	if err := os.Remove(r.earlierFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeEarlier records the logs that precede a run in the directory that its link leads to.
func (r run) writeEarlier() error {
	entries, _ := os.ReadDir(r.path) // the directory may not exist yet
	earlier := earlierLogs{}
	for _, e := range entries {
		if st, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), ".log") {
			earlier[e.Name()] = fileState{st.Size(), st.ModTime()}
		}
	}
	if len(earlier) == 0 {
		return nil
	}
	data, err := json.Marshal(earlier)
	if err == nil {
		err = atomicfile.WriteFile(r.earlierFile(), data, atomicfile.Options{})
	}
	if err != nil {
		return fmt.Errorf("recording earlier logs: %w", err)
	}
	return nil
}

// readEarlier returns the logs that precede a run in its directory. The directories of runs in
// the data directory have none. Without a readable list, all logs belong to the run.
func (r run) readEarlier() earlierLogs {
	if st, err := os.Lstat(r.path); err != nil || st.IsDir() {
		return nil
	}
	data, err := inputfile.ReadRegular(r.earlierFile(), maxEarlier)
	if err != nil {
		return nil
	}
	var earlier earlierLogs
	if err := json.Unmarshal(data, &earlier); err != nil {
		return nil
	}
	return earlier
}

// unchanged reports whether a file is an earlier log.
func (l earlierLogs) unchanged(file fs.FileInfo) bool {
	state, ok := l[file.Name()]
	return ok && state.Size == file.Size() && state.Modified.Equal(file.ModTime())
}
