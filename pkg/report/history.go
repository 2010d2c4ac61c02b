package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// keepRecords is how many runs a history keeps: two months of nightly runs.
const keepRecords = 60

// Record is a run in the history: enough to report later changes.
type Record struct {
	Started   time.Time                `json:"started"`
	Seconds   float64                  `json:"seconds"`
	Outcome   Outcome                  `json:"outcome"`
	Tags      []string                 `json:"tags,omitempty"`
	Built     int                      `json:"built"`
	Unchanged int                      `json:"unchanged"`
	Failed    int                      `json:"failed"`
	Images    map[image.ID]ImageRecord `json:"images,omitempty"`
}

// ImageRecord is an image in the history.
type ImageRecord struct {
	Digest  digest.Digest `json:"digest,omitempty"`
	Size    int64         `json:"size,omitempty"`    // bytes
	Seconds float64       `json:"seconds,omitempty"` // of its build
}

// History is a file of records, a JSON object per line, the oldest first.
type History struct{ Path string }

// Load returns the records, the newest first. A missing file is an empty history,
// and lines that cannot be read are ignored: only comparisons depend on them.
func (h History) Load() ([]Record, error) {
	f, err := inputfile.OpenRegular(h.Path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) { // the store reports the latter
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the history of runs: %w", err)
	}
	defer f.Close()
	var records []Record
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		var rec Record
		if json.Unmarshal(line, &rec) == nil && !rec.Started.IsZero() {
			records = append([]Record{rec}, records...)
		}
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return records, fmt.Errorf("reading the history of runs: %w", err)
		}
	}
}

// Add appends a record and removes the oldest ones beyond keepRecords.
func (h History) Add(rec Record) error {
	records, err := h.Load()
	if err != nil {
		return err
	}
	records = append([]Record{rec}, records...)
	records = records[:min(len(records), keepRecords)]
	if err := os.MkdirAll(filepath.Dir(h.Path), 0o755); err != nil {
		return fmt.Errorf("writing the history of runs: %w", err)
	}
	err = atomicfile.Output(h.Path, atomicfile.Options{}, func(w io.Writer) error {
		for i := len(records) - 1; i >= 0; i-- {
			if err := encode(w, records[i], ""); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing the history of runs: %w", err)
	}
	return nil
}
