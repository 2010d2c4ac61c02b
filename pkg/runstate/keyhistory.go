package runstate

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// keyHistoryFile has, by the scoped name of each image, the digests that the key
// of its last build was made of.
const keyHistoryFile = "parts.json"

// KeyHistory is what the keys of images were made of when they were last built.
// It explains why an image is built; without it no image is lost. It is safe for
// concurrent use.
type KeyHistory struct {
	path, scope string

	mu      sync.Mutex
	parts   map[string]map[string]string // of earlier runs
	learned map[string]map[string]string // of this one
}

// OpenKeyHistory reads the history in a data directory. The scope tells images of
// the same name apart: another distribution's or architecture's has other keys. A
// history that cannot be read is empty.
func OpenKeyHistory(dataDir, scope string) *KeyHistory {
	h := &KeyHistory{path: filepath.Join(dataDir, keyHistoryFile), scope: scope, learned: map[string]map[string]string{}}
	h.parts = h.read()
	return h
}

func (h *KeyHistory) read() map[string]map[string]string {
	parts := map[string]map[string]string{}
	if data, err := os.ReadFile(h.path); err == nil {
		_ = json.Unmarshal(data, &parts)
	}
	return parts
}

// ScopedName returns the name of an image with the scope. Build times in the
// store are kept by it, too.
func (h *KeyHistory) ScopedName(id image.ID) string { return h.scope + "/" + id.String() }

// Parts returns what the key of an image's last build was made of: digests by
// names that users understand.
func (h *KeyHistory) Parts(id image.ID) (map[string]string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	parts, ok := h.parts[h.ScopedName(id)]
	return parts, ok
}

// Record notes what the key of an image that was built now is made of. Save
// stores it.
func (h *KeyHistory) Record(id image.ID, parts map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.learned[h.ScopedName(id)] = maps.Clone(parts)
}

// Save stores what was recorded. What other runs have stored since Open stays.
func (h *KeyHistory) Save() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.learned) == 0 {
		return nil
	}
	lock, err := filelock.Acquire(h.path + ".lock")
	if err != nil {
		return fmt.Errorf("saving the key history: %w", err)
	}
	defer lock.Close()
	all := h.read()
	maps.Copy(all, h.learned)
	data, err := json.Marshal(all)
	if err == nil {
		err = atomicfile.WriteFile(h.path, data, atomicfile.Options{})
	}
	if err != nil {
		return fmt.Errorf("saving the key history: %w", err)
	}
	return nil
}
