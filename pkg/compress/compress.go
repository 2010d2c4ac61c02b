// Package compress makes the published form of built images: it compresses layers that
// a builder exported as plain tars, each layer once, and writes the manifest that lists
// them. It owns the compressors, their settings and the version of their output; it
// must not know builders, registries or Dockerfiles.
package compress

import (
	"bufio"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The algorithms. eStargz is gzip with a table of contents, which lets a runtime
// start a container before it has the whole layer.
const (
	Gzip    = "gzip"
	Zstd    = "zstd"
	EStargz = "estargz"
)

// levels are the range and the default of each algorithm's levels.
var levels = map[string]struct{ min, max, normal int }{
	Gzip:    {1, 9, 6},
	Zstd:    {1, 22, 3},
	EStargz: {1, 9, 6},
}

// Settings are an algorithm and its level.
type Settings struct {
	Algorithm string // Gzip, Zstd or EStargz
	Level     int    // 1 to 9; of Zstd 1 to 22, in four steps
}

// Default can be read by every registry, engine and runtime.
var Default = Settings{Algorithm: Gzip, Level: levels[Gzip].normal}

// Parse reads ALGORITHM or ALGORITHM:LEVEL, such as "zstd" or "gzip:9".
func Parse(text string) (Settings, error) {
	algorithm, level, hasLevel := strings.Cut(text, ":")
	l, ok := levels[algorithm]
	if !ok {
		return Settings{}, fmt.Errorf("the algorithms are %s, %s and %s, not %q", Gzip, Zstd, EStargz, text)
	}
	s := Settings{Algorithm: algorithm, Level: l.normal}
	if !hasLevel {
		return s, nil
	}
	n, err := strconv.Atoi(level)
	if err != nil || n < l.min || n > l.max {
		return Settings{}, fmt.Errorf("compression %q: the levels of %s are %d to %d", text, algorithm, l.min, l.max)
	}
	s.Level = n
	return s, nil
}

// String returns the settings as Parse reads them, with the level.
func (s Settings) String() string { return s.Algorithm + ":" + strconv.Itoa(s.Level) }

// MediaType returns the media type of compressed layers.
func (s Settings) MediaType() string {
	if s.Algorithm == Zstd {
		return ocispec.MediaTypeImageLayerZstd
	}
	return ocispec.MediaTypeImageLayerGzip
}

// Version names everything besides the layer that affects the compressed bytes: the
// settings and the versions of the libraries. The same version gives the same bytes.
func (s Settings) Version() string { return s.String() + " " + libraries() }

// libraries are the modules whose code decides the bytes.
var libraries = sync.OnceValue(func() string {
	modules := []string{"github.com/klauspost/compress", "github.com/containerd/stargz-snapshotter/estargz"}
	var found []string
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Replace != nil {
				d = d.Replace
			}
			if slices.Contains(modules, d.Path) {
				found = append(found, d.Path+"@"+d.Version)
			}
		}
	}
	return strings.Join(found, " ")
})

// NewWriter returns a compressing writer. It uses a single goroutine: layers are compressed
// concurrently, and the output must not depend on the number of processors.
func (s Settings) NewWriter(w io.Writer) (io.WriteCloser, error) {
	switch s.Algorithm {
	case Zstd:
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(s.Level)), zstd.WithEncoderConcurrency(1))
	default:
		out := bufio.NewWriterSize(w, outputBuffer)
		z, err := gzip.NewWriterLevel(out, s.Level)
		return &gzipWriter{z, out}, err
	}
}

// outputBuffer is how many bytes of gzip are written at once. The library writes 246 bytes
// at a time, each of which would take a system call and a switch between goroutines.
const outputBuffer = 256 << 10

// gzipWriter buffers the output of gzip.
type gzipWriter struct {
	*gzip.Writer
	out *bufio.Writer
}

// Flush writes what was written so far.
func (w *gzipWriter) Flush() error {
	if err := w.Writer.Flush(); err != nil {
		return err
	}
	return w.out.Flush()
}

// Close writes the end of the stream.
func (w *gzipWriter) Close() error {
	if err := w.Writer.Close(); err != nil {
		return err
	}
	return w.out.Flush()
}
