package packages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kolla-build/kolla-build/pkg/inspect"
)

// Reader reads what images hold. It is safe for concurrent use.
type Reader struct {
	// CacheDir keeps what layers say, by their digest; "" keeps nothing. Prune
	// removes what was of no use for long.
	CacheDir string

	mu     sync.Mutex
	layers map[v1.Hash]*layerOnce
}

// layerOnce is what a layer says, or a reading of it under way.
type layerOnce struct {
	mu   sync.Mutex
	done bool
	part inspect.Part[fact]
}

// CacheAge is how long what a layer says is kept without being asked for.
const CacheAge = 60 * 24 * time.Hour

// cacheVersion is part of cached files' names: another one is another format.
const cacheVersion = "1"

// wanted are the files that say something about packages, by the bytes that
// are read of each. * stands for anything in one part of a path.
var wanted = []struct {
	pattern []string
	max     int64
}{
	{parts("var/lib/dpkg/status"), 64 << 20},
	{parts("var/lib/dpkg/status.d/*"), 1 << 20},
	{parts("var/lib/rpm/rpmdb.sqlite"), 512 << 20},
	{parts("var/lib/rpm/rpmdb.sqlite-wal"), 128 << 20},
	{parts("var/lib/rpm/Packages"), 16},
	{parts("var/lib/rpm/Packages.db"), 16},
	{parts("usr/lib/sysimage/rpm/rpmdb.sqlite"), 512 << 20},
	{parts("usr/lib/sysimage/rpm/rpmdb.sqlite-wal"), 128 << 20},
	{parts("usr/lib/sysimage/rpm/Packages"), 16},
	{parts("usr/lib/sysimage/rpm/Packages.db"), 16},
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

func parts(pattern string) []string { return strings.Split(pattern, "/") }

// matches returns how many bytes of a path are wanted, and whether it is one
// that is wanted or may have such below it.
func matches(name string) (size int64, mayHold bool) {
	for _, w := range wanted {
		rest, ok := name, true
		for i, p := range w.pattern {
			part, more, cut := strings.Cut(rest, "/")
			if ok = match(p, part); !ok {
				break
			}
			if !cut {
				if i == len(w.pattern)-1 {
					return w.max, true
				}
				mayHold = true
				break
			}
			rest = more
		}
	}
	return 0, mayHold || name == ""
}

func match(pattern, name string) bool {
	if !strings.Contains(pattern, "*") {
		return pattern == name
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// fact is what one file says.
type fact struct {
	Packages []Package `json:"packages,omitempty"`
	Text     string    `json:"text,omitempty"`
	Problem  string    `json:"problem,omitempty"` // why it cannot be read
}

// Contents are the packages of an image and the files that say where more come
// from.
type Contents struct {
	Packages []Package         // sorted
	Files    map[string]string // configuration of package managers and os-release, by path
	// Problems name what could not be read, such as a database of an unknown
	// format: Packages lacks what is in it.
	Problems []string
}

// Installed returns the packages that an image holds, sorted by type and name.
// A package database that cannot be read is an error.
func (r *Reader) Installed(ctx context.Context, img v1.Image) ([]Package, error) {
	c, err := r.Read(ctx, img)
	if err == nil && len(c.Problems) > 0 {
		err = errors.New("reading packages: " + c.Problems[0])
	}
	if err != nil {
		return nil, err
	}
	return c.Packages, nil
}

// Read returns all that an image says about packages.
func (r *Reader) Read(ctx context.Context, img v1.Image) (*Contents, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("reading packages: %w", err)
	}
	all := make([]inspect.Part[fact], len(layers))
	for i, l := range layers {
		if all[i], err = r.layer(ctx, l); err != nil {
			return nil, fmt.Errorf("reading packages: layer %d of %d: %w", i+1, len(layers), err)
		}
	}
	out := &Contents{Files: map[string]string{}}
	for name, f := range inspect.MergeParts(all) {
		out.Packages = append(out.Packages, f.Packages...)
		if f.Text != "" {
			out.Files[name] = f.Text
		}
		if f.Problem != "" {
			out.Problems = append(out.Problems, name+": "+f.Problem)
		}
	}
	slices.SortFunc(out.Packages, compare)
	// A database below two names, one a link to the other's directory.
	out.Packages = slices.Compact(out.Packages)
	slices.Sort(out.Problems)
	return out, nil
}

// layer returns what a layer says. Images of a set share layers: each is read
// once, by whoever comes first.
func (r *Reader) layer(ctx context.Context, l v1.Layer) (inspect.Part[fact], error) {
	d, err := l.Digest()
	if err != nil {
		return readFacts(ctx, l)
	}
	r.mu.Lock()
	if r.layers == nil {
		r.layers = map[v1.Hash]*layerOnce{}
	}
	o := r.layers[d]
	if o == nil {
		o = &layerOnce{}
		r.layers[d] = o
	}
	r.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		return o.part, nil
	}
	file := filepath.Join(r.CacheDir, fmt.Sprintf("%s.%s.json", d.Hex, cacheVersion))
	ok := false
	if r.CacheDir != "" {
		o.part, ok = readCached(file)
	}
	if !ok {
		if o.part, err = readFacts(ctx, l); err != nil {
			return o.part, err
		}
		if r.CacheDir != "" {
			writeCached(file, o.part)
		}
	}
	o.done = true
	return o.part, nil
}

func readFacts(ctx context.Context, l v1.Layer) (inspect.Part[fact], error) {
	one, files, err := inspect.ReadLayer(ctx, l, inspect.Options{Want: func(p string) int64 { n, _ := matches(p); return n }})
	if err != nil {
		return inspect.Part[fact]{}, err
	}
	return inspect.MakePart(one, factsOf(files), func(p string) bool { _, may := matches(p); return may }), nil
}

func factsOf(files map[string]inspect.Content) map[string]fact {
	out := map[string]fact{}
	for name, c := range files {
		dir, base := path.Split(name)
		var f fact
		var err error
		switch {
		case base == "rpmdb.sqlite-wal":
			continue // read with its database
		case base == "rpmdb.sqlite":
			f.Packages, err = parseRPMDB(c.Data, files[dir+"rpmdb.sqlite-wal"].Data)
		case base == "Packages" || base == "Packages.db":
			if c.Size > 0 {
				err = ErrOldRPMDB
			}
		case name == "var/lib/dpkg/status" || dir == "var/lib/dpkg/status.d/" && !strings.HasSuffix(base, ".md5sums"):
			f.Packages = parseDpkg(c.Data)
		case base == "METADATA" || base == "PKG-INFO":
			f.Packages = parsePython(c.Data)
		default:
			f.Text = string(c.Data)
		}
		if n, _ := matches(name); err == nil && c.Size > n && base != "METADATA" && base != "PKG-INFO" {
			err = fmt.Errorf("it is larger than %d bytes", n)
		}
		if err != nil {
			f = fact{Problem: err.Error()}
		}
		out[name] = f
	}
	return out
}

func readCached(file string) (p inspect.Part[fact], ok bool) {
	data, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(data, &p) != nil {
		return inspect.Part[fact]{}, false
	}
	now := time.Now()
	_ = os.Chtimes(file, now, now) // it was of use; see Prune
	return p, true
}

// writeCached keeps what a layer says. It can be read again from the layer, so
// that a full disk costs time and nothing else.
func writeCached(file string, p inspect.Part[fact]) {
	if data, err := json.Marshal(p); err == nil {
		replace(file, data)
	}
}

// Prune removes from a cache's directory what has been of no use for CacheAge.
func Prune(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > CacheAge {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
