package jinja

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Loader finds the source of a template. If there is no template of that name, Load
// returns an error that wraps fs.ErrNotExist. Any other error ends the render. A loader
// must be safe for concurrent use.
type Loader interface {
	Load(name string) (source string, err error)
}

// Map is a loader of templates in memory, by name.
type Map map[string]string

// Load returns the source of the name.
func (m Map) Load(name string) (string, error) {
	if s, ok := m[name]; ok {
		return s, nil
	}
	return "", fs.ErrNotExist
}

// FS returns a loader of the files of a file system. Names are slash-separated paths.
// Absolute names, names with "..", and symbolic links that leave the root are refused;
// other links are followed if the file system can read them. As in Jinja2, empty and
// "." elements of a name are ignored.
func FS(fsys fs.FS) Loader { return fsLoader{fsys} }

type fsLoader struct{ fsys fs.FS }

func (l fsLoader) Load(name string) (string, error) {
	clean, err := cleanName(name)
	if err != nil {
		return "", err
	}
	real, err := l.resolve(clean)
	if err != nil {
		return "", err
	}
	// Reading a pipe would block: only regular files are templates.
	if info, err := fs.Stat(l.fsys, real); err == nil && !info.Mode().IsRegular() {
		return "", fs.ErrNotExist
	}
	b, err := fs.ReadFile(l.fsys, real)
	return string(b), err
}

// cleanName checks a template's name and returns it as a path for io/fs.
func cleanName(name string) (string, error) {
	if strings.HasPrefix(name, "/") {
		return "", fmt.Errorf("absolute template name %q: %w", name, fs.ErrNotExist)
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return "", fmt.Errorf("template name %q leaves the search path: %w", name, fs.ErrNotExist)
		case strings.ContainsAny(part, "\\\x00"):
			return "", fmt.Errorf("template name %q: %w", name, fs.ErrNotExist)
		case part != "" && part != ".":
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return "", fs.ErrNotExist
	}
	return strings.Join(parts, "/"), nil
}

// resolve follows symbolic links and refuses those that leave the root, on any file
// system.
func (l fsLoader) resolve(name string) (string, error) {
	links, ok := l.fsys.(fs.ReadLinkFS)
	if !ok {
		return name, nil
	}
	done, rest := "", name
	for hops := 0; rest != ""; {
		part, tail, _ := strings.Cut(rest, "/")
		cur := path.Join(done, part)
		info, err := links.Lstat(cur)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done, rest = cur, tail
			continue
		}
		if hops++; hops > 40 {
			return "", fmt.Errorf("template %q: too many symbolic links: %w", name, fs.ErrNotExist)
		}
		target, err := links.ReadLink(cur)
		if err != nil {
			return "", err
		}
		next := path.Join(done, target, tail)
		if path.IsAbs(target) || !fs.ValidPath(next) {
			return "", fmt.Errorf("template %q: symbolic link %q leads out of the search path: %w", name, cur, fs.ErrNotExist)
		}
		done, rest = "", next
	}
	return done, nil
}

// loadError returns the template error of a loader's error.
func loadError(name string, err error) *Error {
	if errors.Is(err, fs.ErrNotExist) {
		e := &Error{
			Kind:    KindNotFound,
			Class:   "TemplateNotFound",
			Message: fmt.Sprintf("template %q not found", name),
			Cause:   err,
		}
		if err != fs.ErrNotExist && !strings.HasPrefix(err.Error(), "open ") && !strings.HasPrefix(err.Error(), "lstat ") {
			e.Hint = err.Error()
		}
		return e
	}
	return &Error{
		Kind:    KindRuntime,
		Class:   "OSError",
		Message: fmt.Sprintf("loading template %q: %v", name, err),
		Cause:   err,
	}
}
