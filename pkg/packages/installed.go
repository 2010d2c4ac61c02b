package packages

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/rpmdb"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/inspect"
	"github.com/opencontainers/go-digest"
)

// Reader reads the packages of images. It is safe for concurrent use.
type Reader struct {
	// CacheDir caches results by the digest of the layer; "" disables the cache.
	// Prune removes entries that are no longer used.
	CacheDir string
	// ReadOnly leaves the cache unchanged.
	ReadOnly bool

	mu     sync.Mutex
	layers map[digest.Digest]*layerResult
	kept   int // bytes that the results in layers take in memory
}

// layerResult is the result for a layer. mu is held while the layer is read.
type layerResult struct {
	mu   sync.Mutex
	done bool
	part inspect.Part[fileFacts]
}

// cacheAge is how long an unused cache entry is kept.
const cacheAge = 60 * 24 * time.Hour

// cacheVersion is part of the names of cache entries. It changes with their content.
const cacheVersion = "3"

// Limits for rpm databases. Those of images are below 50 MB.
const (
	maxRPMDB  = 160 << 20
	maxRPMLog = 64 << 20
)

// Limits for what files list. Images have a tenth of it.
const (
	maxInstalled = 500_000      // in one file of dpkg
	maxFacts     = 16 << 20     // bytes that the facts in an image, or in a layer, take in memory
	maxUnmerged  = maxFacts / 4 // bytes of layers that wait to be merged
	maxKept      = maxFacts     // bytes of all layers that a Reader keeps
)

// wantedFiles are the files with information about packages, and the limit in
// bytes for each. A * matches anything in one element of a path.
var wantedFiles = []struct {
	pattern []string
	max     int64
}{
	{parts("var/lib/dpkg/status"), 32 << 20},
	{parts("var/lib/dpkg/status.d/*"), 1 << 20},
	{parts("var/lib/rpm/rpmdb.sqlite"), maxRPMDB},
	{parts("var/lib/rpm/rpmdb.sqlite-wal"), maxRPMLog},
	{parts("var/lib/rpm/Packages.db"), maxRPMDB},
	{parts("var/lib/rpm/Packages"), maxRPMDB},
	{parts("usr/lib/sysimage/rpm/rpmdb.sqlite"), maxRPMDB},
	{parts("usr/lib/sysimage/rpm/rpmdb.sqlite-wal"), maxRPMLog},
	{parts("usr/lib/sysimage/rpm/Packages.db"), maxRPMDB},
	{parts("usr/lib/sysimage/rpm/Packages"), maxRPMDB},
	{parts("var/lib/kolla/venv/lib*/python3*/site-packages/*.dist-info/METADATA"), 64 << 10},
	{parts("var/lib/kolla/venv/lib*/python3*/site-packages/*.egg-info/PKG-INFO"), 64 << 10},
	{parts("usr/local/lib*/python3*/*-packages/*.dist-info/METADATA"), 64 << 10},
	{parts("usr/local/lib*/python3*/*-packages/*.egg-info/PKG-INFO"), 64 << 10},
	{parts("etc/os-release"), 64 << 10},
	{parts("usr/lib/os-release"), 64 << 10},
	{parts("etc/apt/sources.list"), 1 << 20},
	{parts("etc/apt/sources.list.d/*"), 1 << 20},
	{parts("etc/apt/preferences"), 1 << 20},
	{parts("etc/apt/preferences.d/*"), 1 << 20},
	{parts("etc/yum.repos.d/*.repo"), 1 << 20},
	{parts("etc/yum/vars/*"), 4 << 10},
	{parts("etc/dnf/vars/*"), 4 << 10},
	{parts("etc/dnf/dnf.conf"), 1 << 20},
}

// parseRPMDB returns the packages in an rpm database of any format.
func parseRPMDB(file, log []byte) ([]Package, error) {
	list, err := rpmdb.Read(file, log)
	out := make([]Package, len(list))
	for i, p := range list {
		out[i] = Package{RPM, p.Name, p.Version, p.Arch}
	}
	return out, err
}

func parts(pattern string) []string { return strings.Split(pattern, "/") }

// matchWanted returns the limit of a wanted file, or 0, and whether the path is
// that of a wanted file or of a directory that may contain one.
func matchWanted(name string) (limit int64, relevant bool) {
	for _, w := range wantedFiles {
		rest := name
		for i, p := range w.pattern {
			part, more, cut := strings.Cut(rest, "/")
			if !matchElement(p, part) {
				break
			}
			if !cut {
				if i == len(w.pattern)-1 {
					return w.max, true
				}
				relevant = true
				break
			}
			rest = more
		}
	}
	return 0, relevant || name == ""
}

func matchElement(pattern, name string) bool {
	if !strings.Contains(pattern, "*") {
		return pattern == name
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// fileFacts is the information in one file.
type fileFacts struct {
	Packages []Package `json:"packages,omitempty"`
	Text     string    `json:"text,omitempty"`
	Problem  string    `json:"problem,omitempty"` // why the file cannot be read
}

// size returns about how many bytes the facts take in memory.
func (f fileFacts) size() int {
	n := 200 + len(f.Text) + len(f.Problem) // with its path
	for _, p := range f.Packages {
		n += 64 + len(p.Name) + len(p.Version) + len(p.Arch)
	}
	return n
}

// Contents are the packages of an image and its configuration of repositories.
type Contents struct {
	Packages []Package         // sorted
	Files    map[string]string // configuration of package managers and os-release, by path
	// Problems describe files that could not be read, such as a database in an
	// unknown format. Packages lacks their content.
	Problems []string
}

// Read returns the packages and the repository configuration of an image.
func (r *Reader) Read(ctx context.Context, img v1.Image) (*Contents, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("reading packages: %w", err)
	}
	files, err := r.merged(ctx, layers)
	if err != nil {
		return nil, err
	}
	dropOldRPMDB(files)
	out := &Contents{Files: map[string]string{}}
	for name, f := range files {
		out.Packages = append(out.Packages, f.Packages...)
		if f.Text != "" {
			out.Files[name] = f.Text
		}
		if f.Problem != "" {
			out.Problems = append(out.Problems, name+": "+f.Problem)
		}
	}
	slices.SortFunc(out.Packages, compare)
	// A database may have two names, if its directory is a link to another.
	out.Packages = slices.Compact(out.Packages)
	slices.Sort(out.Problems)
	return out, nil
}

// merged returns the facts in the layers of an image, without those that upper layers replace or
// remove: only what is left counts.
func (r *Reader) merged(ctx context.Context, layers []v1.Layer) (map[string]fileFacts, error) {
	var parts []inspect.Part[fileFacts]
	var files map[string]fileFacts
	unmerged := 0
	for i, l := range layers {
		part, err := r.layer(ctx, l)
		if err == nil {
			parts = append(parts, part)
			if unmerged += partSize(part); unmerged < maxUnmerged && i < len(layers)-1 {
				continue
			}
			// Merging after each layer would take quadratic time.
			files = inspect.MergeParts(parts)
			parts, unmerged = []inspect.Part[fileFacts]{{Files: files}}, 0
			if partSize(parts[0]) > maxFacts {
				err = fmt.Errorf("with the layers before, its lists of packages take more than %s", units.Bytes(maxFacts))
			}
		}
		if err != nil {
			return nil, fmt.Errorf("reading packages: layer %d of %d: %w", i+1, len(layers), err)
		}
	}
	return files, nil
}

// partSize returns about how many bytes a part takes in memory.
func partSize(p inspect.Part[fileFacts]) int {
	n := 0
	for _, f := range p.Files {
		n += f.size()
	}
	for _, paths := range [][]string{p.Removed, p.Opaque, p.Other} {
		for _, path := range paths {
			n += 50 + len(path)
		}
	}
	return n
}

// dropOldRPMDB removes databases in older formats from a directory that has one in
// a newer format: rpm --rebuilddb leaves them.
func dropOldRPMDB(files map[string]fileFacts) {
	names := []string{"rpmdb.sqlite", "Packages.db", "Packages"}
	for _, dir := range []string{"var/lib/rpm/", "usr/lib/sysimage/rpm/"} {
		found := false
		for _, name := range names {
			if found {
				delete(files, dir+name)
			} else if _, ok := files[dir+name]; ok {
				found = true
			}
		}
	}
}

// layer returns the facts in a layer. Images of a set share layers: each is read
// once, unless the results take too much memory.
func (r *Reader) layer(ctx context.Context, l v1.Layer) (inspect.Part[fileFacts], error) {
	hash, err := l.Digest()
	if err != nil {
		return readFacts(ctx, l)
	}
	d := digest.Digest(hash.String())
	r.mu.Lock()
	if r.layers == nil {
		r.layers = map[digest.Digest]*layerResult{}
	}
	result := r.layers[d]
	if result == nil {
		result = &layerResult{}
		r.layers[d] = result
	}
	r.mu.Unlock()
	result.mu.Lock()
	defer result.mu.Unlock()
	if result.done {
		return result.part, nil
	}
	file := filepath.Join(r.CacheDir, fmt.Sprintf("%s.%s.json", d.Encoded(), cacheVersion))
	var part inspect.Part[fileFacts]
	cached := false
	if r.CacheDir != "" {
		part, cached = readCached(file)
	}
	if cached && !r.ReadOnly {
		touch(file)
	}
	if !cached {
		if part, err = readFacts(ctx, l); err != nil {
			return part, err
		}
		if r.CacheDir != "" && !r.ReadOnly {
			writeCached(file, part)
		}
	}
	size := partSize(part)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept+size <= maxKept {
		r.kept += size
		result.part, result.done = part, true
	}
	return part, nil
}

// largeFiles is held while the large files of a layer are in memory: those of several layers would take
// a gigabyte.
var largeFiles sync.Mutex

func readFacts(ctx context.Context, l v1.Layer) (inspect.Part[fileFacts], error) {
	locked := false
	layer, facts, err := layerFacts(ctx, l, func() {
		if !locked {
			largeFiles.Lock()
			locked = true
		}
	})
	if locked {
		runtime.GC() // frees the files before others are read
		largeFiles.Unlock()
	}
	if err != nil {
		return inspect.Part[fileFacts]{}, err
	}
	return inspect.MakePart(layer, facts, func(p string) bool {
		_, relevant := matchWanted(p)
		return relevant
	}), nil
}

// layerFacts reads a layer and calls large before it reads a large file.
func layerFacts(ctx context.Context, l v1.Layer, large func()) (*inspect.Layer, map[string]fileFacts, error) {
	layer, files, err := inspect.ReadLayer(ctx, l, inspect.Options{
		Want:  func(p string) int64 { limit, _ := matchWanted(p); return limit },
		Large: large,
	})
	if err != nil {
		return nil, nil, err
	}
	return layer, factsOf(files), nil
}

func factsOf(files map[string]inspect.Content) map[string]fileFacts {
	out := map[string]fileFacts{}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(files)) {
		c := files[name]
		dir, base := path.Split(name)
		var f fileFacts
		var err error
		switch {
		case base == "rpmdb.sqlite-wal":
			continue // read with its database
		case base == "rpmdb.sqlite":
			f.Packages, err = parseRPMDB(c.Data, files[dir+"rpmdb.sqlite-wal"].Data)
		case base == "Packages" || base == "Packages.db":
			f.Packages, err = parseRPMDB(c.Data, nil)
		case name == "var/lib/dpkg/status" || dir == "var/lib/dpkg/status.d/" && !strings.HasSuffix(base, ".md5sums"):
			f.Packages, err = parseDpkg(c.Data)
		case base == "METADATA" || base == "PKG-INFO":
			f.Packages = parsePython(c.Data)
		default:
			f.Text = string(c.Data)
		}
		if limit, _ := matchWanted(name); c.Size > limit && base != "METADATA" && base != "PKG-INFO" {
			err = fmt.Errorf("larger than %s", units.Bytes(limit))
		}
		if n := f.size(); err == nil && size+n > maxFacts {
			err = fmt.Errorf("with other files, more than %s", units.Bytes(maxFacts))
		} else if err == nil {
			size += n
		}
		if err != nil {
			f = fileFacts{Problem: err.Error()}
		}
		out[name] = f
	}
	return out
}

func readCached(file string) (p inspect.Part[fileFacts], ok bool) {
	data, err := inputfile.ReadRegular(file, inputfile.MaxState)
	if err != nil || json.Unmarshal(data, &p) != nil {
		return inspect.Part[fileFacts]{}, false
	}
	return p, true
}

// writeCached caches the facts in a layer. Errors are ignored: without the cache,
// the layer is read again.
func writeCached(file string, p inspect.Part[fileFacts]) {
	if data, err := json.Marshal(p); err == nil && inputfile.CheckSize(file, data, inputfile.MaxState) == nil {
		writeCacheFile(file, data)
	}
}

// Prune removes cache entries that were not used for 60 days.
func Prune(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > cacheAge {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
