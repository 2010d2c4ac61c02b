package store

import (
	"fmt"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/compress"
)

// compressedFile contains the compressed forms of layers, by compressor version and
// diff ID. It is only an optimization: without it, layers are compressed again to the
// same bytes.
const compressedFile = "compressed.json"

type compressedForms map[string]map[digest.Digest]compress.Layer

// Compressed implements compress.Store.
func (s *Store) Compressed(diffID digest.Digest, version string) (compress.Layer, bool) {
	s.formsMu.Lock()
	if s.forms == nil {
		s.forms = s.readCompressed()
	}
	l, ok := s.forms[version][diffID]
	s.formsMu.Unlock()
	return l, ok && s.HasBlob(l.Descriptor.Digest, l.Descriptor.Size)
}

// RecordCompressed implements compress.Store. SaveCompressed makes it durable.
func (s *Store) RecordCompressed(diffID digest.Digest, version string, l compress.Layer) error {
	s.formsMu.Lock()
	defer s.formsMu.Unlock()
	if s.forms == nil {
		s.forms = s.readCompressed()
	}
	if s.forms[version] == nil {
		s.forms[version] = map[digest.Digest]compress.Layer{}
	}
	s.forms[version][diffID] = l
	s.formsChanged = true
	return nil
}

// SaveCompressed writes the recorded forms to the disk, and drops those that the store
// no longer has.
func (s *Store) SaveCompressed() error {
	s.formsMu.Lock()
	defer s.formsMu.Unlock()
	if !s.formsChanged {
		return nil
	}
	lock, err := s.lock(lockForms)
	if err != nil {
		return fmt.Errorf("recording compressed layers: %w", err)
	}
	defer lock.Close()
	forms := s.readCompressed() // other processes may have written since
	for version, layers := range s.forms {
		if forms[version] == nil {
			forms[version] = map[digest.Digest]compress.Layer{}
		}
		for diffID, l := range layers {
			forms[version][diffID] = l
		}
	}
	for version, layers := range forms {
		for diffID, l := range layers {
			if st, err := os.Stat(s.blobPath(l.Descriptor.Digest)); err != nil || st.Size() != l.Descriptor.Size {
				delete(layers, diffID)
			}
		}
		if len(layers) == 0 {
			delete(forms, version)
		}
	}
	if err := s.writeRecord(compressedFile, forms); err != nil {
		return fmt.Errorf("recording compressed layers: %w", err)
	}
	s.forms, s.formsChanged = forms, false
	return nil
}

// readCompressed reads the file. A missing or damaged file is empty.
func (s *Store) readCompressed() compressedForms {
	forms := readRecord[compressedForms](s, compressedFile)
	if forms == nil {
		forms = compressedForms{}
	}
	for _, layers := range forms {
		for diffID, l := range layers {
			if diffID.Validate() != nil || l.DiffID.Validate() != nil || l.Descriptor.Digest.Validate() != nil {
				delete(layers, diffID)
			}
		}
	}
	return forms
}
