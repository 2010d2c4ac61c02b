package reader

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
)

// dirFiles has the files of a directory in the order in which a tar would have them.
type dirFiles struct {
	root      *os.Root
	headers   []*tar.Header
	current   *os.File
	remaining int64
}

// openDir opens a bundle that is a directory. Files that do not belong to it are not
// read but listed in Source.Extra.
func openDir(ctx context.Context, dir string) (*Source, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	d := &dirFiles{root: root}
	extra, err := d.scan(ctx)
	if err != nil {
		root.Close()
		return nil, err
	}
	for _, name := range extra {
		if len(d.headers) == 0 && parts.IsPart(filepath.Join(dir, name)) {
			root.Close()
			return nil, usererr.Errorf("name the parts, such as "+filepath.Join(dir, name),
				"the directory is not a bundle: it contains parts of one")
		}
	}
	return &Source{Files: d, close: d.close, Extra: extra, dir: true}, nil
}

// scan lists the files and those that do not belong to the bundle.
func (d *dirFiles) scan(ctx context.Context) (extra []string, err error) {
	listed, err := d.listed()
	if err != nil {
		return nil, err
	}
	found := 0
	add := func(name string, e fs.DirEntry) error {
		if found++; found > 2*bundle.MaxFiles {
			return &bundle.FormatError{Detail: fmt.Sprintf("more than %d files", 2*bundle.MaxFiles),
				Advice: bundle.AdviceForged}
		}
		if listed != nil && !listed[name] || listed == nil && !IsBundleFile(name) {
			extra = append(extra, name)
			return nil
		}
		h, err := d.header(name, e)
		if err == nil {
			d.headers = append(d.headers, h)
		}
		return err
	}
	err = d.each(ctx, ".", func(e fs.DirEntry) error {
		if e.IsDir() && (e.Name() == "blobs" || e.Name() == bundle.DeltaDir) {
			return d.each(ctx, e.Name(), func(algorithm fs.DirEntry) error {
				name := path.Join(e.Name(), algorithm.Name())
				if !algorithm.IsDir() {
					return add(name, algorithm)
				}
				return d.each(ctx, name, func(blob fs.DirEntry) error { return add(path.Join(name, blob.Name()), blob) })
			})
		}
		return add(e.Name(), e)
	})
	slices.SortFunc(d.headers, func(a, b *tar.Header) int {
		return cmp.Or(cmp.Compare(readOrder(a), readOrder(b)), strings.Compare(a.Name, b.Name))
	})
	slices.Sort(extra)
	return extra, err
}

// readOrder returns the position of a file: first the files that a reader needs first, then
// possible manifests, byte deltas, and layers.
func readOrder(h *tar.Header) int {
	first := []string{ocispec.ImageLayoutFile, bundle.ManifestName, bundle.SignatureName, ocispec.ImageIndexFile,
		bundle.DeltaListName, bundle.DockerManifestName}
	_, isBlob := bundle.BlobDigest(h.Name)
	switch n := slices.Index(first, h.Name); {
	case n >= 0:
		return n
	case isBlob && h.Size <= bundle.MaxImageManifest:
		return len(first)
	case isBlob:
		return len(first) + 2
	}
	return len(first) + 1
}

// DirNames returns the names of all files in a directory, and in blobs/ and deltas/ of it.
func DirNames(ctx context.Context, root *os.Root) ([]string, error) {
	d := &dirFiles{root: root}
	names, err := d.scan(ctx)
	for _, h := range d.headers {
		names = append(names, h.Name)
	}
	return names, err
}

// IsBundleFile reports whether a file of this name can be in a bundle.
func IsBundleFile(name string) bool {
	switch name {
	case ocispec.ImageLayoutFile, bundle.ManifestName, bundle.SignatureName, ocispec.ImageIndexFile, bundle.DeltaListName, bundle.DockerManifestName:
		return true
	}
	_, isBlob := bundle.BlobDigest(name)
	_, isDelta := bundle.BlobDigest(strings.Replace(name, bundle.DeltaDir+"/", "blobs/", 1))
	return isBlob || isDelta
}

// listed returns the names of the files that the manifest lists, of the manifest itself and of its
// signature. It returns nil if the manifest is missing or damaged, which its reader reports.
func (d *dirFiles) listed() (map[string]bool, error) {
	f, err := d.open(bundle.ManifestName)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotRegular) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > bundle.MaxManifest {
		return nil, nil
	}
	b := make([]byte, info.Size()) // io.ReadAll would take a multiple
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, err
	}
	m, err := bundle.ParseManifest(b)
	if err != nil {
		return nil, nil
	}
	names := m.Names()
	names[bundle.ManifestName], names[bundle.SignatureName] = true, true
	return names, nil
}

var errNotRegular = errors.New("it is not a regular file")

// open opens a regular file. It does not wait for the writer of a named pipe.
func (d *dirFiles) open(name string) (*os.File, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", name, errNotRegular)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// each calls f for each entry of a directory, not all of which need to fit into memory.
func (d *dirFiles) each(ctx context.Context, dir string, f func(fs.DirEntry) error) error {
	open, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	defer open.Close()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		entries, err := open.ReadDir(1000)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := f(e); err != nil {
				return err
			}
		}
	}
}

func (d *dirFiles) header(name string, e fs.DirEntry) (*tar.Header, error) {
	info, err := e.Info()
	if err != nil {
		return nil, err
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = d.root.Readlink(name); err != nil {
			return nil, err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return nil, err
	}
	h.Name = name
	return h, nil
}

// Next returns the next file.
func (d *dirFiles) Next() (*tar.Header, error) {
	if d.current != nil {
		d.current.Close()
		d.current = nil
	}
	if len(d.headers) == 0 {
		return nil, io.EOF
	}
	h := d.headers[0]
	d.headers = d.headers[1:]
	if d.remaining = 0; h.Typeflag == tar.TypeReg {
		f, err := d.open(h.Name)
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		d.current, d.remaining, h.Size = f, info.Size(), info.Size()
	}
	return h, nil
}

// Read reads the current file.
func (d *dirFiles) Read(p []byte) (int, error) {
	if d.remaining == 0 || d.current == nil {
		return 0, io.EOF
	}
	n, err := d.current.Read(p[:min(int64(len(p)), d.remaining)])
	if d.remaining -= int64(n); err == io.EOF {
		err = io.ErrUnexpectedEOF // it became shorter
	}
	return n, err
}

func (d *dirFiles) close() {
	if d.current != nil {
		d.current.Close()
	}
	d.root.Close()
}
