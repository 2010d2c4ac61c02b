package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// diskFile is a file of the user's that gets a place in a tree or a context.
func diskFile(name, at string) (File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return File{}, fmt.Errorf("reading %s: %w", name, cause(err))
	}
	if !info.Mode().IsRegular() {
		return File{}, fmt.Errorf("reading %s: not a file", name)
	}
	return File{
		Path: at, Mode: 0o644, ModTime: info.ModTime(), Size: info.Size(), Origin: name,
		open: func() (io.ReadCloser, error) { return os.Open(name) },
	}, nil
}

// memoryFile is a file made by this package.
func memoryFile(at string, content []byte) File {
	return File{
		Path: at, Mode: 0o644, Size: int64(len(content)), Origin: at,
		open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}
}

// aptFiles returns the files of apt_sources_list and apt_preferences with their
// places in base/, where they replace the tree's own.
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
			return nil, fmt.Errorf("%s: %w", f.option, err)
		}
		if old, ok := t.files[f.name]; ok {
			file.Mode = old.Mode // the content is replaced, not the file
		}
		out[f.name] = file
	}
	return out, nil
}

// patchFiles returns the directory patches of an image's context: empty, or with
// the series of --patches-path/IMAGE and the patches that it names. The error
// says what is wrong with the series; what there is of the patches is returned
// beside it, as upstream takes that and leaves the rest to the build.
func patchFiles(patchesPath, image string) ([]File, error) {
	out := []File{{Path: "patches", Mode: fs.ModeDir | 0o755, Origin: "patches"}}
	if patchesPath == "" {
		return out, nil
	}
	dir := filepath.Join(patchesPath, image)
	seriesPath := filepath.Join(dir, "series")
	if info, err := os.Stat(seriesPath); err != nil || !info.Mode().IsRegular() {
		return out, nil // upstream wants no series, and copies no patch without one
	}
	series, err := diskFile(seriesPath, "patches/series")
	if err != nil {
		return out, err
	}
	out = append(out, series)
	content, err := readTextFile(seriesPath)
	if err != nil {
		return out, err
	}
	var wrong []error
	seen := map[string]bool{"patches/series": true}
	for i, line := range strings.Split(content, "\n") {
		name := strings.TrimSpace(line)
		if name == "" || strings.HasPrefix(line, "#") {
			continue
		}
		place := fmt.Sprintf("%s:%d", seriesPath, i+1)
		if !filepath.IsLocal(name) {
			wrong = append(wrong, fmt.Errorf("%s: the patch %q lies outside of %s", place, name, dir))
			continue
		}
		at := path.Join("patches", filepath.ToSlash(name))
		if seen[at] {
			continue
		}
		seen[at] = true
		file, err := diskFile(filepath.Join(dir, name), at)
		if err != nil {
			s := fmt.Sprintf("%s: the patch %q is not in %s", place, name, dir)
			if hint := didYouMean(name, fileNames(dir)); hint != "" {
				s += " (" + hint + ")"
			}
			wrong = append(wrong, errors.New(s))
			continue
		}
		for d := path.Dir(at); d != "patches"; d = path.Dir(d) {
			if !seen[d] {
				seen[d] = true
				out = append(out, File{Path: d, Mode: fs.ModeDir | 0o755, Origin: dir})
			}
		}
		out = append(out, file)
	}
	return out, errors.Join(wrong...)
}

func fileNames(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
