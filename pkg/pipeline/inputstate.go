package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/packages"
	digest "github.com/opencontainers/go-digest"
)

// inputState is what is remembered of an image's inputs that its Dockerfile
// does not hold: the packages that its steps install and the files that they
// download. It belongs to a content key, the one that is made of the Dockerfile
// and its context alone: another Dockerfile starts anew.
type inputState struct {
	Image string `json:"image"` // for people

	// Salt sets images of one content key apart: it changes each time that the
	// image is built anew because such an input moved. Empty for the first.
	Salt string `json:"salt,omitempty"`

	// Namespace sets the cache mounts of the image's steps, and of those of its
	// descendants, apart from what package managers cached before the move.
	Namespace string `json:"namespace,omitempty"`

	// Digest is the image that was compared with Sources. While it and they are
	// the same there is nothing to look at.
	Digest  digest.Digest `json:"digest,omitempty"`
	Sources []sourceState `json:"sources,omitempty"`

	// Offered are the versions for whose sake the image was built. What a build
	// does not install then, because its Dockerfile pins another version, is not
	// tried every night.
	Offered map[string]string `json:"offered,omitempty"`

	// Downloads are what ADD instructions' locations named, by location.
	Downloads map[string]string `json:"downloads,omitempty"`

	Used time.Time `json:"used"`
}

// sourceState is a repository and the state in which it was last seen.
type sourceState struct {
	Repository packages.Repository `json:"repository"`
	Index      string              `json:"index"`
}

// inputStates are those of a data directory, by content key.
type inputStates struct {
	path string

	mu    sync.Mutex
	all   map[digest.Digest]inputState
	dirty map[digest.Digest]inputState // not yet in the file
}

// stateAge is how long a state that --refresh has not looked at is remembered.
const stateAge = 365 * 24 * time.Hour

func openInputStates(cfg *config.Config) (*inputStates, error) {
	s := &inputStates{path: filepath.Join(cfg.DataDir, "inputs.json"), dirty: map[digest.Digest]inputState{}}
	var err error
	s.all, err = s.read()
	return s, err
}

// read reads the file. One that is damaged is an error: without it, images
// would be taken for current that were built before a repository moved.
func (s *inputStates) read() (map[digest.Digest]inputState, error) {
	all := map[digest.Digest]inputState{}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		return nil, &HintError{fmt.Errorf("reading the state of images' inputs: %s: %w", s.path, err),
			"remove the file, and build once with --nocache: it says which package state images were built from"}
	}
	return all, nil
}

func (s *inputStates) get(key digest.Digest) inputState {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.all[key]
	st.Offered, st.Downloads = maps.Clone(st.Offered), maps.Clone(st.Downloads)
	return st
}

// put remembers a state; save writes it.
func (s *inputStates) put(key digest.Digest, st inputState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Used = time.Now().UTC().Truncate(time.Second)
	s.all[key], s.dirty[key] = st, st
}

// save writes what was put since the last save. Another run may have written in
// the meantime: what it says of other keys stays.
func (s *inputStates) save() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.dirty) == 0 {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
		return fmt.Errorf("writing the state of images' inputs: %w", err)
	}
	lock := flock.New(s.path + ".lock")
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("writing the state of images' inputs: %w", err)
	}
	defer lock.Unlock() //nolint:errcheck // closing the file unlocks it
	all, err := s.read()
	if err != nil {
		return err
	}
	maps.Copy(all, s.dirty)
	for key, st := range all {
		// A salt says which image is the current one: it is never forgotten.
		if st.Salt == "" && time.Since(st.Used) > stateAge {
			delete(all, key)
		}
	}
	data, err := json.Marshal(all)
	if err == nil {
		err = atomicfile.WriteFile(s.path, data, atomicfile.Options{Durable: true})
	}
	if err != nil {
		return fmt.Errorf("writing the state of images' inputs: %w", err)
	}
	clear(s.dirty)
	return nil
}
