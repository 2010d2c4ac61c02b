package define

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ctxio"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/kolla-build/kolla-build/pkg/render"
	"github.com/kolla-build/kolla-build/pkg/source"
)

// prepare fills in an image's Dockerfile with its build context, and the time of
// its newest source.
func (d *definer) prepare(ctx context.Context, f *render.Dockerfile, x *definition) {
	x.ID, x.Reference, x.From, x.Parts = d.set.ID(f.Name), f.Reference, f.From, map[string]string{}
	x.PlaceOf = f.PlaceOf
	x.Dockerfile = buildkit.Dockerfile{
		Name:           f.Name,
		Reference:      f.Reference,
		Path:           f.Template,
		Content:        f.Content,
		Labels:         d.labels(f),
		SourceDisabled: sourceDisabled(d.set.Config, f.Name),
	}
	if f.Err != nil {
		x.Err = f.Err
		return
	}
	used, usesAll := x.Dockerfile.ContextPaths(d.set.Triggers(f)...)
	if used == nil {
		used = []string{} // selects no files, unlike nil
	}
	if x.Err = d.preparePatches(ctx, f, &x.Image); x.Err != nil {
		return
	}
	files := contextFiles{definer: d}
	ignore, err := ignoreFile(f, &x.Dockerfile)
	if err != nil {
		x.Err = fmt.Errorf("build context of %s: %w", f.Name, err)
		return
	}
	kept := ignore.Kept(contextPaths(f))
	var ownEntries []source.ContextEntry
	for _, file := range f.Context {
		path := filepath.ToSlash(file.Path)
		if dir, _, _ := strings.Cut(path, "/"); dir == "plugins" || dir == "additions" {
			ownEntries = append(ownEntries, source.ContextEntry{Path: path, Mode: file.Mode, Open: file.Open})
		}
		if !kept[path] {
			x.Dockerfile.Ignored = append(x.Dockerfile.Ignored, path)
			continue
		}
		if !usesAll && file.Mode.IsRegular() && !dockerfile.NamesPath(used, path) {
			files.addUnread(path, file)
			continue
		}
		if err := files.add(ctx, path, file.Mode, file.Size, "", file.Open); err != nil {
			x.Err = fmt.Errorf("build context of %s: %w", f.Name, err)
			return
		}
	}
	archives, err := d.archiver.archives(ctx, f.Name, ownEntries, func(archive string) bool {
		return d.set.CopiesArchive(archive, used, usesAll)
	})
	for _, a := range archives {
		switch {
		case !ignore.Kept([]string{a.Name})[a.Name]:
			x.Dockerfile.Ignored = append(x.Dockerfile.Ignored, a.Name)
			continue
		case err == nil:
			err = files.add(ctx, a.Name, 0o644, a.Size, digest.Digest(a.Digest), func() (io.ReadCloser, error) {
				return os.Open(a.Path)
			})
		}
		if a.Modified.After(x.newest) {
			x.newest = a.Modified
		}
	}
	x.Dockerfile.Context = files.files
	if err != nil {
		x.Err = fmt.Errorf("sources of %s: %w", f.Name, err)
		cfg := d.set.Config
		fromSource := cfg.InstallType == "source" && !cfg.IsSet("install-type") // by default
		if hint := usererr.Hint(err); hint != "" && fromSource && cfg.ImagesDir == "" {
			x.Err = usererr.WithHint(x.Err, hint+"; -t binary installs the distribution's packages instead")
		}
	}
}

// ignoreFile reads the file that lists what the build context leaves out, if the image
// has one.
func ignoreFile(f *render.Dockerfile, d *buildkit.Dockerfile) (*dockerfile.Ignore, error) {
	for _, name := range dockerfile.IgnoreFiles {
		i := slices.IndexFunc(f.Context, func(file render.File) bool { return file.Path == name && file.Mode.IsRegular() })
		if i < 0 {
			continue
		}
		file := f.Context[i]
		if file.Size > dockerfile.MaxIgnoreFile {
			return nil, fmt.Errorf("%s is larger than %s", file.Origin, units.Bytes(dockerfile.MaxIgnoreFile))
		}
		content, err := file.Read()
		if err != nil {
			return nil, err
		}
		d.IgnoreFile = name
		return dockerfile.ParseIgnore(file.Origin, content)
	}
	return nil, nil
}

func contextPaths(f *render.Dockerfile) []string {
	paths := make([]string, len(f.Context))
	for i, file := range f.Context {
		paths[i] = filepath.ToSlash(file.Path)
	}
	return paths
}

// contextFiles are the files of one image's build context.
type contextFiles struct {
	*definer
	files  []buildkit.ContextFile
	inline int64 // bytes of the files that are held in memory
}

// add reads a small file, and writes a large one to the store, see writeBlob. A file with a known
// digest is not read if the store has it.
func (c *contextFiles) add(ctx context.Context, path string, mode os.FileMode, size int64, knownDigest digest.Digest,
	open func() (io.ReadCloser, error)) error {
	cf := buildkit.ContextFile{Path: path, Mode: mode}
	if mode.IsDir() {
		c.files = append(c.files, cf)
		return nil
	}
	var err error
	cf.Data, cf.Blob, err = c.read(ctx, cf, c.reserve(size), size, knownDigest, open)
	c.files = append(c.files, cf)
	return err
}

// addUnread adds a file that is read only if it is needed.
func (c *contextFiles) addUnread(path string, file render.File) {
	inline := c.reserve(file.Size)
	cf := buildkit.ContextFile{Path: path, Mode: file.Mode}
	cf.Read = func(ctx context.Context) ([]byte, digest.Digest, error) {
		return c.read(ctx, cf, inline, file.Size, "", file.Open)
	}
	c.files = append(c.files, cf)
}

// reserve reports whether a file of a size is held in memory. Files that are not read
// count too, because whether a later file is in memory is part of its image's key.
func (c *contextFiles) reserve(size int64) bool {
	if size > buildkit.InlineLimit() || c.inline+size > buildkit.InlineBudget {
		return false
	}
	c.inline += size
	return true
}

// read returns the content of a file, or the blob of the store that has it.
func (c *contextFiles) read(
	ctx context.Context, cf buildkit.ContextFile, inline bool, size int64,
	knownDigest digest.Digest, open func() (io.ReadCloser, error),
) ([]byte, digest.Digest, error) {
	r, err := open()
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	if !inline && buildkit.IsArchived(cf.Path) {
		pr, pw := io.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			pw.CloseWithError(buildkit.Archive(pw, cf.Path, cf.Mode, size, r))
		}()
		blob, err := c.writeBlob(ctx, pr, "", -1)
		pr.Close() // ends Archive if the blob was not written
		<-done     // waits for the goroutine, which reads r
		return nil, blob, err
	}
	if !inline {
		blob, err := c.writeBlob(ctx, r, knownDigest, size)
		return nil, blob, err
	}
	var b bytes.Buffer
	_, err = io.Copy(&b, r)
	return b.Bytes(), "", err
}

// writeBlob writes a file to the store and returns its digest, which is all that commands need
// which only read the store.
func (c *contextFiles) writeBlob(ctx context.Context, r io.Reader, known digest.Digest, size int64) (
	digest.Digest, error) {
	switch {
	case !c.opts.Store.ReadOnly():
		blob, _, err := c.opts.Store.WriteBlob(ctx, r, known, size)
		return blob, err
	case known != "":
		return known, nil
	default:
		return digest.FromReader(ctxio.NewReader(ctx, r))
	}
}

// labels are the OCI labels that upstream sets on each image.
func (d *definer) labels(f *render.Dockerfile) map[string]string {
	cfg := d.set.Config
	return map[string]string{
		"org.opencontainers.image.title":       f.Name,
		"org.opencontainers.image.description": "OpenStack Kolla " + f.Name + " image",
		"org.opencontainers.image.version":     d.opts.VersionLabel,
		"org.opencontainers.image.authors":     cfg.Maintainer,
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
}
