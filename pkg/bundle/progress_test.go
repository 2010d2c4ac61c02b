package bundle

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// TestProgress checks for all forms of a bundle that progress grows, and ends at the total
// that was announced.
func TestProgress(t *testing.T) {
	s, entries := fillSize(t, 300_000)
	dir := t.TempDir()
	file := filepath.Join(dir, "set.tar")
	must[Summary](t)(Save(t.Context(), s, entries, file, SaveOptions{}))
	must[Summary](t)(Save(t.Context(), s, entries, dir+"/set/", SaveOptions{}))
	parts := must[Summary](t)(Save(t.Context(), s, entries, filepath.Join(dir, "parts"), SaveOptions{Split: 100_000, Parity: 20})).Parts
	if err := os.Remove(parts[1]); err != nil {
		t.Fatal(err)
	}
	content := must[[]byte](t)(os.ReadFile(file))
	var compressed bytes.Buffer
	z := gzip.NewWriter(&compressed)
	must[int](t)(z.Write(content))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	packed := filepath.Join(dir, "set.tar.gz")
	if err := os.WriteFile(packed, compressed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	docker := filepath.Join(dir, "docker.tar")
	if err := os.WriteFile(docker, archivetest.Archive(t, archivetest.Docker10, foreignImages(t)...), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		inputs []Input
		stdin  []byte
		verify bool
	}{
		"file":          {inputs: []Input{{Path: file}}, verify: true},
		"gzip":          {inputs: []Input{{Path: packed}}, verify: true},
		"directory":     {inputs: []Input{{Path: dir + "/set"}}, verify: true},
		"parts":         {inputs: []Input{{Path: parts[0]}}, verify: true},
		"docker save":   {inputs: []Input{{Path: docker}}},
		"stdin":         {inputs: []Input{{Path: "-"}}, stdin: content},
		"several files": {inputs: []Input{{Path: file}, {Path: docker}}},
	} {
		check := func(command string, read func(Progress) error) {
			t.Helper()
			var mu sync.Mutex
			var done, total int64
			if err := read(func(d, n int64) {
				mu.Lock()
				defer mu.Unlock()
				if n > 0 && d > n+n/50 {
					t.Errorf("%s of %s: %d of %d", command, name, d, n)
				}
				done, total = max(d, done), n
			}); err != nil {
				t.Errorf("%s of %s: %v", command, name, err)
			}
			if done == 0 || done < total-total/50 {
				t.Errorf("%s of %s: progress ended at %d of %d", command, name, done, total)
			}
		}
		check("load", func(p Progress) error {
			_, err := Read(t.Context(), tc.inputs, openStore(t), LoadOptions{Stdin: bytes.NewReader(tc.stdin), Progress: p})
			return err
		})
		if tc.verify {
			check("verify", func(p Progress) error {
				_, err := Verify(t.Context(), tc.inputs[0].Path, VerifyOptions{Progress: p})
				return err
			})
		}
	}
}

// TestLoadChecksSpaceFirst loads a bundle into a file system that is too small for it:
// nothing is stored. What the store has needs no space.
func TestLoadChecksSpaceFirst(t *testing.T) {
	s, entries := fillSize(t, 300_000)
	out := saveTo(t, s, entries, SaveOptions{})
	small, err := store.Open(testenv.Tmpfs(t, "1m"))
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	var full *store.FullError
	if _, err := Load(t.Context(), out, small, LoadOptions{}); !errors.As(err, &full) || full.Need < 1_000_000 {
		t.Fatalf("loading into 1 MiB: %v", err)
	}
	stored := 0
	for _, e := range entries {
		if small.HasBlob(e.Digest, -1) {
			stored++
		}
	}
	if files, _ := filepath.Glob(small.Dir() + "/blobs/sha256/*"); len(files)+stored > 0 {
		t.Errorf("stored %v", files)
	}
}
