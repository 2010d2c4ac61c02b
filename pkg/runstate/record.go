package runstate

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// recordFile is the record of the last run that began to build, in JSON lines: a
// header, then an entry for each image as it ends, and one for the end of the run. An
// image without an entry was not reached, so the record is valid even if the run is
// killed.
const recordFile = "last-run.jsonl"

// recordVersion is the version of the format of the record.
const recordVersion = 1

// Scope holds the options that decide which images the names in a record refer to. A
// run that continues another one must have the same scope.
type Scope struct {
	Base        string `json:"base"`
	InstallType string `json:"install_type"`
	Arch        string `json:"arch"`
	Platform    string `json:"platform,omitempty"`
	Registry    string `json:"registry,omitempty"`
	Namespace   string `json:"namespace"`
	Prefix      string `json:"prefix,omitempty"`
	Tag         string `json:"tag"`
}

// difference returns the first option in which two scopes differ with its values
// in both, three empty strings if they are equal.
func (s Scope) difference(other Scope) (option, value, otherValue string) {
	for _, d := range [][3]string{
		{"--base", s.Base, other.Base},
		{"--type", s.InstallType, other.InstallType},
		{"--base-arch", s.Arch, other.Arch},
		{"--platform", s.Platform, other.Platform},
		{"--registry", s.Registry, other.Registry},
		{"--namespace", s.Namespace, other.Namespace},
		{"--image-name-prefix", s.Prefix, other.Prefix},
		{"--tag", s.Tag, other.Tag},
	} {
		if d[1] != d[2] {
			return d[0], d[1], d[2]
		}
	}
	return "", "", ""
}

// header is the first line of a record.
type header struct {
	Version int        `json:"version"`
	Started time.Time  `json:"started"`
	Scope   Scope      `json:"scope"`
	Images  []image.ID `json:"images"` // the selected images, parents first
}

// entry is a later line: the end of an image, or of the run.
type entry struct {
	Image     image.ID     `json:"image,omitzero"`
	Status    build.Status `json:"status,omitempty"`
	Reason    string       `json:"reason,omitempty"`
	Ended     bool         `json:"ended,omitempty"`     // the run was not interrupted
	Published bool         `json:"published,omitempty"` // with Ended: the tags were changed, or none had to change
}

// Record is the record of the current run. It is safe for concurrent use.
type Record struct {
	mu   sync.Mutex
	file *os.File
	err  error // of the first write that failed
}

// Begin starts the record of a run in a data directory, in place of the last
// run's. The caller must call Close.
func Begin(dataDir string, scope Scope, images []image.ID) (*Record, error) {
	data, err := json.Marshal(header{
		Version: recordVersion,
		Started: time.Now().UTC().Truncate(time.Second),
		Scope:   scope,
		Images:  images,
	})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dataDir, recordFile)
	if err = atomicfile.MkdirAll(dataDir, 0o755); err == nil {
		err = atomicfile.WriteFile(path, append(data, '\n'), atomicfile.Options{})
	}
	if err != nil {
		return nil, fmt.Errorf("writing the record of the run: %w", err)
	}
	// The open file, not its name: another run may replace the file.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0) // no wait for a reader of a FIFO
	if err != nil {
		return nil, fmt.Errorf("writing the record of the run: %w", err)
	}
	return &Record{file: f}, nil
}

// Handle records the end of an image. It is an event handler of a run.
func (r *Record) Handle(e build.Event) {
	if e.Kind == build.EventImageEnd {
		r.write(entry{Image: e.Image, Status: e.Result.Status, Reason: e.Result.Reason})
	}
}

// End records that the run was not interrupted, and whether its tags were changed.
func (r *Record) End(published bool) { r.write(entry{Ended: true, Published: published}) }

func (r *Record) write(e entry) {
	data, err := json.Marshal(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && r.err == nil {
		_, err = r.file.Write(append(data, '\n'))
	}
	if r.err == nil {
		r.err = err
	}
}

// Err returns the error of the first write that failed. A run continues without its
// record, but a later --rerun-failed may then repeat more than necessary.
func (r *Record) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		return nil
	}
	return fmt.Errorf("writing the record of the run, which --rerun-failed reads: %w", r.err)
}

// Close closes the record. It does nothing if the record is nil.
func (r *Record) Close() {
	if r != nil {
		r.file.Close()
	}
}
