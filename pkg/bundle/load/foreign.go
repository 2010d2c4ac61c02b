package load

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/untar"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/reader"
	"github.com/kolla-build/kolla-build/pkg/imagearchive"
)

// keepList keeps a file that docker save and OCI layouts have in common until the
// format is known.
func (l *loader) keepList(m reader.Member) error {
	if l.check.Layout {
		return l.readOther(m)
	}
	b, err := l.readSmall(m, maxDockerList)
	if err != nil {
		return err
	}
	if l.keptLists == nil {
		l.keptLists = map[string][]byte{}
	}
	l.keptLists[m.Name] = b
	return nil
}

// maxDockerList is the limit of package imagearchive for manifest.json, in bytes.
const maxDockerList = 8 << 20

// readDocker reads the rest of an archive in a format of docker save, of which h is
// the first member that no OCI layout has.
func (l *loader) readDocker(ctx context.Context, h *tar.Header) error {
	l.docker = imagearchive.New(l.st, imagearchive.Options{NamesOnly: l.opts.NamesOnly})
	if l.st != nil {
		defer l.st.SaveCompressed() // an optimization only
	}
	for _, name := range []string{imagearchive.ManifestFile, imagearchive.RepositoriesFile} {
		if b, ok := l.keptLists[name]; ok {
			h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(b))}
			if err := l.addDocker(ctx, h, bytes.NewReader(b)); err != nil {
				return err
			}
		}
	}
	for h != nil {
		if err := l.addDocker(ctx, h, l.src.Files); err != nil {
			return err
		}
		var err error
		if h, err = untar.Next(l.src.Files); err != nil && err != io.EOF {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return l.check.DamagedError(err)
		}
	}
	images, err := l.docker.Images(ctx)
	if err != nil {
		return foreignError(ctx, err)
	}
	for _, img := range images {
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: img.Digest}
		if len(img.Names) == 0 {
			l.images = append(l.images, d)
		}
		for _, name := range img.Names {
			d.Annotations = map[string]string{bundle.ContainerdName: name}
			l.images = append(l.images, d)
		}
	}
	if l.checkIndex != nil {
		return l.checkIndex()
	}
	return nil
}

func (l *loader) addDocker(ctx context.Context, h *tar.Header, r io.Reader) error {
	err := l.docker.Add(ctx, h, r)
	stats := l.docker.Stats()
	l.sum.Blobs, l.sum.Reused, l.sum.Bytes = stats.Layers, stats.Reused, stats.Bytes
	if err != nil {
		return foreignError(ctx, err)
	}
	l.check.Count(h.Name)
	return nil
}

// foreignError adds a hint to an error of imagearchive.
func foreignError(ctx context.Context, err error) error {
	var ae *imagearchive.Error
	if ctx.Err() != nil || !errors.As(err, &ae) {
		return err
	}
	advice := bundle.AdviceForeignArchive
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		advice = bundle.AdviceTruncated
	case errors.Is(err, imagearchive.ErrSparse):
		advice = bundle.AdviceSparse
	}
	return &bundle.FormatError{Member: ae.Member, Detail: ae.Detail, Err: ae.Err, Advice: advice}
}
