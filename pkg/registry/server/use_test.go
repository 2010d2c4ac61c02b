package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// At any moment of a garbage collection, a manifest that a client has asked for exists
// together with all its blobs or not at all.
func TestManifestsAreUsedWithTheirBlobs(t *testing.T) {
	testenv.Slow(t)
	u := newUsage(t.TempDir())
	long := time.Now().Add(-24 * time.Hour)
	add := func(text string) digest.Digest {
		t.Helper()
		d := digest.FromString(text)
		path := u.blob(d)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600),
			os.Chtimes(path, long, long)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	c := &collector{use: u, opts: GCOptions{Unused: time.Hour}}
	for i := range 200 {
		m := manifest{digest: add(fmt.Sprint("manifest", i))}
		for n := range 20 {
			m.Layers = append(m.Layers, ocispec.Descriptor{Digest: add(fmt.Sprint("layer", i, n))})
		}
		var both sync.WaitGroup
		both.Go(func() { u.recordManifest(t.Context(), "kolla/base", m.digest, m) })
		removed := false
		both.Go(func() {
			for _, d := range append([]digest.Digest{m.digest}, m.blobs()...) {
				gone, err := c.remove(d, func() error { return os.Remove(u.blob(d)) })
				if err != nil {
					t.Error(err)
				}
				if d == m.digest {
					removed = gone
				}
			}
		})
		both.Wait()
		if removed {
			continue
		}
		for _, b := range m.blobs() {
			if _, err := os.Stat(u.blob(b)); errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("round %d: the manifest was kept, and a blob of it removed", i)
			}
		}
	}
}
