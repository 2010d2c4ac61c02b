package render

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// diskFile returns a file on disk as a file of a tree or a context.
func diskFile(name, at string) (File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return File{}, fmt.Errorf("reading %s: %w", name, inputfile.WithoutPath(err))
	}
	if info.IsDir() {
		return File{}, fmt.Errorf("reading %s: %w", name, syscall.EISDIR)
	}
	if !info.Mode().IsRegular() {
		return File{}, fmt.Errorf("reading %s: not a file", name)
	}
	return File{
		Path: at, Mode: 0o644, ModTime: info.ModTime(), Size: info.Size(), Origin: name,
		open: func() (io.ReadCloser, error) { return os.Open(name) },
	}, nil
}

// memoryFile returns a generated file.
func memoryFile(at string, content []byte) File {
	return File{
		Path: at, Mode: 0o644, Size: int64(len(content)), Origin: at,
		open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}
}

// aptFiles returns the files of apt_sources_list and apt_preferences by their paths in
// base/, where they replace those of the tree.
func aptFiles(t *Tree, c *config.Config) (map[string]File, error) {
	out := map[string]File{}
	for _, f := range []struct{ option, from, name string }{
		{"apt_sources_list", c.AptSourcesList, "base/sources.list"},
		{"apt_preferences", c.AptPreferences, "base/apt_preferences"},
	} {
		if f.from == "" {
			continue
		}
		if dir, ok := t.files["base"]; !ok || !dir.IsDir() {
			return nil, fmt.Errorf("%s: the template tree has no directory base to put the file in", f.option)
		}
		file, err := diskFile(f.from, f.name)
		if err != nil {
			return nil, c.UsageIfUnreadable(f.option, fmt.Errorf("%s: %w", f.option, err))
		}
		if old, ok := t.files[f.name]; ok {
			file.Mode = old.Mode // only the content is replaced
		}
		out[f.name] = file
	}
	return out, nil
}
