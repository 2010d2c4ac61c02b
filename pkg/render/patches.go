package render

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// seriesName is the name of the list of patches of an image, as in quilt: a patch per
// line, with options of patch(1) after its name.
const seriesName = "series"

// patchOption matches the options that kolla_patch understands in a series.
var patchOption = regexp.MustCompile(`^(-p[0-9]|-R)$`)

// foldName makes the names of images comparable: dashes equal underscores.
func foldName(name string) string { return strings.ReplaceAll(name, "_", "-") }

// hasSeries reports whether a directory of --patches-path has a list of patches.
func hasSeries(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, seriesName))
	return err == nil && info.Mode().IsRegular()
}

// patchDir returns the directory of an image's patches, or "" if no directory has a series.
func patchDir(patchesPath, image string) string {
	if patchesPath == "" {
		return ""
	}
	if dir := filepath.Join(patchesPath, image); hasSeries(dir) {
		return dir
	}
	for _, name := range fileNames(patchesPath) {
		if dir := filepath.Join(patchesPath, name); foldName(name) == foldName(image) && hasSeries(dir) {
			return dir
		}
	}
	return ""
}

// Patch is a patch in the series of an image.
type Patch struct {
	Name  string // as in the series
	Place string // its line in the series, as FILE:LINE
}

// patchFiles returns the directory patches of an image's context: empty, or with the
// series in --patches-path/IMAGE and the patches in it. The second result is the valid
// patches, in the order of the series. The error describes mistakes in the series.
// Without a series, no patch is copied, as in Kolla.
func patchFiles(patchesPath, image string) ([]File, []Patch, error) {
	out := []File{{Path: "patches", Mode: fs.ModeDir | 0o755, Origin: "patches"}}
	dir := patchDir(patchesPath, image)
	if dir == "" {
		return out, nil, nil
	}
	seriesPath := filepath.Join(dir, seriesName)
	series, err := diskFile(seriesPath, "patches/series")
	if err != nil {
		return out, nil, err
	}
	out = append(out, series)
	content, err := readTextFile(context.Background(), seriesPath) // a regular file
	if err != nil {
		return out, nil, err
	}
	var patches []Patch
	var mistakes []error
	seen := map[string]bool{"patches/series": true}
	for i, line := range strings.Split(content, "\n") {
		fields := strings.Fields(line)
		if j := slices.IndexFunc(fields, func(f string) bool { return strings.HasPrefix(f, "#") }); j >= 0 {
			fields = fields[:j] // a comment
		}
		if len(fields) == 0 {
			continue
		}
		name, place := fields[0], fmt.Sprintf("%s:%d", seriesPath, i+1)
		if j := slices.IndexFunc(fields[1:], func(o string) bool { return !patchOption.MatchString(o) }); j >= 0 {
			mistakes = append(mistakes,
				fmt.Errorf("%s: the option %q of the patch %q is not -pN or -R", place, fields[j+1], name))
			continue
		}
		if !filepath.IsLocal(name) {
			mistakes = append(mistakes, fmt.Errorf("%s: the patch %q is outside of %s", place, name, dir))
			continue
		}
		at := path.Join("patches", filepath.ToSlash(name))
		if seen[at] {
			continue
		}
		seen[at] = true
		file, err := diskFile(filepath.Join(dir, name), at)
		if err != nil {
			mistakes = append(mistakes,
				usererr.Errorf(suggest.DidYouMean(name, fileNames(dir)), "%s: the patch %q is not in %s", place, name, dir))
			continue
		}
		patches = append(patches, Patch{Name: name, Place: place})
		for d := path.Dir(at); d != "patches"; d = path.Dir(d) {
			if !seen[d] {
				seen[d] = true
				out = append(out, File{Path: d, Mode: fs.ModeDir | 0o755, Origin: dir})
			}
		}
		out = append(out, file)
	}
	return out, patches, errors.Join(mistakes...)
}

// CheckPatchesPath returns an error if --patches-path is set and is not a directory, because
// then images would not be patched.
func CheckPatchesPath(cfg *config.Config) error {
	if cfg.PatchesPath == "" {
		return nil
	}
	st, err := os.Stat(cfg.PatchesPath)
	if err == nil && !st.IsDir() {
		err = syscall.ENOTDIR
	}
	if err == nil {
		return nil
	}
	hint := cmp.Or(cfg.RelativeHint("patches-path"), "the directory contains a subdirectory for each image with patches")
	err = usererr.Errorf(hint, "patches directory %s: %w", cfg.PatchesPath, inputfile.WithoutPath(err))
	return cfg.UsageIfUnreadable("patches-path", err)
}

// CheckPatches returns an error if patches in patchesPath would not be applied: those of a
// series that belongs to no image, and those of a second series of an image.
func CheckPatches(patchesPath string, images []string) error {
	known := map[string]bool{}
	for _, name := range images {
		known[foldName(name)] = true
	}
	seriesOf := map[string]string{}
	for _, name := range fileNames(patchesPath) {
		series := filepath.Join(patchesPath, name, seriesName)
		if !hasSeries(filepath.Join(patchesPath, name)) {
			continue
		}
		image := foldName(name)
		if first := seriesOf[image]; first != "" {
			return usererr.Errorf("join the two directories", "%s: %s is for the same image: its patches would not be applied",
				series, first)
		}
		seriesOf[image] = series
		if known[image] {
			continue
		}
		hint := suggest.DidYouMean(name, images)
		if hint == "" {
			hint = "the directories in --patches-path have the names of images"
		}
		return usererr.Errorf(hint, "%s: no image %q: its patches would not be applied", series, name)
	}
	return nil
}

// PatchesWithoutSeries returns the directories of images in patchesPath that contain patches
// but no series, so that none is applied, as in Kolla.
func PatchesWithoutSeries(patchesPath string, images []string) []string {
	var dirs []string
	for _, image := range images {
		dir := filepath.Join(patchesPath, image)
		if patchesPath == "" || hasSeries(dir) {
			continue
		}
		isPatch := func(name string) bool { return strings.HasSuffix(name, ".patch") || strings.HasSuffix(name, ".diff") }
		if slices.ContainsFunc(fileNames(dir), isPatch) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// HasPatches reports whether an image has a series of patches.
func HasPatches(patchesPath, image string) bool { return patchDir(patchesPath, image) != "" }

func fileNames(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
