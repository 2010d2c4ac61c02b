package bundle_test

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// mostMemory is what verify and load may take, regardless of the size of the bundle.
const mostMemory = 100 << 20

const largeHelper = "KOLLA_TEST_LARGE_DO"

// TestLargeHelper is the process whose memory TestMemoryOfLargeBundles measures.
func TestLargeHelper(t *testing.T) {
	switch command, dir, _ := strings.Cut(os.Getenv(largeHelper), " "); command {
	case "verify":
		if r := testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), "-", verify.Options{})); !r.OK {
			t.Errorf("%+v", r.Problems)
		}
	case "parts":
		r := testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), dir, verify.Options{}))
		if !r.OK || !r.Parts.Restored {
			t.Errorf("%+v", r)
		}
	case "load":
		st := testenv.Must[*store.Store](t)(store.Open(dir))
		defer st.Close()
		testenv.Must[load.Summary](t)(load.Bundle(t.Context(), "-", st, load.Options{}))
	case "save":
		st := testenv.Must[*store.Store](t)(store.OpenReadOnly(dir))
		defer st.Close()
		testenv.Must[save.Summary](t)(save.Bundle(t.Context(), st, testenv.Must[[]store.Entry](t)(st.Entries()),
			filepath.Join(filepath.Dir(dir), "set.tar"), save.Options{}))
	default:
		t.Skip("started by the tests of memory")
	}
	testenv.PrintPeakMemory(t)
}

// TestMemoryOfLargeBundles verifies and loads a bundle that is made while it is read, and saves
// what was loaded. KOLLA_TEST_LARGE and KOLLA_TEST_LARGE_LOAD are its sizes for verify and for
// load and save: the first needs no disk space, the second twice the size.
func TestMemoryOfLargeBundles(t *testing.T) {
	testenv.Slow(t)
	dir := filepath.Join(t.TempDir(), "store")
	for _, command := range []string{"verify", "load", "save"} {
		variable := "KOLLA_TEST_LARGE_LOAD"
		if command == "verify" {
			variable = "KOLLA_TEST_LARGE"
		}
		size := int64(160 << 20)
		if text := os.Getenv(variable); text != "" {
			size = testenv.Must[int64](t)(config.ParseSize(text))
		}
		cmd := helper(t, command+" "+dir)
		in := testenv.Must[io.WriteCloser](t)(cmd.StdinPipe())
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		if command != "save" {
			streamLarge(t, in, size)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out.String())
		}
		elapsed := time.Since(started)
		memory := testenv.PeakMemory(t, out.String())
		t.Logf("%s of %d MB: %.1f s, processor %.1f s, memory %d MB", command, size>>20, elapsed.Seconds(),
			(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), memory>>20)
		if memory > mostMemory && !raceEnabled {
			t.Errorf("%s of %d bytes took %d bytes of memory, more than %d", command, size, memory, mostMemory)
		}
	}
}

// TestMemoryOfDamagedParts verifies a set in many parts of which some are lost.
// KOLLA_TEST_LARGE is its size.
func TestMemoryOfDamagedParts(t *testing.T) {
	testenv.Slow(t)
	size := int64(80 << 20)
	if text := os.Getenv("KOLLA_TEST_LARGE"); text != "" {
		size = testenv.Must[int64](t)(config.ParseSize(text))
	}
	dir := t.TempDir()
	w := testenv.Must[*parts.Writer](t)(parts.Create(t.Context(), dir+"/set.tar", size/42, 10))
	streamLarge(t, writeOnly{w}, size)
	files := testenv.Must[[]string](t)(w.Close())
	for _, lost := range []int{1, 2, 5, 41} {
		if err := os.Remove(files[lost]); err != nil {
			t.Fatal(err)
		}
		out, err := helper(t, "parts "+files[0]).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		memory := testenv.PeakMemory(t, string(out))
		t.Logf("verify of %d MB in %d parts, %d of them lost: memory %d MB", size>>20, len(files),
			len(files)-len(testenv.Must[[]string](t)(filepath.Glob(dir+"/*"))), memory>>20)
		if memory > mostMemory && !raceEnabled {
			t.Errorf("verify took %d bytes of memory, more than %d", memory, mostMemory)
		}
	}
}

// writeOnly is a writer whose owner closes it.
type writeOnly struct{ io.Writer }

func (writeOnly) Close() error { return nil }

func helper(t *testing.T, command string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLargeHelper$", "-test.timeout=60m")
	cmd.Env = append(os.Environ(), largeHelper+"="+command)
	return cmd
}

// streamLarge writes a bundle of one image with layers of up to 256 MB.
func streamLarge(t *testing.T, w io.WriteCloser, size int64) {
	t.Helper()
	defer w.Close()
	const most = 256 << 20
	layer := func(n int64) io.Reader {
		return io.LimitReader(rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}), min(most, size-n*most))
	}
	blob := func(mediaType string, v any) (ocispec.Descriptor, []byte) {
		b := testenv.Must[[]byte](t)(json.Marshal(v))
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}, b
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for n := int64(0); n*most < size; n++ {
		h := digest.Canonical.Digester()
		length := testenv.Must[int64](t)(io.Copy(h.Hash(), layer(n)))
		manifest.Layers = append(manifest.Layers,
			ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: h.Digest(), Size: length})
	}
	configBlob, configBytes := blob(ocispec.MediaTypeImageConfig,
		ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}})
	manifest.Config = configBlob
	d, manifestBytes := blob(ocispec.MediaTypeImageManifest, manifest)
	d.Annotations = map[string]string{ocispec.AnnotationRefName: "site.example/kolla/large:1"}
	_, index := blob("", ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{d}})

	tw := tar.NewWriter(w)
	add := func(name string, size int64, r io.Reader) {
		t.Helper()
		if err := tw.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size}); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(tw, r); err != nil || n != size {
			t.Fatalf("%s: %d of %d bytes, %v", name, n, size, err)
		}
	}
	text := func(name string, b []byte) { add(name, int64(len(b)), strings.NewReader(string(b))) }
	text(ocispec.ImageLayoutFile, []byte(fmt.Sprintf(`{"imageLayoutVersion":%q}`, ocispec.ImageLayoutVersion)))
	text(ocispec.ImageIndexFile, index)
	text(bundle.BlobPath(d.Digest), manifestBytes)
	text(bundle.BlobPath(configBlob.Digest), configBytes)
	for n, l := range manifest.Layers {
		add(bundle.BlobPath(l.Digest), l.Size, layer(int64(n)))
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
}
