package runstate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"sync"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// keyHistoryFile contains, by the scoped name of each image, the digests of the
// components of its last build's key.
const keyHistoryFile = "parts.json"

// KeyHistory holds the components of the keys of the images' last builds. It is used
// only to explain why an image is built. It is safe for concurrent use.
type KeyHistory struct {
	path, scope string

	mu    sync.Mutex
	parts map[string]map[string]string // of earlier runs
	added map[string]map[string]string // of this one
}

// OpenKeyHistory reads the history in a data directory. The scope distinguishes images
// of the same name for other distributions or architectures. An unreadable history is
// empty.
func OpenKeyHistory(dataDir, scope string) *KeyHistory {
	h := &KeyHistory{path: filepath.Join(dataDir, keyHistoryFile), scope: scope, added: map[string]map[string]string{}}
	h.parts, _ = h.read()
	return h
}

// read returns the history; a missing or damaged file is an empty one. After an error, the content
// of the file is not known, so it must not be replaced.
func (h *KeyHistory) read() (map[string]map[string]string, error) {
	parts := map[string]map[string]string{}
	data, err := inputfile.ReadRegular(h.path, inputfile.MaxState)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return parts, nil
	case err != nil:
		return parts, err
	}
	if json.Unmarshal(data, &parts) != nil || parts == nil {
		return map[string]map[string]string{}, nil
	}
	return parts, nil
}

// ScopedName returns the name of an image with the scope. It is also the key of build
// times in the store.
func (h *KeyHistory) ScopedName(id image.ID) string { return h.scope + "/" + id.String() }

// Parts returns the components of the key of an image's last build: digests by names
// that users understand.
func (h *KeyHistory) Parts(id image.ID) (map[string]string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	parts, ok := h.parts[h.ScopedName(id)]
	return parts, ok
}

// Record records the components of the key of a new image. Save stores them.
func (h *KeyHistory) Record(id image.ID, parts map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.added[h.ScopedName(id)] = maps.Clone(parts)
}

// Save stores the recorded components. It keeps those that other runs have stored since
// OpenKeyHistory.
func (h *KeyHistory) Save() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.added) == 0 {
		return nil
	}
	lock, err := filelock.Acquire(h.path + ".lock")
	if err != nil {
		return fmt.Errorf("saving the key history: %w", err)
	}
	defer lock.Close()
	histories, err := h.read()
	if err != nil {
		return fmt.Errorf("saving the key history: %w", err)
	}
	maps.Copy(histories, h.added)
	data, err := json.Marshal(histories)
	if err == nil {
		err = inputfile.CheckSize(h.path, data, inputfile.MaxState)
	}
	if err == nil {
		err = atomicfile.WriteFile(h.path, data, atomicfile.Options{})
	}
	if err != nil {
		return fmt.Errorf("saving the key history: %w", err)
	}
	return nil
}
