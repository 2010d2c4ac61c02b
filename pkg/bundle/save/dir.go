package save

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/filecopy"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/reader"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// isDir reports whether an output names a directory: with a slash at its end.
func isDir(output string) bool { return strings.HasSuffix(output, "/") }

// writeDir writes a bundle into a directory and removes the files of earlier bundles.
// Existing files are not written again, so that rsync does not send them. Blobs are written
// first and index.json last; then files of earlier bundles are removed. It returns the names
// of files that do not belong to a bundle, which it does not change.
func writeDir(ctx context.Context, dir string, files []bundle.File, opts Options) (extra []string, err error) {
	dir = filepath.Clean(dir)
	if err := atomicfile.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	lock, err := filelock.TryDir(dir)
	if held := (*filelock.HeldError)(nil); errors.As(err, &held) {
		return nil, errors.New("another save writes to it")
	}
	switch {
	case err == nil:
		defer lock.Close()
	case !errors.Is(err, syscall.EBADF) && !errors.Is(err, syscall.ENOLCK) && !errors.Is(err, syscall.EOPNOTSUPP):
		return nil, err // else the file system cannot lock directories, as NFS cannot
	}
	if err := removeTemporary(dir); err != nil {
		return nil, err
	}
	w := newDirWriter(dir, totalSize(files), opts)
	if err := w.checkSpace(files); err != nil {
		return nil, err
	}
	var blobs, head []bundle.File
	var index bundle.File
	for _, f := range files {
		switch {
		case strings.Contains(f.Name, "/"):
			blobs = append(blobs, f)
		case f.Name == ocispec.ImageIndexFile:
			index = f
		default:
			head = append(head, f)
		}
	}
	// Directories are not made later: if the medium is removed, its place must stay empty.
	for _, f := range blobs {
		if err := atomicfile.MkdirAll(filepath.Dir(w.path(f)), 0o755); err != nil {
			return nil, err
		}
	}
	// The manifest is written before the index, so that an interrupted directory is
	// rejected.
	for _, group := range [][]bundle.File{blobs, head, {index}} {
		if err := w.writeAll(ctx, group); err != nil {
			return nil, err
		}
	}
	return removeStale(ctx, dir, files)
}

// checkDir rejects a directory with other content.
func checkDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	present := map[string]bool{}
	for _, e := range entries {
		present[e.Name()] = true
	}
	// A directory that comes from elsewhere must not have files outside of it replaced.
	for _, pattern := range []string{"blobs", "blobs/*", bundle.DeltaDir, bundle.DeltaDir + "/*"} {
		found, err := fs.Glob(os.DirFS(dir), pattern)
		if err != nil {
			return err
		}
		for _, name := range found {
			if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Mode()&fs.ModeSymlink != 0 {
				return fmt.Errorf("%s is a link, where a bundle has a directory", name)
			}
		}
	}
	// An interrupted save has written blobs, at least, and the index last. Another layout,
	// such as the store or one of skopeo, has an index and no manifest of a bundle.
	foreign := (present[ocispec.ImageIndexFile] || present["manifest.json"]) && !present[bundle.ManifestName]
	if !foreign && (present[ocispec.ImageLayoutFile] || present["blobs"]) {
		return nil
	}
	return usererr.Errorf("name a new or empty directory, or one that save has written",
		"it is not empty and contains no bundle")
}

// removeTemporary removes the temporary files of a killed save.
func removeTemporary(dir string) error {
	for _, pattern := range []string{".", "blobs/*", bundle.DeltaDir + "/*"} {
		found, err := fs.Glob(os.DirFS(dir), pattern)
		if err != nil {
			return err
		}
		for _, parent := range found {
			entries, err := os.ReadDir(filepath.Join(dir, parent))
			if err != nil {
				continue // a file, which is reported as not belonging to a bundle
			}
			for _, e := range entries {
				name, ok := atomicfile.FinalName(e.Name())
				if !ok || !reader.IsBundleFile(path.Join(parent, name)) {
					continue
				}
				if err := os.Remove(filepath.Join(dir, parent, e.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// maxCommits is how many files of a directory are verified and synced at the same time, while
// the next one is copied.
const maxCommits = 4

// dirWriter writes files to a directory.
type dirWriter struct {
	dir    string
	buf    []byte
	kernel bool // copy files within the kernel

	progress   bundle.Progress
	progressMu sync.Mutex // copies within the kernel are counted in goroutines
	done       int64
	total      int64
}

func newDirWriter(dir string, total int64, opts Options) *dirWriter {
	return &dirWriter{dir: dir, progress: opts.Progress, total: total, buf: make([]byte, 1<<20), kernel: !opts.ReadOnce}
}

// writeAll writes files. When it returns, they survive a power failure.
func (w *dirWriter) writeAll(ctx context.Context, files []bundle.File) error {
	commits, ctx := errgroup.WithContext(ctx)
	commits.SetLimit(maxCommits)
	dirs := map[string]bool{}
	var err error
	for _, f := range files {
		if err = w.write(ctx, f, commits); err != nil {
			break
		}
		dirs[filepath.Dir(w.path(f))] = true
	}
	// What failed in a goroutine has ended the context, and is the cause.
	if commitErr := commits.Wait(); commitErr != nil {
		return commitErr
	}
	if err != nil {
		return err
	}
	for dir := range dirs {
		if err := atomicfile.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// checkSpace fails if the file system has too little space for the files that are missing.
func (w *dirWriter) checkSpace(files []bundle.File) error {
	var required int64
	for _, f := range files {
		if st, err := os.Lstat(w.path(f)); err != nil || st.Size() != f.Size {
			required += f.Size
		}
	}
	return store.CheckFree(w.dir, required)
}

func (w *dirWriter) path(f bundle.File) string {
	return filepath.Join(w.dir, filepath.FromSlash(f.Name))
}

// write writes a file unless it exists and is undamaged. A goroutine completes it.
func (w *dirWriter) write(ctx context.Context, f bundle.File, commits *errgroup.Group) error {
	path := w.path(f)
	same, err := w.unchanged(ctx, path, f)
	if err != nil {
		return err
	}
	if same {
		w.add(f.Size)
		return nil
	}
	return retryReads(ctx, func() error { return w.create(ctx, path, f, commits) })
}

// create writes a file in place of one of the same name.
func (w *dirWriter) create(ctx context.Context, path string, f bundle.File, commits *errgroup.Group) error {
	out, err := atomicfile.Create(path, atomicfile.Options{Durable: true, NameLater: true})
	if err != nil {
		return err
	}
	verify, err := w.copyTo(ctx, out, f)
	if err != nil {
		out.Close()
		return err
	}
	commits.Go(func() error {
		defer out.Close()
		if err := verify(ctx); err != nil {
			return err
		}
		return out.Commit()
	})
	return nil
}

// copyTo copies a file, and returns a function that verifies what was written.
func (w *dirWriter) copyTo(
	ctx context.Context, out *atomicfile.File, f bundle.File,
) (verify func(context.Context) error, err error) {
	if w.kernel && f.Size >= filecopy.MinSize {
		err := withFile(&f, func(from *os.File) error {
			early := disk.NewEarlyWriter(out.File)
			copied, err := copyWithin(ctx, &f, from, out.File, 0, early, w.add)
			if err == nil {
				early.Start()
				verify = copied.verify
			}
			w.kernel = !errors.Is(err, errors.ErrUnsupported) // the others are on the same file system
			return err
		})
		if !errors.Is(err, errors.ErrUnsupported) {
			return verify, err
		}
	}
	var copied int64
	early := disk.NewEarlyWriter(out.File)
	err = copyFile(ctx, early, f, w.buf, func(n int) {
		copied += int64(n)
		w.add(int64(n))
	})
	early.Start()
	if err != nil {
		w.add(-copied)
	}
	return func(context.Context) error { return nil }, err
}

func (w *dirWriter) add(n int64) {
	w.progressMu.Lock()
	defer w.progressMu.Unlock()
	if w.done += n; w.progress != nil {
		w.progress(w.done, w.total)
	}
}

// unchanged reports whether a path has the content of a file.
func (w *dirWriter) unchanged(ctx context.Context, path string, f bundle.File) (bool, error) {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if st.IsDir() {
		return false, fmt.Errorf("%s is a directory", path)
	}
	if !st.Mode().IsRegular() || st.Size() != f.Size {
		return false, nil
	}
	in, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer in.Close()
	algorithm := f.Digest.Algorithm()
	sum := algorithm.Hash()
	for {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		n, err := in.Read(w.buf)
		sum.Write(w.buf[:n])
		if err == io.EOF {
			return digest.NewDigest(algorithm, sum) == f.Digest, nil
		}
		if err != nil {
			return false, nil //nolint:nilerr // it is written again
		}
	}
}

// removeStale removes the files of earlier bundles, and returns the names of other files.
func removeStale(ctx context.Context, dir string, files []bundle.File) (extra []string, err error) {
	keep := make(map[string]bool, len(files))
	for _, f := range files {
		keep[f.Name] = true
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	names, err := reader.DirNames(ctx, root)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		switch {
		case keep[name]:
		case !reader.IsBundleFile(name):
			extra = append(extra, name)
		default:
			if err := root.Remove(filepath.FromSlash(name)); err != nil {
				return nil, err
			}
		}
	}
	return extra, nil
}
