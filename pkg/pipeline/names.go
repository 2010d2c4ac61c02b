package pipeline

import (
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// ImageNames returns the names of the images of the configuration's template
// tree, sorted, without rendering them; none if the tree cannot be read.
func ImageNames(cfg *config.Config) []string {
	tree, err := openTree(cfg)
	if err != nil {
		return nil
	}
	defer tree.Close()
	var names []string
	for _, dir := range tree.Images() {
		names = append(names, path.Base(dir))
	}
	slices.Sort(names)
	return names
}

// StoredNames returns the short names of the images in the local store, sorted;
// none if there is no store.
func StoredNames(cfg *config.Config) []string {
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "store")); err != nil {
		return nil // opening it would make one
	}
	s, err := OpenStore(cfg)
	if err != nil {
		return nil
	}
	defer s.Close()
	entries, err := stored(s, nil, false)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, shortName(e.Name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
