package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const victimEnv = "KOLLA_BUILD_TEST_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		fmt.Fprintln(os.Stderr, writeForever(dir))
		os.Exit(3)
	}
	os.Exit(m.Run())
}

// writeForever builds and publishes sets of two images, as a run does, until
// it is killed.
func writeForever(dir string) error {
	ctx := context.Background()
	s, err := Open(dir)
	if err != nil {
		return err
	}
	base, err := random.Image(50_000, 1)
	if err != nil {
		return err
	}
	for {
		layer, err := random.Layer(20_000, types.OCILayer)
		if err != nil {
			return err
		}
		img, err := mutate.AppendLayers(base, layer)
		if err != nil {
			return err
		}
		d, err := s.WriteImage(ctx, img)
		if err != nil {
			return err
		}
		if err := s.Put(Entry{Digest: d, Key: "key of " + d.String()}); err != nil {
			return err
		}
		if err := s.TagAll(map[string]digest.Digest{"set/a:t": d, "set/b:t": d}); err != nil {
			return err
		}
		// A blob as a builder writes it; every second one is not committed.
		b := make([]byte, 10_000)
		// Seeded with the image's digest, so that no blob exists already.
		rand.NewChaCha8(sha256.Sum256([]byte(d))).Read(b)
		w, err := s.Content().Writer(ctx, content.WithRef(d.String()),
			content.WithDescriptor(ocispec.Descriptor{Digest: digest.FromBytes(b), Size: 10_000}))
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		if rand.IntN(2) == 0 {
			if err := w.Commit(ctx, 10_000, digest.FromBytes(b)); err != nil {
				return err
			}
		}
	}
}

// Two writers are killed at random moments. After each, the store can be read and is
// complete, and either all names of a set are there or none.
func TestKilled(t *testing.T) {
	testenv.Slow(t)
	ctx := context.Background()
	dir := t.TempDir()
	sets := 0
	for round := range 12 {
		before, _ := os.Stat(filepath.Join(dir, "index.json"))
		var cmds []*exec.Cmd
		for range 2 {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), victimEnv+"="+dir)
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			cmds = append(cmds, cmd)
		}
		if round%2 == 0 { // on a busy machine, they would else be killed before they write anything
			awaitIndex(t, filepath.Join(dir, "index.json"), before)
		}
		for _, cmd := range cmds {
			time.Sleep(time.Duration(40+rand.IntN(120)) * time.Millisecond)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if cmd.Wait(); cmd.ProcessState.ExitCode() == 3 {
				t.Fatalf("round %d: a writer failed", round)
			}
		}
		s, err := Open(dir)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, d := range []string{"tmp", "ingest"} {
			if leftover, _ := os.ReadDir(filepath.Join(dir, d)); len(leftover) != 0 {
				t.Errorf("round %d: %s holds %d remains", round, d, len(leftover))
			}
		}
		entries, err := s.Entries()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if err := s.Verify(ctx, e.Digest); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		a, okA, _ := s.Lookup("set/a:t")
		b, okB, _ := s.Lookup("set/b:t")
		if okA != okB || a.Digest != b.Digest {
			t.Errorf("round %d: half a set: %v %v", round, a, b)
		}
		if okA && a.Key != "key of "+a.Digest.String() {
			t.Errorf("round %d: key %q of %s", round, a.Key, a.Digest)
		}
		sets = max(sets, len(entries))
		s.Close()
		s = open(t, dir)
		if _, err := s.GC(ctx); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		for _, e := range entries {
			if err := s.Check(ctx, e.Digest); err != nil {
				t.Errorf("round %d, after GC: %v", round, err)
			}
		}
		s.Close()
	}
	if sets < 3 {
		t.Errorf("only %d images were written: the test kills too early", sets)
	}
}

// awaitIndex waits until an index is another file than it was, nil for none.
func awaitIndex(t *testing.T, path string, before os.FileInfo) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if now, err := os.Stat(path); err == nil && before != nil &&
			(!os.SameFile(now, before) || !now.ModTime().Equal(before.ModTime())) {
			return
		} else if err == nil && before == nil {
			before = now // the first one is empty
		}
	}
	t.Fatal("no writer has changed the index")
}
