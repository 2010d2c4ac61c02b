package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// Records are only an optimization: without one, the work is repeated.

// writeRecord replaces a record. It does nothing if the store was removed in the
// meantime.
func (s *Store) writeRecord(name string, content any) error {
	path := filepath.Join(s.dir, name)
	b, err := json.Marshal(content)
	if b = append(b, '\n'); err == nil {
		err = inputfile.CheckSize(path, b, inputfile.MaxState)
	}
	if err == nil {
		err = s.replace(path, b)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// readRecord reads a record. A missing or damaged one is the zero value.
func readRecord[T any](s *Store, name string) T {
	var content, zero T
	b, err := inputfile.ReadRegular(filepath.Join(s.dir, name), inputfile.MaxState)
	if err != nil || json.Unmarshal(b, &content) != nil {
		return zero
	}
	return content
}
