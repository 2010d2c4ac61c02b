package storecmd

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/setcopy"
)

const copyHelper = "KOLLA_TEST_COPY_FROM_TO"

// TestCopyMemoryHelper is the process whose memory TestCopyMemory measures.
func TestCopyMemoryHelper(t *testing.T) {
	from, to, ok := strings.Cut(os.Getenv(copyHelper), " ")
	if !ok {
		t.Skip("started by TestCopyMemory")
	}
	f := site(t)
	if err := setcopy.Copy(t.Context(), f.config("--progress", "quiet"), f.con, []string{from, to},
		setcopy.Options{}); err != nil {
		t.Fatal(err)
	}
	testenv.PrintPeakMemory(t)
}

// sink is a registry that verifies blobs and forgets them, so that they need no disk.
type sink struct {
	mu        sync.Mutex
	manifests map[string][]byte // by path
	blobs     map[string]bool   // by digest
	bytes     int64
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, last, _ := strings.Cut(r.URL.Path, "/blobs/")
	manifest := strings.Contains(r.URL.Path, "/manifests/")
	switch {
	case r.URL.Path == "/v2/":
		w.WriteHeader(http.StatusOK)
	case r.Method == http.MethodPost:
		w.Header().Set("Location", r.URL.Path+"upload")
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodPut && manifest:
		b, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		d := digest.FromBytes(b)
		s.mu.Lock()
		s.manifests[r.URL.Path] = b
		s.manifests[r.URL.Path[:strings.LastIndexByte(r.URL.Path, '/')+1]+d.String()] = b
		s.mu.Unlock()
		w.Header().Set("Docker-Content-Digest", d.String())
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodPut:
		sum := digest.Canonical.Digester()
		n, err := io.Copy(sum.Hash(), r.Body)
		if want := r.URL.Query().Get("digest"); err != nil || sum.Digest().String() != want {
			http.Error(w, "another digest", http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.bytes += n
		s.blobs[sum.Digest().String()] = true
		s.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
	default:
		s.mu.Lock()
		b, found := s.manifests[r.URL.Path]
		found = found || s.blobs[last]
		s.mu.Unlock()
		if !found {
			http.Error(w, "{}", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		_, _ = w.Write(b)
	}
}

// However large a set is, copying it between registries takes less than 100 MB of memory.
// KOLLA_TEST_SAVE_BYTES is the size of the set.
func TestCopyMemory(t *testing.T) {
	testenv.Slow(t)
	total := memoryBytes(t)
	to := &sink{manifests: map[string][]byte{}, blobs: map[string]bool{}}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCopyMemoryHelper$", "-test.v", "-test.timeout=60m")
	cmd.Env = append(os.Environ(), copyHelper+"="+generatedRegistry(t, 20,
		total/20)+"/kolla:t "+registrytest.Serve(t, to)+"/site")
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
	memory := testenv.PeakMemory(t, string(out))
	t.Logf("%d bytes: %d bytes of memory, %v, %v of processor time", total, memory, time.Since(began),
		cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	to.mu.Lock()
	defer to.mu.Unlock()
	if to.bytes < total {
		t.Errorf("%d bytes arrived, want %d", to.bytes, total)
	}
	if memory > 100_000_000 && !testenv.Race {
		t.Errorf("copying %d bytes took %d bytes of memory", total, memory)
	}
}
