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

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/pkg/jinja"
)

// templateName is the file that makes a directory an image.
const templateName = "Dockerfile.j2"

// Layer is a directory tree with templates and other files.
type Layer struct {
	// Name is its name in messages: its path, or "the built-in templates".
	Name string
	FS   fs.FS

	dir   string // the directory opened by DirLayer, or ""
	close func() error
}

// DirLayer opens a directory of the user's as a layer. Symbolic links in it are
// followed as long as they stay inside.
func DirLayer(dir string) (Layer, error) {
	root, err := openRootFS(dir)
	if err != nil {
		return Layer{}, fmt.Errorf("template directory %s: %w", dir, inputfile.WithoutPath(err))
	}
	return Layer{Name: dir, FS: root, dir: dir, close: root.Close}, nil
}

// File is a file or a directory of a tree or of an image's build context.
type File struct {
	// Path is relative to the root of the tree or context, with slashes.
	Path string
	// Mode holds the permission bits, and fs.ModeDir for a directory.
	Mode fs.FileMode
	// ModTime is zero for files without one, such as embedded files.
	ModTime time.Time
	// Size in bytes, 0 for a directory.
	Size int64
	// Origin is the origin of the file, for messages.
	Origin string

	onDisk bool // Origin is a path
	broken bool // it is unreadable
	open   func() (io.ReadCloser, error)
}

// Open opens the file for reading.
func (f File) Open() (io.ReadCloser, error) {
	if f.open == nil {
		return nil, fmt.Errorf("%s is a directory", f.Path)
	}
	r, err := f.open()
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", f.Origin, inputfile.WithoutPath(err))
	}
	return r, nil
}

// Read returns the content of a template or another text, of up to 16 MiB.
func (f File) Read() ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := inputfile.ReadAll(r, f.Origin, maxText)
	var large *inputfile.TooLargeError
	if err != nil && !errors.As(err, &large) {
		return nil, fmt.Errorf("reading %s: %w", f.Origin, inputfile.WithoutPath(err))
	}
	return b, err
}

// IsDir reports whether f is a directory.
func (f File) IsDir() bool { return f.Mode.IsDir() }

// TreeOptions are the input of OpenTree.
type TreeOptions struct {
	// Layers are combined file by file; later layers replace files of earlier ones. They
	// are the built-in templates or --images-dir, then each --docker-dir.
	Layers []Layer
	// Repos is the content of the repos.yaml that is used if the tree has none, and
	// ReposName its name in messages. That of a tree is at the top of a layer or, in a
	// checkout of Kolla, in template/.
	Repos     []byte
	ReposName string
}

// Tree is a set of templates and other files. Except for caches it does not change, and
// it is safe for concurrent use.
type Tree struct {
	files    map[string]File // by path
	sorted   []string        // the paths of files
	images   []string        // directories that hold a template, sorted
	broken   []error         // errors of unreadable files, such as broken links
	layers   []Layer
	repos    *repoFile // the default repositories, nil if there are none
	ownRepos bool      // repos are the file of Kolla's tree, not the built-in ones
	// variants are repos-noble.yaml and repos-el10.yaml, which the trees of
	// 2024.1 and 2025.1 have beside repos.yaml for newer base images.
	variants map[string]*repoFile

	env *jinja.Environment

	mu        sync.Mutex
	overrides map[string]*repoFile // repos.yaml files of users by path
	sets      map[repoKey]repoSet  // results of repositories
}

// OpenTree reads the names in the layers. Contents are read when needed, so the layers
// must not change. The tree must be closed; OpenTree closes the layers if it returns an
// error.
func OpenTree(o TreeOptions) (_ *Tree, err error) {
	t := &Tree{files: map[string]File{}, layers: o.Layers, overrides: map[string]*repoFile{}, sets: map[repoKey]repoSet{}}
	defer func() {
		if err != nil {
			_ = t.Close() // the caller gets the first error
		}
	}()
	for _, l := range o.Layers {
		w := walker{tree: t, layer: l, base: l.dir}
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
		return nil, fmt.Errorf("no %s in %s: a template tree is a directory such as Kolla's docker/, with base/%s in it",
			templateName, strings.Join(names, ", "), templateName)
	}
	if _, ok := t.files[templateName]; ok {
		return nil, fmt.Errorf(
			"%s is at the top of its tree: an image is named after the directory of its template, so use the parent directory",
			t.files[templateName].Origin)
	}
	if err := t.findRepos(o); err != nil {
		return nil, err
	}
	t.env = newEnvironment(t, treeLoader{t})
	return t, nil
}

// Close closes the directories of the tree.
func (t *Tree) Close() error {
	var errs []error
	for _, l := range t.layers {
		if l.close != nil {
			errs = append(errs, l.close())
		}
	}
	return errors.Join(errs...)
}

// index sets the sorted views of t.files.
func (t *Tree) index() {
	t.sorted = slices.Sorted(maps.Keys(t.files))
	t.images = nil
	for _, p := range t.sorted {
		if f := t.files[p]; path.Base(p) == templateName && !f.IsDir() {
			t.images = append(t.images, path.Dir(p))
		}
	}
	slices.Sort(t.images)
}

// Images returns the directories that hold an image's template, sorted.
func (t *Tree) Images() []string { return slices.Clone(t.images) }

// Broken returns the errors of unreadable files, such as broken symbolic links. Images
// with one in their context fail.
func (t *Tree) Broken() []error { return slices.Clone(t.broken) }

// sortedFiles returns all files and directories of the tree, sorted by path.
func (t *Tree) sortedFiles() []File {
	out := make([]File, 0, len(t.sorted))
	for _, p := range t.sorted {
		out = append(out, t.files[p])
	}
	return out
}

// usesUser reports whether templates use a user: by users.NAME, or by a string with its
// name. Built-in templates compute names of users, and use all.
func (t *Tree) usesUser(user string) bool {
	if !t.ownRepos {
		return true
	}
	name := regexp.QuoteMeta(user)
	pattern := regexp.MustCompile(`users\.` + name + `\b|'` + name + `'|"` + name + `"`)
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

// displayPath returns the name of a file in messages: its path if it is on disk, otherwise its
// path in the tree.
func (t *Tree) displayPath(name string) string {
	if f, ok := t.files[name]; ok && f.onDisk {
		return f.Origin
	}
	return name
}

// filesIn returns the files in dir, with paths relative to it.
func (t *Tree) filesIn(dir string) []File {
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

// modeBits are the bits of a mode that files keep in a build context.
const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// maxLinks limits how many symbolic links may be within each other, and maxFiles the
// files of a tree: links can make a small tree very large.
const (
	maxLinks = 16
	maxFiles = 200_000
)

// walker adds the files of a layer to a tree. Symbolic links are followed, as in
// Kolla's copy of the tree, also to files outside of the layer if that is a directory
// of the user's.
type walker struct {
	tree  *Tree
	layer Layer
	// base is the directory on disk that layer.FS is, "" for embedded files.
	base string
	// outside is the path of the link that leads out of the layer, "" within it.
	outside string
}

// dir adds the content of the directory real of the layer under the path name.
func (w *walker) dir(real, name string, links int) error {
	entries, err := fs.ReadDir(w.layer.FS, real)
	if err != nil && name != "." {
		w.addBroken(name, real, fmt.Errorf("reading the directory: %w", inputfile.WithoutPath(err)))
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading template directory %s: %w", w.origin(real), inputfile.WithoutPath(err))
	}
	for _, e := range entries {
		if err := w.entry(path.Join(real, e.Name()), path.Join(name, e.Name()), e, links); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(real, name string, e fs.DirEntry, links int) error {
	isLink := e.Type()&fs.ModeSymlink != 0
	if isLink {
		if links++; links > maxLinks {
			w.addBroken(name, real, errors.New("symbolic links lead into each other"))
			return nil
		}
	}
	if len(w.tree.files) >= maxFiles {
		return fmt.Errorf("template directory %s: more than %d files", w.layer.Name, maxFiles)
	}
	var info fs.FileInfo
	var err error
	if isLink {
		info, err = fs.Stat(w.layer.FS, real) // follows links within the layer only
	} else {
		info, err = e.Info() // reading the directory has returned it
	}
	if err != nil && isLink {
		return w.outsideLink(real, name, links, err)
	}
	if err != nil {
		w.addBroken(name, real, inputfile.WithoutPath(err))
		return nil
	}
	if isLink && info.IsDir() && w.base != "" && w.containsItself(real) {
		w.addBroken(name, real, errors.New("symbolic links lead into each other"))
		return nil
	}
	return w.add(real, name, info, links)
}

// add adds a file or directory whose links are resolved.
func (w *walker) add(real, name string, info fs.FileInfo, links int) error {
	f := File{
		Path:    name,
		Mode:    info.Mode() & (fs.ModeType | modeBits),
		ModTime: info.ModTime(),
		Size:    info.Size(),
		Origin:  w.origin(real),
		onDisk:  w.layer.dir != "",
	}
	old, exists := w.tree.files[name]
	if exists && old.IsDir() != info.IsDir() {
		return fmt.Errorf("%s cannot replace %s: one is a directory and the other is not", f.Origin, old.Origin)
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
			// Embedded files have no times and no useful modes.
			var err error
			if f.Mode, err = embeddedMode(f); err != nil {
				return err
			}
		}
		w.tree.files[name] = f
		return nil
	}
	w.addBroken(name, real, fmt.Errorf("neither a file nor a directory (%s)", info.Mode().Type()))
	return nil
}

// outsideLink follows a link that leads out of the layer.
func (w *walker) outsideLink(real, name string, links int, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.addBroken(name, real, errors.New("a symbolic link to a file that does not exist"))
		return nil
	case errors.Is(err, syscall.ELOOP):
		w.addBroken(name, real, errors.New("symbolic links lead into each other"))
		return nil
	case w.base == "":
		return fmt.Errorf("%s is a symbolic link that leads out of the template directory %s", w.origin(real), w.layer.Name)
	}
	target, err := filepath.EvalSymlinks(filepath.Join(w.base, filepath.FromSlash(real)))
	if err != nil {
		w.addBroken(name, real, fmt.Errorf("following the symbolic link: %w", inputfile.WithoutPath(err)))
		return nil
	}
	if w.containsItself(real) {
		w.addBroken(name, real, errors.New("symbolic links lead into each other"))
		return nil
	}
	outside := walker{tree: w.tree, layer: w.layer, base: filepath.Dir(target), outside: w.origin(real)}
	outside.layer.FS = pathFS(outside.base)
	info, err := os.Stat(target)
	if err != nil {
		w.addBroken(name, real, fmt.Errorf("following the symbolic link: %w", inputfile.WithoutPath(err)))
		return nil
	}
	return outside.add(filepath.Base(target), name, info, links)
}

// containsItself reports whether a link leads to one of its parent directories, so that
// following it would not end.
func (w *walker) containsItself(real string) bool {
	target, err := filepath.EvalSymlinks(filepath.Join(w.base, filepath.FromSlash(real)))
	if err != nil {
		return false
	}
	parent, err := filepath.EvalSymlinks(filepath.Join(w.base, filepath.FromSlash(path.Dir(real))))
	return err == nil && (parent == target || strings.HasPrefix(parent, strings.TrimSuffix(target, "/")+"/"))
}

// addBroken adds an unreadable file. Only images that contain it fail.
func (w *walker) addBroken(name, real string, problem error) {
	origin := w.origin(real)
	w.tree.files[name] = File{Path: name, Mode: 0o644, Origin: origin, onDisk: w.layer.dir != "", broken: true,
		open: func() (io.ReadCloser, error) { return nil, problem }}
	w.tree.broken = append(w.tree.broken, fmt.Errorf("%s: %w", origin, problem))
}

func (w *walker) origin(real string) string {
	if w.outside != "" {
		return filepath.Join(w.base, filepath.FromSlash(real))
	}
	if w.layer.dir == "" {
		return real + " (" + w.layer.Name + ")"
	}
	return filepath.Join(w.layer.Name, filepath.FromSlash(real))
}

// embeddedMode returns the mode of an embedded file: scripts begin with "#!".
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

// treeLoader loads templates of a tree by path.
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
