package compress

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Stream compresses a plain tar while it is read, and writes the result to st. The
// algorithm must not be EStargz, which reads a layer twice.
func (s Settings) Stream(ctx context.Context, st Store, r io.Reader) (Layer, error) {
	return s.stream(ctx, st, r, func(w io.Writer, r io.Reader) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// stream is Stream with a function that copies the tar and may change it.
func (s Settings) stream(ctx context.Context, st Store, r io.Reader, copyTar func(io.Writer, io.Reader) error) (
	Layer, error) {
	pr, pw := io.Pipe()
	sum := digest.Canonical.Digester()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		w, err := s.NewWriter(pw)
		if err == nil {
			err = copyTar(io.MultiWriter(w, sum.Hash()), r)
			if cerr := w.Close(); err == nil {
				err = cerr
			}
		}
		pw.CloseWithError(err)
	}()
	d, size, err := st.WriteBlob(ctx, pr, "", -1)
	pr.CloseWithError(err) // ends the goroutine if the store stopped reading
	<-copied               // the caller may close r
	if err != nil {
		return Layer{}, err
	}
	return Layer{
		DiffID:     sum.Digest(),
		Descriptor: ocispec.Descriptor{MediaType: s.MediaType(), Digest: d, Size: size},
	}, nil
}
