package load

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// BenchmarkLoadNothingNew loads a set of 187 images again that the store has: 20 layers
// are shared, and each image has 7 more. KOLLA_BENCH_LAYER is the size of a layer in bytes.
func BenchmarkLoadNothingNew(b *testing.B) {
	size := int64(100_000)
	if text := os.Getenv("KOLLA_BENCH_LAYER"); text != "" {
		if _, err := fmt.Sscan(text, &size); err != nil {
			b.Fatal(err)
		}
	}
	s, err := store.Open(filepath.Join(b.TempDir(), "store"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	base := registrytest.Image(b, registrytest.Base(b, size), size, 19)
	var entries []store.Entry
	for i := range 187 {
		d, err := s.WriteImage(b.Context(), registrytest.Image(b, base, size, 7))
		if err != nil {
			b.Fatal(err)
		}
		entries = append(entries, store.Entry{Name: fmt.Sprintf("site.example/kolla/image-%d:1", i), Digest: d,
			Kind: store.KindLoaded})
	}
	if err := s.Put(entries...); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "set.tar")
	sum, err := save.Bundle(b.Context(), s, entries, path, save.Options{})
	if err != nil {
		b.Fatal(err)
	}
	time.Sleep(time.Second) // younger files are read again
	load := func() {
		reopened, err := store.Open(s.Dir()) // as its own process
		if err != nil {
			b.Fatal(err)
		}
		defer reopened.Close()
		if _, err := Bundle(b.Context(), path, reopened, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	start := time.Now()
	load()
	first := time.Since(start).Seconds()
	b.SetBytes(sum.Bytes)
	for b.Loop() {
		load()
	}
	b.ReportMetric(first, "s/first")
}
