package delta

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/procmem"
)

// TestRealLayers measures the byte delta between two tars, OLD:NEW, such as those of a
// root file system before and after an update: KOLLA_TEST_LAYERS=old.tar:new.tar.
func TestRealLayers(t *testing.T) {
	old, updated, ok := strings.Cut(os.Getenv("KOLLA_TEST_LAYERS"), ":")
	if !ok {
		t.Skip("KOLLA_TEST_LAYERS names no tars")
	}
	var blobs []Blob
	for _, path := range []string{old, updated} {
		blobs = append(blobs, compressFile(t, path))
	}
	var d bytes.Buffer
	start := time.Now()
	h, err := Make(t.Context(), &d, blobs[0], blobs[1], t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("layer %d bytes (tar %d), delta %d bytes = %.2f %%, made and verified in %v", h.Target.Size,
		h.Target.TarSize, d.Len(),
		100*float64(d.Len())/float64(h.Target.Size), time.Since(start).Round(time.Millisecond))
	start = time.Now()
	size := d.Len()
	if err := Apply(t.Context(), io.Discard, &d, h.Target, opener(blobs[0]), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Logf("applied in %v", time.Since(start).Round(time.Millisecond))
	if limit := h.Target.Size / 10; int64(size) > limit {
		t.Errorf("the delta has %d bytes, more than a tenth of the layer (%d)", size, limit)
	}
	peak, err := procmem.Peak(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("at most %d bytes of memory", peak)
}

// compressFile compresses a tar as layers are, without holding it in memory.
func compressFile(t *testing.T, path string) Blob {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.CreateTemp(t.TempDir(), "layer")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	sum := digest.Canonical.Digester()
	w, err := newCompressor("gzip:6", io.MultiWriter(out, sum.Hash()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, in); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	size, err := out.Seek(0, io.SeekCurrent)
	if err != nil {
		t.Fatal(err)
	}
	return Blob{Digest: sum.Digest(), Size: size, Open: func() (io.ReadCloser, error) { return os.Open(out.Name()) }}
}
