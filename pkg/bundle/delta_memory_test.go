package bundle_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle/contents"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// deltaHelper is the environment variable with the directory of the process whose memory is
// measured.
const deltaHelper = "KOLLA_TEST_BYTE_DELTAS"

// TestByteDeltasHelper is the process that TestMemoryOfByteDeltas measures. It saves the
// delta, or loads it if it exists.
func TestByteDeltasHelper(t *testing.T) {
	dir := os.Getenv(deltaHelper)
	if dir == "" {
		t.Skip("started by TestMemoryOfByteDeltas")
	}
	st := testenv.Must[*store.Store](t)(store.Open(filepath.Join(dir, "store")))
	defer st.Close()
	first, changes := filepath.Join(dir, "first.tar"), filepath.Join(dir, "delta.tar")
	deltas := 0
	if _, err := os.Stat(changes); err == nil {
		site := testenv.Must[*store.Store](t)(store.Open(filepath.Join(dir, "site")))
		defer site.Close()
		for _, file := range []string{first, changes} {
			deltas = testenv.Must[load.Summary](t)(load.Bundle(t.Context(), file, site, load.Options{Replace: true})).Deltas
		}
	} else {
		since := testenv.Must[*inventory.Inventory](t)(contents.Inventory(t.Context(), first, st))
		entries := testenv.Must[[]store.Entry](t)(st.Entries())
		deltas = testenv.Must[save.Summary](t)(save.Bundle(t.Context(), st, entries, changes,
			save.Options{Since: since, ByteDeltas: true})).Deltas
	}
	if deltas != memoryImages {
		t.Fatalf("%d byte deltas, want %d", deltas, memoryImages)
	}
	testenv.PrintPeakMemory(t)
}

// memoryImages is the number of images of TestMemoryOfByteDeltas, of one layer each.
const memoryImages = 4

// TestMemoryOfByteDeltas checks that save and load of several byte deltas of large layers take
// less than 100 MB of memory.
func TestMemoryOfByteDeltas(t *testing.T) {
	testenv.Slow(t)
	for _, algorithm := range []string{compress.Gzip, compress.Zstd, compress.Zstd + ":12"} {
		t.Run(algorithm, func(t *testing.T) {
			settings := testenv.Must[compress.Settings](t)(compress.Parse(algorithm))
			dir := twoMonthsOfLargeLayers(t, settings)
			for _, command := range []string{"save", "load"} {
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestByteDeltasHelper$", "-test.v")
				cmd.Env = append(os.Environ(), deltaHelper+"="+dir)
				out, err := cmd.CombinedOutput()
				if err != nil || !strings.Contains(string(out), "--- PASS") {
					t.Fatalf("%s: %v\n%s", command, err, out)
				}
				memory := testenv.PeakMemory(t, string(out))
				t.Logf("%s: %d bytes of memory", command, memory)
				if memory > mostMemory && !raceEnabled {
					t.Errorf("%s took %d bytes of memory, more than %d", command, memory, mostMemory)
				}
			}
		})
	}
}

// twoMonthsOfLargeLayers returns a directory with the bundle of a first month and the store
// of a second one, in which every layer has changed.
func twoMonthsOfLargeLayers(t *testing.T, settings compress.Settings) string {
	t.Helper()
	const layerSize = 80 << 20 // too many blocks for a table of the smallest ones
	dir := t.TempDir()
	st := testenv.Must[*store.Store](t)(store.Open(filepath.Join(dir, "store")))
	defer st.Close()
	layer := make([]byte, layerSize)
	for month := range 2 {
		var entries []store.Entry
		for i := range memoryImages {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for at := 0; at < 8<<20; at += 8 {
				binary.LittleEndian.PutUint64(layer[at:], rng.Uint64())
			}
			copy(layer[1000:], fmt.Sprintf("month %d", month))
			entries = append(entries, storetest.PutCompressed(t, st, settings, fmt.Sprintf("kolla/image%d:t", i), layer))
		}
		if month == 0 {
			if _, err := save.Bundle(t.Context(), st, entries, filepath.Join(dir, "first.tar"), save.Options{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}
