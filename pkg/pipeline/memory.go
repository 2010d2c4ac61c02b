package pipeline

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// memory is what the plan wants to know of earlier runs beyond the store: what
// each image's key was made of. It explains; losing it loses no image.
type memory struct {
	mu      sync.Mutex
	path    string
	scope   string                       // what else an image's name depends on
	parts   map[string]map[string]string // of earlier runs
	learned map[string]map[string]string // of this one
}

func openMemory(cfg *config.Config) *memory {
	m := &memory{
		path:    filepath.Join(cfg.DataDir, "parts.json"),
		scope:   cfg.Base + "/" + cfg.InstallType + "/" + cfg.BaseArch + "/",
		parts:   map[string]map[string]string{},
		learned: map[string]map[string]string{},
	}
	if data, err := os.ReadFile(m.path); err == nil {
		_ = json.Unmarshal(data, &m.parts)
	}
	return m
}

// name is an image's name as durations and parts are remembered by: the same
// image of another distribution takes another time.
func (m *memory) name(id image.ID) string { return m.scope + id.String() }

func (m *memory) get(id image.ID) (map[string]string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.parts[m.name(id)]
	return p, ok
}

func (m *memory) put(id image.ID, parts map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.learned[m.name(id)] = maps.Clone(parts)
}

func (m *memory) save() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	// Another run may have saved since: what it learned of other images stays.
	all := map[string]map[string]string{}
	if data, err := os.ReadFile(m.path); err == nil {
		_ = json.Unmarshal(data, &all)
	}
	maps.Copy(all, m.learned)
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return writeFile(m.path, data)
}
