package freshness

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/packages"
)

// state describes the mutable inputs of an image: the packages that its steps install
// and the files that they download. It is stored by content key.
type state struct {
	Image string `json:"image"` // for people who read the file

	// Salt distinguishes images with the same content key. It changes each time the
	// image is built because of a changed input; the first build has no salt.
	Salt string `json:"salt,omitempty"`

	// Namespace separates the cache mounts of the image's steps and of its descendants
	// from content that was cached before the change.
	Namespace string `json:"namespace,omitempty"`

	// Digest is the image that was compared with Sources. While both are unchanged, the
	// comparison can be skipped.
	Digest  digest.Digest `json:"digest,omitempty"`
	Sources []sourceState `json:"sources,omitempty"`

	// Offered are the versions that were the reason for the last build. A version that
	// the build did not install, because the Dockerfile pins another one, does not
	// cause another build.
	Offered map[string]string `json:"offered,omitempty"`

	// Downloads are the digests or commits of downloads, by location.
	Downloads map[string]string `json:"downloads,omitempty"`

	Used time.Time `json:"used"`
}

// sourceState is a repository with the digest of its index.
type sourceState struct {
	Repository packages.Repository `json:"repository"`
	Index      digest.Digest       `json:"index"`
}

// states are the states of a data directory, by content key.
type states struct {
	path string

	mu      sync.Mutex
	all     map[digest.Digest]state
	unsaved map[digest.Digest]state
}

const (
	// maxAge is how long a state is kept that --refresh does not use.
	maxAge = 365 * 24 * time.Hour

	// maxRead is the size of a file that is read, in bytes. Versions that had no limit wrote more
	// than inputfile.MaxState.
	maxRead = 1 << 30
)

func openStates(dataDir string) (*states, error) {
	s := &states{path: filepath.Join(dataDir, "inputs.json"), unsaved: map[digest.Digest]state{}}
	var err error
	s.all, err = s.read()
	return s, err
}

// read reads the file. A damaged file is an error: if it were ignored, images that were
// built before a repository changed would count as current.
func (s *states) read() (map[digest.Digest]state, error) {
	byDigest := map[digest.Digest]state{}
	data, err := inputfile.ReadRegular(s.path, maxRead)
	if errors.Is(err, fs.ErrNotExist) {
		return byDigest, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &byDigest)
	}
	if err != nil {
		return nil, usererr.Errorf(
			"remove the file, which records the package state that images were built from, and build once with --nocache",
			"reading the state of images' inputs: %s: %w", s.path, err)
	}
	return byDigest, nil
}

func (s *states) get(key digest.Digest) state {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.all[key]
	st.Offered, st.Downloads = maps.Clone(st.Offered), maps.Clone(st.Downloads)
	return st
}

// put changes a state; save stores it.
func (s *states) put(key digest.Digest, st state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Used = time.Now().UTC().Truncate(time.Second)
	s.all[key], s.unsaved[key] = st, st
}

// save stores the states that were put since the last save. It keeps the states of
// other keys, which another run may have stored in the meantime.
func (s *states) save() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unsaved) == 0 {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing the state of images' inputs: %w", err)
		}
	}()
	if err := atomicfile.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
		return err
	}
	lock, err := filelock.Acquire(s.path + ".lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	byDigest, err := s.read()
	if err != nil {
		return err
	}
	maps.Copy(byDigest, s.unsaved)
	for key, st := range byDigest {
		// A salt identifies the current image, so it is not removed because of its age.
		if st.Salt == "" && time.Since(st.Used) > maxAge {
			delete(byDigest, key)
		}
	}
	data, err := encode(byDigest, inputfile.MaxState)
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(s.path, data, atomicfile.Options{Durable: true}); err != nil {
		return err
	}
	clear(s.unsaved)
	return nil
}

// encode returns the file's content. If that is larger than the limit, a quarter of it is removed,
// so that the next saves have room: first states without a salt, of each kind the longest unused.
func encode(byDigest map[digest.Digest]state, limit int) ([]byte, error) {
	data, err := json.Marshal(byDigest)
	if err != nil || len(data) <= limit {
		return data, err
	}
	oldest := slices.SortedFunc(maps.Keys(byDigest), func(a, b digest.Digest) int {
		x, y := byDigest[a], byDigest[b]
		if (x.Salt == "") != (y.Salt == "") {
			return strings.Compare(x.Salt, y.Salt)
		}
		return cmp.Or(x.Used.Compare(y.Used), cmp.Compare(a, b))
	})
	for size := len(data); len(oldest) > 0 && size > limit/4*3; oldest = oldest[1:] {
		entry, err := json.Marshal(map[digest.Digest]state{oldest[0]: byDigest[oldest[0]]})
		if err != nil {
			return nil, err
		}
		size -= len(entry) - 1 // the comma replaces the braces
		delete(byDigest, oldest[0])
	}
	return json.Marshal(byDigest)
}
