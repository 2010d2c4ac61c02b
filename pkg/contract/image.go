package contract

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kolla-build/kolla-build/pkg/inspect"
)

// maxLinks is how many symbolic links Linux follows in a path.
const maxLinks = 40

// imageView is an image as a container sees it.
type imageView struct {
	Name string // without registry, prefix and tag

	config v1.Config
	tree   *inspect.Tree
	layers []*layerInfo
	dirs   map[string][]string // the names in each directory
	env    map[string]string
	users  map[string]account
	groups map[string]group
	user   account // the user of the container

	searchPath []string
	libraries  map[libraryKey]string // found libraries
	linked     map[string]error      // programs whose libraries were searched
	linkerPath []string              // directories of libraries; nil before the first search
	steps      int                   // of all searches for libraries
	pyPath     []string
}

type account struct {
	name          string
	uid, gid      int
	supplementary []int
}

type group struct {
	gid     int
	members []string
}

// Open reads an image. name is its name in rows.
func (r *reader) Open(ctx context.Context, name string, content v1.Image) (*imageView, error) {
	conf, err := content.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the configuration of %s: %w", name, err)
	}
	layers, err := content.Layers()
	if err != nil {
		return nil, fmt.Errorf("reading the layers of %s: %w", name, err)
	}
	im := &imageView{Name: name, config: conf.Config, env: map[string]string{}, dirs: map[string][]string{},
		libraries: map[libraryKey]string{}, linked: map[string]error{}}
	var merged []*inspect.Layer
	var usage imageUsage
	for _, l := range layers {
		info, err := r.layer(ctx, l, &usage)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		im.layers = append(im.layers, info)
		merged = append(merged, info.layer)
	}
	im.tree = inspect.Merge(merged)
	for p := range im.tree.All() {
		im.index(p)
	}
	for dir := range im.dirs {
		slices.Sort(im.dirs[dir])
		im.dirs[dir] = slices.Compact(im.dirs[dir])
	}
	for _, kv := range im.config.Env {
		k, v, _ := strings.Cut(kv, "=")
		im.env[k] = v
	}
	im.searchPath = directories(im.env["PATH"])
	if im.env["PATH"] == "" {
		im.searchPath = strings.Split("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ":")
	}
	im.readAccounts()
	return im, nil
}

// index adds a path to the directories, including parents that are not in any layer.
func (im *imageView) index(p string) {
	for p != "" {
		dir, base := "", p
		if i := strings.LastIndexByte(p, '/'); i >= 0 {
			dir, base = p[:i], p[i+1:]
		}
		_, known := im.dirs[dir]
		im.dirs[dir] = append(im.dirs[dir], base)
		if _, listed := im.tree.Lookup(dir); listed || known {
			return
		}
		p = dir
	}
}

// lookup follows a path, which is absolute, and returns the real one without a leading
// slash. failure is why the path cannot be followed, "" if it exists.
func (im *imageView) lookup(name string) (real string, entry inspect.Found, failure string) {
	todo := strings.Split(path.Clean("/" + name)[1:], "/")
	links := 0
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			real = path.Dir("/" + real)[1:]
			continue
		}
		next := strings.TrimPrefix(real+"/"+part, "/")
		found, ok := im.tree.Lookup(next)
		if !ok {
			if _, implied := im.dirs[next]; !implied {
				return next, inspect.Found{}, "/" + next + " does not exist"
			}
			found = inspect.Found{Entry: inspect.Entry{Path: next, Type: inspect.Dir, Mode: 0o755}}
		}
		switch {
		case found.Type == inspect.Symlink:
			if links++; links > maxLinks {
				return next, inspect.Found{}, "/" + next + ": too many symbolic links"
			}
			if strings.HasPrefix(found.Link, "/") {
				real = ""
			}
			todo = append(strings.Split(found.Link, "/"), todo...)
			if len(todo) > maxLinks*1024 {
				return next, inspect.Found{}, "/" + next + ": too many symbolic links"
			}
			continue
		case found.Type != inspect.Dir && len(todo) > 0:
			return next, inspect.Found{}, "/" + next + " is not a directory"
		}
		real, entry = next, found
	}
	if real == "" {
		entry.Type, entry.Mode = inspect.Dir, 0o755
	}
	return real, entry, ""
}

// canMake reports whether a directory exists or can be created.
func (im *imageView) canMake(name string) (bool, string) {
	_, e, failure := im.lookup(name)
	if failure == "" {
		if e.Type != inspect.Dir {
			return false, name + " is not a directory"
		}
		return true, ""
	}
	return strings.HasSuffix(failure, "does not exist"), failure
}

// info returns what is known about the content of a file.
func (im *imageView) info(e inspect.Found) fileInfo {
	l, p := im.layers[e.Layer], e.Path
	for range maxLinks {
		if f, ok := l.files[p]; ok {
			return f
		}
		target, ok := l.links[p] // an entry of the same layer
		if !ok {
			break
		}
		p = target
	}
	return fileInfo{}
}

// text returns the content of a file that wantsText selected.
func (im *imageView) text(name string) string {
	_, e, failure := im.lookup(name)
	if failure != "" {
		return ""
	}
	return im.info(e).text
}

func (im *imageView) readAccounts() {
	im.users, im.groups = map[string]account{}, map[string]group{}
	memberOf := map[string][]int{}
	for line := range strings.Lines(im.text("/etc/group")) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if gid, err := strconv.Atoi(fieldAt(f, 2)); err == nil {
			im.groups[f[0]] = group{gid, strings.Split(fieldAt(f, 3), ",")}
		}
	}
	for _, g := range im.groups {
		for _, name := range g.members {
			memberOf[name] = append(memberOf[name], g.gid)
		}
	}
	for line := range strings.Lines(im.text("/etc/passwd")) {
		f := strings.Split(strings.TrimSpace(line), ":")
		uid, err1 := strconv.Atoi(fieldAt(f, 2))
		gid, err2 := strconv.Atoi(fieldAt(f, 3))
		if err1 != nil || err2 != nil {
			continue
		}
		a := account{name: f[0], uid: uid, gid: gid, supplementary: memberOf[f[0]]}
		im.users[a.name] = a
	}
	im.user = account{name: "root"}
	name, _, _ := strings.Cut(im.config.User, ":")
	if a, ok := im.users[name]; ok {
		im.user = a
	} else if uid, err := strconv.Atoi(name); err == nil {
		im.user = account{name: name, uid: uid, gid: uid}
	} else if name != "" {
		im.user = account{name: name, uid: -1, gid: -1}
	}
}

func fieldAt(fields []string, i int) string {
	if i < len(fields) {
		return fields[i]
	}
	return ""
}

// may reports whether an account has a permission (4, 2 or 1) for an entry.
func (a account) may(permission uint16, e inspect.Found) bool {
	switch {
	case a.uid == 0:
		return permission != 1 || e.Mode&0o111 != 0
	case a.uid == e.UID:
		return e.Mode&(permission<<6) != 0
	case a.gid == e.GID || slices.Contains(a.supplementary, e.GID):
		return e.Mode&(permission<<3) != 0
	}
	return e.Mode&permission != 0
}

// conditions returns the words of conditions that hold for the image.
func (im *imageView) conditions() map[string]bool {
	words := map[string]bool{"any": true}
	distro := im.env["KOLLA_BASE_DISTRO"]
	release := ""
	for _, file := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		for line := range strings.Lines(im.text(file)) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			v = strings.Trim(v, `"'`)
			switch {
			case k == "ID" && distro == "":
				distro = v
			case k == "VERSION_CODENAME":
				release = v
			case k == "VERSION_ID" && release == "":
				major, _, _ := strings.Cut(v, ".")
				release = "el" + major
			}
		}
	}
	kind := "rpm"
	if distro == "debian" || distro == "ubuntu" {
		kind = "deb"
	}
	for _, w := range []string{distro, release, kind, im.env["KOLLA_INSTALL_TYPE"], im.env["KOLLA_BASE_ARCH"]} {
		if w != "" {
			words[w] = true
		}
	}
	return words
}
