package contract

import (
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/printable"
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

// maxInterpreters is how many interpreters Linux starts for a program: each may be a script.
const maxInterpreters = 5

// runnable reports why a program cannot start: its interpreter is missing, or a library
// that it or one of its libraries needs.
func (im *imageView) runnable(name string) error {
	origin := ""
	for range maxInterpreters + 1 {
		real, e, failure := im.lookup(name)
		if failure != "" {
			return errors.New(origin + failure)
		}
		f := im.info(e)
		if f.bad != "" {
			return fmt.Errorf("%s/%s %s", origin, real, f.bad)
		}
		if f.interpreter == "" || f.elf != nil {
			if err := im.start(real, f); err != nil {
				return fmt.Errorf("%s%w", origin, err)
			}
			return nil
		}
		origin += "/" + real + ": interpreter: "
		interpreter, err := im.interpreter(f)
		if err != nil {
			return fmt.Errorf("%s%w", origin, err)
		}
		name = interpreter
	}
	return fmt.Errorf("%smore than %d interpreters", origin, maxInterpreters)
}

// interpreter returns the path of the interpreter of a script or program.
func (im *imageView) interpreter(f fileInfo) (string, error) {
	if strings.HasPrefix(f.interpreter, "/") {
		return f.interpreter, nil
	}
	return im.which(f.interpreter, account{name: "root"})
}

// start reports why a program that is not a script cannot start.
func (im *imageView) start(real string, f fileInfo) error {
	if f.elf == nil {
		return nil
	}
	if err, done := im.linked[real]; done {
		return err
	}
	err := im.startELF(real, f)
	im.linked[real] = err
	return err
}

func (im *imageView) startELF(real string, f fileInfo) error {
	if f.interpreter != "" {
		// Linux loads the dynamic linker itself, whatever it names as its own.
		linker, err := im.interpreter(f)
		if err != nil {
			return fmt.Errorf("/%s: interpreter: %w", real, err)
		}
		found, e, failure := im.lookup(linker)
		if failure != "" {
			return fmt.Errorf("/%s: interpreter: %s", real, printable.Bytes(failure, maxShown))
		}
		if bad := im.info(e).bad; bad != "" {
			return fmt.Errorf("/%s: interpreter: /%s %s", real, found, bad)
		}
	}
	return im.link(real, f.elf)
}

const (
	maxLibraries = 4096 // that a program can load

	// maxSteps bounds the searches for the libraries of all programs of an image: each name that is
	// needed is one step, and each directory in which it is searched directoryStep.
	maxSteps      = 20_000_000
	directoryStep = 8
)

// search counts steps of searches.
func (im *imageView) search(steps int) bool {
	im.steps += steps
	return im.steps <= maxSteps
}

// maxShown is how many bytes of a name from an image a message has: those of the longest name of a file.
const maxShown = 255

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
		im.search(len(o.info.needed))
		for _, lib := range o.info.needed {
			if loaded[lib] {
				continue
			}
			if len(loaded) == maxLibraries {
				return fmt.Errorf("/%s needs more than %d libraries", program, maxLibraries)
			}
			loaded[lib] = true
			found := im.library(lib, o.path, o.info)
			if im.steps > maxSteps {
				return fmt.Errorf("/%s: its libraries were not searched: the programs of the image need too many", program)
			}
			if found == "" {
				return fmt.Errorf("/%s: library %s is not found", o.path, printable.Bytes(lib, maxShown))
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
	variables := strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin)
	for _, dir := range slices.Concat(search, directories(im.env["LD_LIBRARY_PATH"])) {
		if dir == "" {
			continue
		}
		if !im.search(directoryStep) {
			return ""
		}
		dir = variables.Replace(dir)
		if strings.HasPrefix(dir, "/") && im.isLibrary(path.Join(dir, name), info) {
			return path.Join(dir, name)
		}
	}
	key := libraryKey{name, info.class, info.machine}
	if found, ok := im.libraries[key]; ok {
		return found
	}
	found := ""
	for _, dir := range im.linkerDirs() {
		if !im.search(directoryStep) {
			return ""
		}
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

// maxLinkerDirs is how many directories are searched for libraries, and how many files of ld.so.conf
// are read.
const maxLinkerDirs = 500

// linkerDirs returns the directories in which the dynamic linker searches by default.
func (im *imageView) linkerDirs() []string {
	if im.linkerPath != nil {
		return im.linkerPath
	}
	dirs := append(im.configuredDirs(), "/lib64", "/usr/lib64", "/lib", "/usr/lib")
	// Debian's linker also searches the directories of its architecture.
	for _, lib := range []string{"lib", "usr/lib"} {
		for _, sub := range im.list(lib) {
			if strings.Contains(sub, "-linux-gnu") && len(dirs) < 2*maxLinkerDirs {
				dirs = append(dirs, "/"+lib+"/"+sub)
			}
		}
	}
	im.linkerPath = dirs
	return dirs
}

// configuredDirs returns the directories in ld.so.conf and in the files that it includes. Each file
// is read once: they can include each other.
func (im *imageView) configuredDirs() []string {
	var dirs []string
	files := []string{"/etc/ld.so.conf"}
	patterns := map[string]bool{}
	for i := 0; i < len(files) && i < maxLinkerDirs; i++ {
		for line := range strings.Lines(im.text(files[i])) {
			line, _, _ = strings.Cut(line, "#")
			line = strings.TrimSpace(line)
			pattern, include := strings.CutPrefix(line, "include ")
			if !include {
				if strings.HasPrefix(line, "/") && len(dirs) < maxLinkerDirs {
					dirs = append(dirs, line)
				}
				continue
			}
			if pattern = strings.TrimSpace(pattern); !strings.HasPrefix(pattern, "/") {
				pattern = path.Join(path.Dir(files[i]), pattern)
			}
			if patterns[pattern] || len(patterns) == maxLinkerDirs {
				continue
			}
			patterns[pattern] = true
			for _, f := range im.glob(pattern) {
				if !slices.Contains(files, f) && len(files) < maxLinkerDirs {
					files = append(files, f)
				}
			}
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
