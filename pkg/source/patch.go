package source

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Patches are an image's patches: what belongs into "patches/" of its build
// context. The directory belongs there even when it is empty.
type Patches struct {
	Files []PatchFile // "series" first, then the patches in its order
	// Missing are lines of the series file that name no file beside it. Kolla's
	// kolla_patch fails on them when the image is built.
	Missing []MissingPatch
}

// PatchFile is a file for the build context.
type PatchFile struct {
	Name     string // in the build context: "patches/series"
	Path     string // on this machine
	Size     int64
	Modified time.Time
}

// MissingPatch is a line of a series file without its file.
type MissingPatch struct {
	Series string // the series file
	Line   int    // 1-based
	Name   string
}

// String says where the line is and what is missing.
func (m MissingPatch) String() string {
	return fmt.Sprintf("%s:%d: there is no %s beside the series file", m.Series, m.Line, m.Name)
}

// CollectPatches finds an image's patches in patchesPath/<image>: its series
// file, and those of the files named in it that exist. Lines that begin with "#"
// are comments. Patches without a series file are not used, as Kolla does.
// An empty patchesPath, or no directory for the image, gives none.
func CollectPatches(patchesPath, image string) (Patches, error) {
	var out Patches
	if patchesPath == "" {
		return out, nil
	}
	dir := filepath.Join(patchesPath, image)
	series := filepath.Join(dir, "series")
	info, err := os.Stat(series)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.Mode().IsRegular()) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("reading patches: %w", err)
	}
	out.Files = append(out.Files, PatchFile{Name: "patches/series", Path: series, Size: info.Size(), Modified: info.ModTime()})
	f, err := os.Open(series)
	if err != nil {
		return out, fmt.Errorf("reading patches: %w", err)
	}
	defer f.Close()
	seen := map[string]bool{"series": true}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		name := strings.TrimSpace(lines.Text())
		if name == "" || seen[path.Clean(name)] {
			continue
		}
		if !filepath.IsLocal(name) {
			return Patches{}, fmt.Errorf("%s:%d: patch %q lies outside of the series file's directory", series, n, name)
		}
		name = path.Clean(name)
		seen[name] = true
		file := filepath.Join(dir, filepath.FromSlash(name))
		info, err := os.Stat(file)
		if err != nil || !info.Mode().IsRegular() {
			out.Missing = append(out.Missing, MissingPatch{Series: series, Line: n, Name: name})
			continue
		}
		out.Files = append(out.Files, PatchFile{Name: "patches/" + name, Path: file, Size: info.Size(), Modified: info.ModTime()})
	}
	if err := lines.Err(); err != nil {
		return Patches{}, fmt.Errorf("reading %s: %w", series, err)
	}
	return out, nil
}
