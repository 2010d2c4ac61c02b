package delta

import "github.com/kolla-build/kolla-build/internal/units"

// All deltas of a bundle may make freeWork bytes of tar, those of their bases included, and
// workPerByte for each byte of them. Without the first, a few changed files in each large layer of a set
// could not be deltas: all layers of all images have about 20 GB, and count twice. gzip makes 30 to 100 MB
// a second.
const (
	freeWork    = 64 << 30
	workPerByte = 4096
)

// Work is what the deltas of one bundle make a site do. Each of them is bounded by the size of its
// base, but a bundle of a few megabytes may have thousands.
type Work struct{ tar, deltas int64 }

// Skip counts a delta of size bytes that is not applied.
func (w *Work) Skip(size int64) { w.deltas += size }

// Add counts a delta of size bytes with its header. The error is a *FormatError if the deltas so far
// make too much.
func (w *Work) Add(h Header, size int64) error {
	w.deltas += size
	w.tar += h.Base.TarSize + h.Target.TarSize
	if limit := freeWork + workPerByte*w.deltas; w.tar > limit {
		return &FormatError{Detail: "the byte deltas of the bundle so far make more than " + units.Bytes(limit), Limit: true}
	}
	return nil
}
