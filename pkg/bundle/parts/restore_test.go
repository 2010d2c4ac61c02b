package parts

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
)

// TestLostPartsAreRestoredInOneReading compares the bytes that are read for one lost
// part and for five, with space for restored parts and without. Progress ends at its
// total.
func TestLostPartsAreRestoredInOneReading(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	stream, files := write(t, rng, 2<<20, MinSize, 20)
	missing := filepath.Join(t.TempDir(), "missing") // where nothing can be restored
	read := func(tempDir string) int64 {
		t.Helper()
		set, err := Open(files[len(files)-1])
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var done, total int64
		set.TempDir, set.Progress = tempDir, func(d, n int64) {
			mu.Lock()
			defer mu.Unlock()
			done, total = max(done, d), max(total, n)
		}
		r, err := set.Reader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, stream) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		mu.Lock()
		defer mu.Unlock()
		if done < total-total/100 || done > total {
			t.Errorf("progress ended at %d of %d", done, total)
		}
		return done
	}
	undamaged := read("")
	lose := func(n int) {
		t.Helper()
		if err := os.Remove(files[n]); err != nil {
			t.Fatal(err)
		}
	}
	lose(3)
	one := read("")
	if one >= 2*undamaged {
		t.Errorf("%d bytes read with one part lost, %d with none", one, undamaged)
	}
	for _, n := range []int{0, 7, 8, 20} {
		lose(n)
	}
	if five := read(""); five > one {
		t.Errorf("%d bytes read with five parts lost, %d with one", five, one)
	}
	if again := read(missing); again < one+3*int64(len(stream)) {
		t.Errorf("%d bytes read without space: where do the restored parts come from?", again)
	}
}

// TestRestoringAllocatesNoParity checks that the memory for restoring one part does not grow with the size
// of the parts, as it did while missing parity parts were computed too.
func TestRestoringAllocatesNoParity(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	allocated := func(size int64) uint64 {
		t.Helper()
		_, files := write(t, rng, 200*payloadOf(size), size, 50)
		if err := os.Remove(files[3]); err != nil {
			t.Fatal(err)
		}
		set, err := Open(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if data, parity := set.Counts(); data != 200 || parity < 99 {
			t.Fatalf("%d parts and %d parity parts", data, parity)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := set.reconstruct(t.Context(), map[int]io.Writer{3: io.Discard}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))  // else a buffer in a pool may be of another processor
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the collector would free memory that is used again
	allocated(MinSize)                               // tables of the code, which stay
	small, large := allocated(MinSize), allocated(4*MinSize)
	if large > small+8<<20 {
		t.Errorf("%d bytes were allocated for parts of %d bytes, and %d for parts of %d", large, 4*MinSize, small, MinSize)
	}
}
