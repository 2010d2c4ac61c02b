package contract

import (
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/inspect"
)

type libraryKey struct {
	name    string
	class   elf.Class
	machine elf.Machine
}

// which returns the path of a program that a user can execute.
func (im *imageView) which(name string, user account) (string, error) {
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = nil
		for _, dir := range im.searchPath {
			candidates = append(candidates, path.Join("/", dir, name))
		}
	}
	problem := fmt.Errorf("no program %s in PATH", name)
	for _, c := range candidates {
		_, e, failure := im.lookup(c)
		switch {
		case failure != "":
			if strings.Contains(name, "/") {
				problem = errors.New(failure)
			}
		case e.Type == inspect.Dir:
			problem = fmt.Errorf("%s is a directory", c)
		case !user.may(1, e):
			problem = fmt.Errorf("%s has mode %04o and is not executable for %s", c, e.Mode, user.name)
		default:
			return c, nil
		}
	}
	return "", problem
}

// runnable reports why a program cannot start: its interpreter is missing, or a library
// that it or one of its libraries needs.
func (im *imageView) runnable(name string) error {
	real, e, failure := im.lookup(name)
	if failure != "" {
		return errors.New(failure)
	}
	if err, done := im.linked[real]; done {
		return err
	}
	im.linked[real] = nil // a script may name itself as its interpreter
	err := im.start(real, im.info(e))
	im.linked[real] = err
	return err
}

func (im *imageView) start(real string, f fileInfo) error {
	if f.bad != "" {
		return fmt.Errorf("/%s %s", real, f.bad)
	}
	if f.interpreter != "" {
		interpreter := f.interpreter
		if !strings.HasPrefix(interpreter, "/") {
			found, err := im.which(interpreter, account{name: "root"})
			if err != nil {
				return fmt.Errorf("/%s: interpreter: %w", real, err)
			}
			interpreter = found
		}
		if err := im.runnable(interpreter); err != nil {
			return fmt.Errorf("/%s: interpreter: %w", real, err)
		}
	}
	if f.elf == nil {
		return nil
	}
	return im.link(real, f.elf)
}

// maxLibraries is how many libraries a program can load.
const maxLibraries = 4096

// link finds all libraries that a program loads, in the order of the dynamic linker. A
// library that is already loaded is not searched again.
func (im *imageView) link(program string, info *elfInfo) error {
	type object struct {
		path string
		info *elfInfo
	}
	loaded := map[string]bool{}
	queue := []object{{program, info}}
	for len(queue) > 0 {
		o := queue[0]
		queue = queue[1:]
		for _, lib := range o.info.needed {
			if loaded[lib] {
				continue
			}
			if len(loaded) == maxLibraries {
				return fmt.Errorf("/%s needs more than %d libraries", program, maxLibraries)
			}
			loaded[lib] = true
			found := im.library(lib, o.path, o.info)
			if found == "" {
				return fmt.Errorf("/%s: library %s is not found", o.path, lib)
			}
			real, e, _ := im.lookup(found)
			queue = append(queue, object{real, im.info(e).elf})
		}
	}
	return nil
}

// library finds a library as the dynamic linker does.
func (im *imageView) library(name, from string, info *elfInfo) string {
	if strings.Contains(name, "/") {
		if im.isLibrary(name, info) {
			return name
		}
		return ""
	}
	search := info.runpath
	if len(search) == 0 {
		search = info.rpath
	}
	origin := path.Dir("/" + from)
	for _, dir := range slices.Concat(search, strings.Split(im.env["LD_LIBRARY_PATH"], ":")) {
		dir = strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(dir)
		if strings.HasPrefix(dir, "/") && im.isLibrary(path.Join(dir, name), info) {
			return path.Join(dir, name)
		}
	}
	key := libraryKey{name, info.class, info.machine}
	if found, ok := im.libraries[key]; ok {
		return found
	}
	found := ""
	dirs := append(im.linkerDirs("/etc/ld.so.conf", 0), "/lib64", "/usr/lib64", "/lib", "/usr/lib")
	// Debian's linker also searches the directories of its architecture.
	for _, lib := range []string{"lib", "usr/lib"} {
		for _, sub := range im.list(lib) {
			if strings.Contains(sub, "-linux-gnu") {
				dirs = append(dirs, "/"+lib+"/"+sub)
			}
		}
	}
	for _, dir := range dirs {
		if im.isLibrary(path.Join(dir, name), info) {
			found = path.Join(dir, name)
			break
		}
	}
	im.libraries[key] = found
	return found
}

func (im *imageView) isLibrary(name string, info *elfInfo) bool {
	_, e, failure := im.lookup(name)
	if failure != "" || e.Type == inspect.Dir {
		return false
	}
	f := im.info(e).elf
	return f != nil && f.class == info.class && f.machine == info.machine
}

// linkerDirs returns the directories in ld.so.conf and in the files that it includes.
func (im *imageView) linkerDirs(file string, depth int) []string {
	const deepest = 4
	if depth > deepest {
		return nil
	}
	var dirs []string
	for line := range strings.Lines(im.text(file)) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if pattern, ok := strings.CutPrefix(line, "include "); ok {
			pattern = strings.TrimSpace(pattern)
			if !strings.HasPrefix(pattern, "/") {
				pattern = path.Join(path.Dir(file), pattern)
			}
			for _, f := range im.glob(pattern) {
				dirs = append(dirs, im.linkerDirs(f, depth+1)...)
			}
		} else if strings.HasPrefix(line, "/") {
			dirs = append(dirs, line)
		}
	}
	return dirs
}

// list returns the names in a directory, which may be a link.
func (im *imageView) list(dir string) []string {
	real, e, failure := im.lookup(dir)
	if failure != "" || e.Type != inspect.Dir {
		return nil
	}
	return im.dirs[real]
}

// glob returns the paths that match a pattern.
func (im *imageView) glob(pattern string) []string {
	paths := []string{"/"}
	for part := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		var next []string
		for _, p := range paths {
			if !strings.ContainsAny(part, "*?[") {
				next = append(next, path.Join(p, part))
				continue
			}
			for _, name := range im.list(p) {
				if ok, _ := path.Match(part, name); ok {
					next = append(next, path.Join(p, name))
				}
			}
		}
		const most = 10000
		paths = next[:min(len(next), most)]
	}
	return slices.DeleteFunc(paths, func(p string) bool { _, _, failure := im.lookup(p); return failure != "" })
}
