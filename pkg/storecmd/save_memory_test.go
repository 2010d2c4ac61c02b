package storecmd

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

const memoryHelper = "KOLLA_TEST_SAVE_FROM"

// TestSaveMemoryHelper is the process whose memory TestSaveMemory measures.
func TestSaveMemoryHelper(t *testing.T) {
	from := os.Getenv(memoryHelper)
	if from == "" {
		t.Skip("started by TestSaveMemory")
	}
	f := site(t)
	if err := Save(t.Context(), f.config("--progress", "quiet"), f.con, "/dev/null", SaveOptions{From: from}); err != nil {
		t.Fatal(err)
	}
	testenv.PrintPeakMemory(t)
}

// randomStream is a stream of pseudo-random bytes.
type randomStream struct{ cipher.Stream }

func newRandom(seed int) io.Reader {
	key := make([]byte, 16)
	copy(key, strconv.Itoa(seed))
	block, _ := aes.NewCipher(key)
	return randomStream{cipher.NewCTR(block, make([]byte, aes.BlockSize))}
}

func (r randomStream) Read(p []byte) (int, error) {
	clear(p)
	r.XORKeyStream(p, p)
	return len(p), nil
}

// generatedRegistry serves images whose layers are computed, so that they need no disk.
func generatedRegistry(t *testing.T, images int, layer int64) (host string) {
	t.Helper()
	mux := http.NewServeMux()
	serve := func(path, mediaType string, content []byte) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			w.Header().Set("Docker-Content-Digest", string(digest.FromBytes(content)))
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			if r.Method != http.MethodHead {
				_, _ = w.Write(content)
			}
		})
	}
	config := []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers"}}`)
	var repositories []string
	for i := range images {
		sum := digest.Canonical.Digester()
		if _, err := io.CopyN(sum.Hash(), newRandom(i), layer); err != nil {
			t.Fatal(err)
		}
		manifest, err := json.Marshal(ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2},
			MediaType: ocispec.MediaTypeImageManifest,
			Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config),
				Size: int64(len(config))},
			Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: sum.Digest(), Size: layer}}})
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("kolla/image-%d", i)
		repositories = append(repositories, name)
		serve("/v2/"+name+"/tags/list", "application/json", []byte(`{"tags":["t"]}`))
		for _, identifier := range []string{"t", string(digest.FromBytes(manifest))} {
			serve("/v2/"+name+"/manifests/"+identifier, ocispec.MediaTypeImageManifest, manifest)
		}
		serve("/v2/"+name+"/blobs/"+string(digest.FromBytes(config)), "application/octet-stream", config)
		mux.HandleFunc("/v2/"+name+"/blobs/"+string(sum.Digest()), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.FormatInt(layer, 10))
			_, _ = io.CopyN(w, newRandom(i), layer)
		})
	}
	catalog, err := json.Marshal(map[string]any{"repositories": repositories})
	if err != nil {
		t.Fatal(err)
	}
	serve("/v2/_catalog", "application/json", catalog)
	serve("/v2/{$}", "application/json", []byte("{}"))
	return registrytest.Serve(t, mux)
}

// memoryBytes returns the size of the set of the tests of memory.
func memoryBytes(t *testing.T) int64 {
	t.Helper()
	text := os.Getenv("KOLLA_TEST_SAVE_BYTES")
	if text == "" {
		return 200_000_000
	}
	total, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// However large a set is, saving it from a registry takes less than 100 MB of memory.
// KOLLA_TEST_SAVE_BYTES is the size of the set.
func TestSaveMemory(t *testing.T) {
	testenv.Slow(t)
	total := memoryBytes(t)
	host := generatedRegistry(t, 20, total/20)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSaveMemoryHelper$", "-test.v", "-test.timeout=60m")
	cmd.Env = append(os.Environ(), memoryHelper+"="+host+"/kolla:t")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Run(); err != nil || !strings.Contains(out.String(), "--- PASS") {
		t.Fatalf("%v\n%s", err, out.String())
	}
	memory := testenv.PeakMemory(t, out.String())
	t.Logf("%d bytes: %d bytes of memory, %v, %v of processor time", total, memory, time.Since(began),
		cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	if memory > 100_000_000 && !testenv.Race {
		t.Errorf("saving %d bytes took %d bytes of memory", total, memory)
	}
}
