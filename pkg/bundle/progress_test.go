package bundle_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/bundletest"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// TestProgress checks for all forms of a bundle that progress grows, and ends at the total
// that was announced.
func TestProgress(t *testing.T) {
	s, entries := storetest.FillSize(t, 300_000)
	dir := t.TempDir()
	file := filepath.Join(dir, "set.tar")
	testenv.Must[save.Summary](t)(save.Bundle(t.Context(), s, entries, file, save.Options{}))
	testenv.Must[save.Summary](t)(save.Bundle(t.Context(), s, entries, dir+"/set/", save.Options{}))
	parts := testenv.Must[save.Summary](t)(save.Bundle(t.Context(), s, entries, filepath.Join(dir, "parts"),
		save.Options{Split: 100_000, Parity: 20})).Parts
	if err := os.Remove(parts[1]); err != nil {
		t.Fatal(err)
	}
	content := testenv.Must[[]byte](t)(os.ReadFile(file))
	var compressed bytes.Buffer
	z := gzip.NewWriter(&compressed)
	testenv.Must[int](t)(z.Write(content))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	packed := filepath.Join(dir, "set.tar.gz")
	if err := os.WriteFile(packed, compressed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	docker := filepath.Join(dir, "docker.tar")
	if err := os.WriteFile(docker, archivetest.Archive(t, archivetest.Docker10, bundletest.ForeignImages(t)...),
		0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		inputs []load.Input
		stdin  []byte
		verify bool
	}{
		"file":          {inputs: []load.Input{{Path: file}}, verify: true},
		"gzip":          {inputs: []load.Input{{Path: packed}}, verify: true},
		"directory":     {inputs: []load.Input{{Path: dir + "/set"}}, verify: true},
		"parts":         {inputs: []load.Input{{Path: parts[0]}}, verify: true},
		"docker save":   {inputs: []load.Input{{Path: docker}}},
		"stdin":         {inputs: []load.Input{{Path: "-"}}, stdin: content},
		"several files": {inputs: []load.Input{{Path: file}, {Path: docker}}},
	} {
		check := func(command string, read func(bundle.Progress) error) {
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
		check("load", func(p bundle.Progress) error {
			_, err := load.Read(t.Context(), tc.inputs, storetest.Open(t),
				load.Options{Stdin: bytes.NewReader(tc.stdin), Progress: p})
			return err
		})
		if tc.verify {
			check("verify", func(p bundle.Progress) error {
				_, err := verify.Bundle(t.Context(), tc.inputs[0].Path, verify.Options{Progress: p})
				return err
			})
		}
	}
}

// TestLoadChecksSpaceFirst loads a bundle into a file system that is too small for it:
// nothing is stored. What the store has needs no space.
func TestLoadChecksSpaceFirst(t *testing.T) {
	s, entries := storetest.FillSize(t, 300_000)
	out := bundletest.Save(t, s, entries, save.Options{})
	small, err := store.Open(testenv.Tmpfs(t, "1m"))
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	var full *store.FullError
	if _, err := load.Bundle(t.Context(), out, small, load.Options{}); !errors.As(err, &full) || full.Need < 1_000_000 {
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
