package delta

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/ctxio"
	"github.com/kolla-build/kolla-build/internal/disk"
)

// Blob is a compressed layer.
type Blob struct {
	Digest digest.Digest
	Size   int64
	Open   func() (io.ReadCloser, error) // may be called several times; the reader verifies the digest
}

// CarryWholeError reports that a byte delta for a layer is impossible, for example because
// the layer cannot be decompressed, or not worthwhile.
type CarryWholeError struct{ Reason string }

// Error implements error.
func (e *CarryWholeError) Error() string { return "no byte delta: " + e.Reason }

// worthwhile is the largest size of a delta relative to its layer: 9/10.
const worthwhile = 10

// Make writes the byte delta that makes target of base. It verifies that applying it
// gives the target's digest. The tar of the base is kept in a temporary file in tempDir
// meanwhile, which has no name. The error is a *CarryWholeError if there is no such delta:
// also if one of the layers cannot be read. Without space for the base it is syscall.ENOSPC.
func Make(ctx context.Context, w io.Writer, base, target Blob, tempDir string) (Header, error) {
	h, err := makeDelta(ctx, w, base, target, tempDir)
	var whole *CarryWholeError
	var unreadable *readError
	switch {
	case errors.As(err, &whole), err == nil:
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.As(err, &unreadable):
		err = &CarryWholeError{err.Error()}
	default:
		err = fmt.Errorf("byte delta of %s: %w", target.Digest, err)
	}
	return h, err
}

func makeDelta(ctx context.Context, w io.Writer, base, target Blob, tempDir string) (Header, error) {
	// Each stage needs tens of megabytes, which the collector would let add up.
	defer runtime.GC()
	compressor, layer, err := findCompressor(ctx, target)
	runtime.GC()
	if err != nil {
		return Header{}, err
	}
	if compressor == "" {
		return Header{}, &CarryWholeError{"no compressor makes exactly this layer of its tar"}
	}
	if layer.expands() {
		return Header{}, &CarryWholeError{fmt.Sprintf("its tar has more than %d times its size", maxRatio)}
	}
	h := Header{
		Target:     layer,
		Compressor: compressor,
		Version:    versionOf(compressor),
		Base:       Layer{Digest: base.Digest, Size: base.Size},
	}
	old, err := atomicfile.Unnamed(tempDir)
	if err != nil {
		return h, err
	}
	defer old.Close()
	limit := int64(maxTar)
	if _, free := disk.Space(tempDir); free > 0 {
		limit = min(limit, free/10*9)
	}
	if h.Base.DiffID, h.Base.TarSize, err = extract(ctx, old, base, limit); err != nil {
		if limit < maxTar && errors.Is(err, errTarTooLarge) {
			err = &fs.PathError{Op: "write", Path: tempDir, Err: syscall.ENOSPC}
		}
		return h, err
	}
	if h.Base.expands() {
		return h, &CarryWholeError{fmt.Sprintf("the tar of its base has more than %d times the size", maxRatio)}
	}
	runtime.GC()
	out, err := atomicfile.Unnamed(tempDir)
	if err != nil {
		return h, err
	}
	defer out.Close()
	if err := encodeTo(ctx, out, h, old, target); err != nil {
		return h, err
	}
	runtime.GC()
	size, err := out.Seek(0, io.SeekCurrent)
	if err != nil {
		return h, err
	}
	if size > target.Size/worthwhile*(worthwhile-1) {
		return h, &CarryWholeError{fmt.Sprintf("it would have %d bytes, the layer has %d", size, target.Size)}
	}
	// Only the tar is compared: it is known that compressing it gives the layer.
	sum := digest.Canonical.Digester()
	r, err := openDelta(io.NewSectionReader(out, 0, size))
	if err != nil {
		return h, err
	}
	defer r.close()
	if _, err := readHeader(r.Reader); err != nil {
		return h, err
	}
	if err := decode(sum.Hash(), r.Reader, old, h.Base.TarSize, h.Target.TarSize, r.read); err != nil {
		if errors.Is(err, errTooMuchWork) {
			err = &CarryWholeError{err.Error()}
		}
		return h, err
	}
	if got := sum.Digest(); got != h.Target.DiffID {
		return h, fmt.Errorf("verifying it: the tar has digest %s, not %s", got, h.Target.DiffID)
	}
	_, err = ctxio.Copy(ctx, w, io.NewSectionReader(out, 0, size))
	return h, err
}

// encodeTo writes a delta.
func encodeTo(ctx context.Context, w io.Writer, h Header, old *os.File, target Blob) error {
	blob, err := target.Open()
	if err != nil {
		return &readError{err}
	}
	defer blob.Close()
	tar, _, err := openTar(blob)
	if err != nil {
		return &readError{err}
	}
	defer tar.Close()
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(8<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(z, 64<<10)
	if err := writeHeader(buffered, h); err != nil {
		return err
	}
	if err := encode(buffered, old, h.Base.TarSize, ctxio.NewReader(ctx, layerReader{tar})); err != nil {
		return err
	}
	return z.Close()
}

// deltaReader reads a delta's frame.
type deltaReader struct {
	*bufio.Reader
	compressed *countingReader
	close      func()
}

// read returns how many compressed bytes were read.
func (r *deltaReader) read() int64 { return r.compressed.n }

// countingReader counts the bytes that are read.
type countingReader struct {
	io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func openDelta(from io.Reader) (*deltaReader, error) {
	r := &countingReader{Reader: from}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(16<<20))
	if err != nil {
		return nil, &FormatError{Detail: "it is not compressed with zstd", Err: err}
	}
	return &deltaReader{bufio.NewReaderSize(z, 64<<10), r, z.Close}, nil
}

// extract writes the tar of a layer, of at most limit bytes, to a file. Errors of the
// layer are of type *readError.
func extract(ctx context.Context, f *os.File, layer Blob, limit int64) (digest.Digest, int64, error) {
	blob, err := layer.Open()
	if err != nil {
		return "", 0, &readError{err}
	}
	defer blob.Close()
	tar, _, err := openTar(blob)
	if err != nil {
		return "", 0, fmt.Errorf("base %s: %w", layer.Digest, &readError{err})
	}
	defer tar.Close()
	sum := digest.Canonical.Digester()
	n, err := ctxio.Copy(ctx, io.MultiWriter(f, sum.Hash()), layerReader{io.LimitReader(tar, limit+1)})
	if err == nil && n > limit {
		err = &readError{fmt.Errorf("%w than %d bytes", errTarTooLarge, limit)}
	}
	if err == nil {
		_, err = ctxio.Copy(ctx, io.Discard, layerReader{blob}) // reads to the end, where the digest is verified
	}
	if err != nil {
		return "", 0, fmt.Errorf("base %s: %w", layer.Digest, err)
	}
	return sum.Digest(), n, nil
}

var errTarTooLarge = errors.New("its tar has more")

// WrongBaseError reports that the base of a delta is not the layer that it was made from.
type WrongBaseError struct {
	Want, Got digest.Digest
}

// Error implements error.
func (e *WrongBaseError) Error() string {
	return fmt.Sprintf("the byte delta was made from %s, not from %s", e.Want, e.Got)
}

// CompressorError reports that this program's compressor differs from the one with
// which the delta was made.
type CompressorError struct {
	Wrote, Writes string
	Digest        digest.Digest // of the result
}

// Error implements error.
func (e *CompressorError) Error() string {
	return fmt.Sprintf("compressing its tar gives %s: the delta was made with %q, this program has %q", e.Digest, e.Wrote,
		e.Writes)
}

// Hint returns a hint for the user.
func (e *CompressorError) Hint() string {
	return "load it with the release of kolla-build that wrote it, or save it again without --delta bytes"
}

// OpenBase opens the base of a delta. digest and size come from the untrusted delta:
// without a layer that has both, it returns an error.
type OpenBase func(d digest.Digest, size int64) (io.ReadCloser, error)

// Apply makes a layer from a delta and its base, and writes it, compressed, to w. During
// this, the tar of the base is kept in an unnamed temporary file in tempDir. Apply checks
// that the result has the digest target, which comes from the image's manifest. After an
// error, the output must not be used. Errors do not name the layer.
func Apply(ctx context.Context, w io.Writer, delta io.Reader, target Layer, open OpenBase, tempDir string) error {
	return ApplyIf(ctx, w, delta, target, open, tempDir, func(Header) error { return nil })
}

// ApplyIf is Apply for a delta whose header is accepted: an error of accept ends it before anything
// else is read.
func ApplyIf(
	ctx context.Context, w io.Writer, delta io.Reader, target Layer, open OpenBase, tempDir string,
	accept func(Header) error,
) error {
	r, err := openDelta(delta)
	if err != nil {
		return err
	}
	defer r.close()
	h, err := readHeader(r.Reader)
	if err != nil {
		return err
	}
	if h.Target.Digest != target.Digest || h.Target.Size != target.Size {
		return &FormatError{Detail: fmt.Sprintf("it makes %s of %d bytes, not the layer of %d bytes", h.Target.Digest,
			h.Target.Size, target.Size)}
	}
	if err := accept(h); err != nil {
		return err
	}
	if _, free := disk.Space(tempDir); free > 0 && h.Base.TarSize > free {
		return fmt.Errorf("its base needs %d bytes of temporary space in %s, which has %d", h.Base.TarSize, tempDir, free)
	}
	old, err := atomicfile.Unnamed(tempDir)
	if err != nil {
		return err
	}
	defer old.Close()
	base := Blob{
		Digest: h.Base.Digest,
		Size:   h.Base.Size,
		Open:   func() (io.ReadCloser, error) { return open(h.Base.Digest, h.Base.Size) },
	}
	diffID, size, err := extract(ctx, old, base, h.Base.TarSize)
	if err != nil {
		return err
	}
	if diffID != h.Base.DiffID || size != h.Base.TarSize {
		return &WrongBaseError{Want: h.Base.DiffID, Got: diffID}
	}
	limited := &limitedWriter{w: w, remaining: h.Target.Size}
	sum, tarSum := digest.Canonical.Digester(), digest.Canonical.Digester()
	z, err := newCompressor(h.Compressor, io.MultiWriter(limited, sum.Hash()))
	if err != nil {
		return &FormatError{Detail: "header", Err: err}
	}
	err = decode(contextWriter{ctx, io.MultiWriter(tarSum.Hash(), z)}, r.Reader, old, h.Base.TarSize, h.Target.TarSize,
		r.read)
	if err == nil {
		err = z.Close()
	}
	tarRight := tarSum.Digest() == h.Target.DiffID
	var format *FormatError
	switch {
	case errors.As(err, &format), ctx.Err() != nil:
		return err
	case err != nil && !errors.Is(err, errTooLarge):
		return err
	case err == nil && !tarRight:
		return &FormatError{Detail: fmt.Sprintf("its tar has digest %s, not %s", tarSum.Digest(), h.Target.DiffID)}
	case err != nil && h.Version == versionOf(h.Compressor):
		return &FormatError{Detail: fmt.Sprintf("it expands to more than the %d bytes of the layer", h.Target.Size)}
	case err != nil || sum.Digest() != target.Digest:
		return &CompressorError{Digest: sum.Digest(), Wrote: h.Compressor + " " + h.Version, Writes: versionOf(h.Compressor)}
	}
	return nil
}

var errTooLarge = errors.New("more bytes than the layer has")

// limitedWriter fails when too much data is written.
type limitedWriter struct {
	w         io.Writer
	remaining int64
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > l.remaining {
		return 0, errTooLarge
	}
	l.remaining -= int64(len(p))
	return l.w.Write(p)
}

type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.w.Write(p)
}
