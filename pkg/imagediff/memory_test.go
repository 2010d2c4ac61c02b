package imagediff

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
)

const memoryHelper = "KOLLA_TEST_DIFF"

// TestMemoryHelper is the process whose memory TestMemory measures.
func TestMemoryHelper(t *testing.T) {
	args := strings.Fields(os.Getenv(memoryHelper)) // a data directory, two images, and the format
	if len(args) != 4 {
		t.Skip("started by TestMemory")
	}
	f := &fixture{t: t, dir: args[0]}
	written := &counter{}
	con := &console.Console{Stdout: written, Stderr: io.Discard}
	err := Run(t.Context(), f.config("--debug"), con, args[1], args[2], args[3] == "json")
	if !errors.Is(err, usererr.ErrReported) || written.lines < 2*memoryFiles {
		t.Errorf("%d lines, %v", written.lines, err)
	}
	testenv.PrintPeakMemory(t)
}

// counter counts the lines that are written.
type counter struct{ lines int }

func (c *counter) Write(p []byte) (int, error) {
	c.lines += bytes.Count(p, []byte("\n"))
	return len(p), nil
}

const (
	memoryFiles = 249_000     // of each image
	mostMemory  = 300_000_000 // bytes
	memoryPath  = 80          // bytes, so that all names are near the limit
)

// manyFiles is a layer of files that no other layer has.
func manyFiles(t *testing.T, dir string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range memoryFiles {
		name := fmt.Sprintf("%s/%d/%0*d", dir, i%1000, memoryPath-len(dir)-len("/999/"), i)
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archivetest.Layer(t, b.Bytes())
}

// TestMemory compares two images that differ in all of their files, as many as the limits allow.
func TestMemory(t *testing.T) {
	testenv.Slow(t)
	image := func(layers ...v1.Layer) v1.Image {
		img, err := mutate.AppendLayers(empty.Image, layers...)
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	first, second := manyFiles(t, "first"), manyFiles(t, "second")
	f := newFixture(t, map[string]v1.Image{"kolla/first:t": image(first), "kolla/second:t": image(second),
		"kolla/other:t": image(second, archivetest.Layer(t, nil))})
	for _, format := range []string{"text", "json"} {
		for name, other := range map[string]string{"layers": "second:t", "trees": "other:t"} {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMemoryHelper$", "-test.v")
			cmd.Env = append(os.Environ(), memoryHelper+"="+f.dir+" first:t "+other+" "+format)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS") {
				t.Fatalf("%s of %s: %v\n%s", format, name, err, out)
			}
			memory := testenv.PeakMemory(t, string(out))
			t.Logf("%s of %s: %d bytes of memory", format, name, memory)
			if memory > mostMemory && !testenv.Race {
				t.Errorf("%s of %s took %d bytes of memory, more than %d", format, name, memory, mostMemory)
			}
		}
	}
}
