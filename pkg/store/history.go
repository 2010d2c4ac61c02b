package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

const historyFile = "history.json"

// Durations are the durations of an image's last builds, for estimates and for building
// the longest path first.
type Durations struct {
	Last []time.Duration // newest first, up to keepDurations
	Size int64           // bytes of the image when last built
}

// keepDurations is how many builds of an image are recorded: enough for a median that
// one slow mirror does not affect.
const keepDurations = 5

// Median returns the median of the recorded durations, 0 if there are none.
func (d Durations) Median() time.Duration {
	if len(d.Last) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(d.Last))[len(d.Last)/2]
}

// Record is one build of an image.
type Record struct {
	Took time.Duration
	Size int64 // bytes, 0 if unknown
}

// historyEntry is Durations in the file, in seconds and bytes.
type historyEntry struct {
	Seconds []float64 `json:"seconds"`
	Bytes   int64     `json:"bytes,omitempty"`
}

// Durations returns the recorded durations by image name. An unreadable history counts
// as empty, because only estimates depend on it.
func (s *Store) Durations() map[string]Durations {
	out := map[string]Durations{}
	entries, _ := s.readHistory()
	for name, e := range entries {
		d := Durations{Size: e.Bytes}
		for _, sec := range e.Seconds {
			if sec >= 0 && sec < 1e6 {
				d.Last = append(d.Last, time.Duration(sec*float64(time.Second)))
			}
		}
		out[name] = d
	}
	return out
}

// readHistory returns the history; a missing or damaged file is an empty one. After an error, the
// content of the file is not known, so it must not be replaced.
func (s *Store) readHistory() (map[string]historyEntry, error) {
	h := map[string]historyEntry{}
	b, err := inputfile.ReadRegular(filepath.Join(s.dir, historyFile), inputfile.MaxState)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return h, nil
	case err != nil:
		return h, err
	}
	if json.Unmarshal(b, &h) != nil || h == nil {
		return map[string]historyEntry{}, nil
	}
	return h, nil
}

// RecordDurations adds one build of each image, by image name.
func (s *Store) RecordDurations(builds map[string]Record) error {
	if len(builds) == 0 {
		return nil
	}
	lock, err := s.lock(lockHistory)
	if err != nil {
		return fmt.Errorf("recording durations: %w", err)
	}
	defer lock.Close()
	h, err := s.readHistory()
	if err != nil {
		return fmt.Errorf("recording durations: %w", err)
	}
	for name, r := range builds {
		e := h[name]
		e.Seconds = append([]float64{r.Took.Seconds()}, e.Seconds...)
		if len(e.Seconds) > keepDurations {
			e.Seconds = e.Seconds[:keepDurations]
		}
		if r.Size > 0 {
			e.Bytes = r.Size
		}
		h[name] = e
	}
	if err := s.writeRecord(historyFile, h); err != nil {
		return fmt.Errorf("recording durations: %w", err)
	}
	return nil
}
