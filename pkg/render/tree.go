package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/pkg/jinja"
)

// templateName is the file that makes a directory an image.
const templateName = "Dockerfile.j2"

// Layer is one directory tree of templates and the files beside them.
type Layer struct {
	// Name is what messages call it: its path, or "the built-in templates".
	Name string
	FS   fs.FS

	dir   string // the directory that DirLayer opened, or ""
	close func() error
}

// DirLayer opens a directory of the user's as a layer. Symbolic links in it are
// followed as long as they stay inside.
func DirLayer(dir string) (Layer, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return Layer{}, fmt.Errorf("template directory %s does not exist", dir)
		}
		return Layer{}, fmt.Errorf("opening template directory %s: %w", dir, cause(err))
	}
	return Layer{Name: dir, FS: root.FS(), dir: dir, close: root.Close}, nil
}

// File is a file or a directory of a tree or of an image's build context.
type File struct {
	// Path is relative to the tree's root, or to the context's, with slashes.
	Path string
	// Mode holds the permission bits, and fs.ModeDir for a directory.
	Mode fs.FileMode
	// ModTime is the source's; zero where it has none, as for embedded files.
	ModTime time.Time
	// Size in bytes, 0 for a directory.
	Size int64
	// Origin is where the file comes from, for messages.
	Origin string

	onDisk bool // Origin is a path
	open   func() (io.ReadCloser, error)
}

// Open opens the file for reading.
func (f File) Open() (io.ReadCloser, error) {
	if f.open == nil {
		return nil, fmt.Errorf("%s is a directory", f.Path)
	}
	r, err := f.open()
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", f.Origin, cause(err))
	}
	return r, nil
}

// Read returns the file's content.
func (f File) Read() ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Origin, cause(err))
	}
	return b, nil
}

// IsDir reports whether f is a directory.
func (f File) IsDir() bool { return f.Mode.IsDir() }

// TreeOptions says what a tree is made of.
type TreeOptions struct {
	// Layers are laid over each other file by file, the last one on top: the
	// built-in templates or --images-dir, then each --docker-dir.
	Layers []Layer
	// Repos is the content of the repos.yaml to use if the tree has none of its
	// own, and ReposName what messages call it. Its own is the one at the top of
	// a layer or, for a tree in a checkout of Kolla, the one in template/.
	Repos     []byte
	ReposName string
}

// Tree is a set of templates with the files beside them. It does not change,
// but for what Render adds to its caches, and may be used by several goroutines.
type Tree struct {
	files    map[string]File // by path
	sorted   []string        // the paths of files
	images   []string        // directories that hold a template, sorted
	layers   []Layer
	repos    *repoFile // the default repositories, nil if there are none
	ownRepos bool      // repos are a file of the tree, not the built-in ones
	// variants are repos-noble.yaml and repos-el10.yaml, which the trees of
	// 2024.1 and 2025.1 have beside repos.yaml for newer base images.
	variants map[string]*repoFile

	env *jinja.Environment

	mu        sync.Mutex
	overrides map[string]*repoFile // repos.yaml files of users by path
	sets      map[repoKey]repoSet  // what repositories returned
}

// OpenTree reads the names in the layers; contents are read when needed, so the
// layers must stay as they are. Close releases them, as OpenTree does itself if
// there is an error.
func OpenTree(o TreeOptions) (_ *Tree, err error) {
	t := &Tree{files: map[string]File{}, layers: o.Layers, overrides: map[string]*repoFile{}, sets: map[repoKey]repoSet{}}
	defer func() {
		if err != nil {
			_ = t.Close() // there is an error to tell already
		}
	}()
	for _, l := range o.Layers {
		w := walker{tree: t, layer: l}
		if err := w.dir(".", ".", 0); err != nil {
			return nil, err
		}
	}
	t.index()
	if len(t.images) == 0 {
		var names []string
		for _, l := range o.Layers {
			names = append(names, l.Name)
		}
		return nil, fmt.Errorf("no %s below %s: a template tree is a directory such as Kolla's own docker/, with base/%s in it",
			templateName, strings.Join(names, ", "), templateName)
	}
	if _, ok := t.files[templateName]; ok {
		return nil, fmt.Errorf("%s lies at the top of its tree: an image is named after the directory that its template is in, so give the directory above",
			t.files[templateName].Origin)
	}
	if err := t.findRepos(o); err != nil {
		return nil, err
	}
	t.env = newEnvironment(t, treeLoader{t})
	return t, nil
}

// Close releases the directories that the tree reads from.
func (t *Tree) Close() error {
	var errs []error
	for _, l := range t.layers {
		if l.close != nil {
			errs = append(errs, l.close())
		}
	}
	return errors.Join(errs...)
}

// index makes the sorted views of t.files.
func (t *Tree) index() {
	t.sorted = slices.Sorted(maps.Keys(t.files))
	t.images = nil
	for _, p := range t.sorted {
		if path.Base(p) == templateName && !t.files[p].IsDir() {
			t.images = append(t.images, path.Dir(p))
		}
	}
	slices.Sort(t.images)
}

// Images returns the directories that hold an image's template, sorted.
func (t *Tree) Images() []string { return slices.Clone(t.images) }

// Files returns all files and directories of the tree, sorted by path.
func (t *Tree) Files() []File {
	out := make([]File, 0, len(t.sorted))
	for _, p := range t.sorted {
		out = append(out, t.files[p])
	}
	return out
}

// mentions reports whether a template of the tree contains a word.
func (t *Tree) mentions(word string) bool {
	pattern := regexp.MustCompile(`\b` + regexp.QuoteMeta(word) + `\b`)
	for _, f := range t.files {
		if path.Ext(f.Path) != ".j2" {
			continue
		}
		if b, err := f.Read(); err == nil && pattern.Match(b) {
			return true
		}
	}
	return false
}

// place returns how messages name a file of the tree before its line: by its path
// if it is a user's, else by its place in the tree.
func (t *Tree) place(name string) string {
	if f, ok := t.files[name]; ok && f.onDisk {
		return f.Origin
	}
	return name
}

// below returns what lies under dir, with paths relative to it.
func (t *Tree) below(dir string) []File {
	var out []File
	prefix := dir + "/"
	i, _ := slices.BinarySearch(t.sorted, prefix)
	for _, p := range t.sorted[i:] {
		if !strings.HasPrefix(p, prefix) {
			break
		}
		f := t.files[p]
		f.Path = p[len(prefix):]
		out = append(out, f)
	}
	return out
}

// maxLinks bounds how many symbolic links to directories may lie within each
// other, so that a link to its own parent ends in an error.
const maxLinks = 16

// walker adds a layer's files to a tree. Links are followed, as upstream's copy
// of the tree follows them.
type walker struct {
	tree  *Tree
	layer Layer
}

// dir adds what lies in the layer's directory real under the name name.
func (w *walker) dir(real, name string, links int) error {
	entries, err := fs.ReadDir(w.layer.FS, real)
	if err != nil {
		return fmt.Errorf("reading template directory %s: %w", w.origin(real), cause(err))
	}
	for _, e := range entries {
		if err := w.entry(path.Join(real, e.Name()), path.Join(name, e.Name()), e, links); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(real, name string, e fs.DirEntry, links int) error {
	if e.Type()&fs.ModeSymlink != 0 {
		if links++; links > maxLinks {
			return fmt.Errorf("%s: symbolic links lead into each other", w.origin(real))
		}
	}
	info, err := fs.Stat(w.layer.FS, real) // follows links, but not out of the layer
	if err != nil {
		return w.linkError(real, e, err)
	}
	f := File{Path: name, Mode: info.Mode().Perm() | info.Mode().Type(), ModTime: info.ModTime(), Size: info.Size(), Origin: w.origin(real), onDisk: w.layer.dir != ""}
	old, exists := w.tree.files[name]
	if exists && old.IsDir() != info.IsDir() {
		return fmt.Errorf("%s cannot be laid over %s: one is a directory and the other is not", f.Origin, old.Origin)
	}
	switch {
	case info.IsDir():
		f.Size = 0
		if f.ModTime.IsZero() {
			f.Mode = fs.ModeDir | 0o755
		}
		w.tree.files[name] = f
		return w.dir(real, name, links)
	case info.Mode().IsRegular():
		fsys := w.layer.FS
		f.open = func() (io.ReadCloser, error) { return fsys.Open(real) }
		if f.ModTime.IsZero() {
			// Embedded files have neither times nor useful modes.
			if f.Mode, err = embeddedMode(f); err != nil {
				return err
			}
		}
		w.tree.files[name] = f
		return nil
	}
	return fmt.Errorf("%s is neither a file nor a directory nor a symbolic link to one (%s)", f.Origin, info.Mode().Type())
}

func (w *walker) linkError(real string, e fs.DirEntry, err error) error {
	if e.Type()&fs.ModeSymlink == 0 {
		return fmt.Errorf("reading %s: %w", w.origin(real), cause(err))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is a symbolic link to a file that does not exist", w.origin(real))
	case errors.Is(err, syscall.ELOOP):
		return fmt.Errorf("%s: symbolic links lead into each other", w.origin(real))
	}
	return fmt.Errorf("%s is a symbolic link that leads out of the template directory %s (%w)", w.origin(real), w.layer.Name, cause(err))
}

func (w *walker) origin(real string) string {
	if w.layer.dir == "" {
		return real + " (" + w.layer.Name + ")"
	}
	return filepath.Join(w.layer.Name, filepath.FromSlash(real))
}

// embeddedMode tells a script by its first two bytes.
func embeddedMode(f File) (fs.FileMode, error) {
	r, err := f.Open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	var start [2]byte
	if n, _ := io.ReadFull(r, start[:]); n == 2 && bytes.Equal(start[:], []byte("#!")) {
		return 0o755, nil
	}
	return 0o644, nil
}

// treeLoader gives the engine the tree's files by path.
type treeLoader struct{ tree *Tree }

func (l treeLoader) Load(name string) (string, error) {
	if path.IsAbs(name) || slices.Contains(strings.Split(name, "/"), "..") {
		return "", fs.ErrNotExist
	}
	f, ok := l.tree.files[path.Clean(name)]
	if !ok || f.IsDir() {
		return "", fs.ErrNotExist
	}
	return readText(f)
}

// cause strips the operation and the path that package os puts before an error:
// the messages of this package name the path themselves.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
