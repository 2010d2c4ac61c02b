package render

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// WriteTree writes a rendered tree to dir/docker in upstream's layout, as --template-only
// --work-dir does: all files of the tree, a Dockerfile beside each Dockerfile.j2 and the
// directory patches, without the directories of images for which keep returns false; nil
// keeps all. Existing files of the same names are replaced, others stay. It returns
// dir/docker. o and rendered are the input and the result of Render.
func WriteTree(dir string, o Options, rendered []Dockerfile, keep func(name string) bool) (string, error) {
	out := filepath.Join(dir, "docker")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", fmt.Errorf("creating the work directory %s: %w", out, inputfile.WithoutPath(err))
	}
	// As with upstream's copytree, the directory has the mode of the last layer.
	for _, l := range o.Tree.layers {
		if st, err := fs.Stat(l.FS, "."); err == nil && l.dir != "" {
			if err := os.Chmod(out, st.Mode().Perm()|0o700); err != nil {
				return "", fmt.Errorf("creating the work directory %s: %w", out, inputfile.WithoutPath(err))
			}
		}
	}
	root, err := os.OpenRoot(out)
	if err != nil {
		return "", fmt.Errorf("opening the work directory %s: %w", out, inputfile.WithoutPath(err))
	}
	defer root.Close()
	w := treeWriter{root: root, out: out}
	apt, err := aptFiles(o.Tree, o.Config)
	if err != nil {
		return "", err
	}
	dropped := map[string]bool{}
	for _, d := range rendered {
		dropped[d.Dir] = keep != nil && !keep(d.Name)
	}
	var dirs []File // their times are set last
	for _, f := range o.Tree.sortedFiles() {
		if f.broken || isBelow(f.Path, dropped) {
			continue
		}
		if a, ok := apt[f.Path]; ok {
			f = a
		}
		delete(apt, f.Path)
		w.write(f)
		if f.IsDir() {
			dirs = append(dirs, f)
		}
	}
	for _, f := range apt {
		if !isBelow(f.Path, dropped) {
			w.write(f)
		}
	}
	for _, d := range rendered {
		if dropped[d.Dir] {
			continue
		}
		if d.Content != nil {
			w.write(memoryFile(path.Join(d.Dir, "Dockerfile"), d.Content))
		}
		// Mistakes in a series do not affect the templates: the valid patches are
		// written.
		patches, _, _ := patchFiles(o.Config.PatchesPath, d.Name)
		for _, f := range patches {
			if d := path.Join(d.Dir, f.Path); !f.IsDir() || o.Tree.files[d].Mode == 0 {
				f.Path = d
				w.write(f)
			}
		}
	}
	for dir, drop := range dropped {
		if drop {
			w.remove(dir)
		}
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		w.times(dirs[i])
	}
	return out, w.err
}

// isBelow reports whether p is, or is in, a directory that is true in dirs.
func isBelow(p string, dirs map[string]bool) bool {
	for ; p != "."; p = path.Dir(p) {
		if dirs[p] {
			return true
		}
	}
	return false
}

// treeWriter writes files in a directory and nowhere else. After an error it does
// nothing.
type treeWriter struct {
	root *os.Root
	out  string
	err  error
}

func (w *treeWriter) fail(p string, err error) {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("writing %s: %w", filepath.Join(w.out, filepath.FromSlash(p)), inputfile.WithoutPath(err))
	}
}

func (w *treeWriter) write(f File) {
	if w.err != nil {
		return
	}
	if f.IsDir() {
		if err := w.root.MkdirAll(f.Path, 0o755); err != nil {
			w.fail(f.Path, err)
			return
		}
		// It must be writable.
		w.fail(f.Path, w.root.Chmod(f.Path, f.Mode&modeBits|0o700))
		return
	}
	r, err := f.Open()
	if err != nil {
		w.err = err
		return
	}
	defer r.Close()
	// Links of an earlier run must not be followed.
	if err := w.root.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.fail(f.Path, err)
		return
	}
	out, err := w.root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.Mode.Perm())
	if err != nil {
		w.fail(f.Path, err)
		return
	}
	_, err = io.Copy(out, r)
	w.fail(f.Path, err)
	w.fail(f.Path, out.Chmod(f.Mode&modeBits)) // the umask applied
	w.fail(f.Path, out.Close())
	w.times(f)
}

func (w *treeWriter) times(f File) {
	if w.err == nil && !f.ModTime.IsZero() {
		w.fail(f.Path, w.root.Chtimes(f.Path, f.ModTime, f.ModTime))
	}
}

func (w *treeWriter) remove(dir string) {
	if w.err == nil {
		w.fail(dir, w.root.RemoveAll(dir))
	}
}
