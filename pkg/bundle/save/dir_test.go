package save

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// filesOf returns the times of the files in a directory, by name.
func filesOf(t testing.TB, dir string) map[string]time.Time {
	t.Helper()
	found := map[string]time.Time{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			found[path[len(dir)+1:]] = info.ModTime()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Missing files are written to a directory, and files of other bundles are removed.
func TestSaveToDirectory(t *testing.T) {
	s, entries := storetest.Fill(t)
	dir := filepath.Join(t.TempDir(), "set")
	var done, total int64
	opts := Options{Progress: func(d, n int64) { done, total = d, n }}
	testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, dir+"/", opts))
	if done != total || total == 0 {
		t.Errorf("progress ended at %d of %d", done, total)
	}
	if r := testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), dir, verify.Options{})); !r.OK ||
		len(r.Images) != 2 {
		t.Fatalf("%+v", r)
	}
	old := time.Unix(1_000_000_000, 0)
	for name := range filesOf(t, dir) {
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	changed := func() []string {
		var names []string
		for name, at := range filesOf(t, dir) {
			if !at.Equal(old) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, dir+"/", Options{}))
	if names := changed(); len(names) > 0 {
		t.Errorf("saving the same again writes %v", names)
	}
	// A damaged blob is written again; other files are named and left.
	layers := testenv.Must[[]string](t)(layerNames(s, entries[0].Name, entries))
	damaged := filepath.Join(dir, layers[1])
	b := testenv.Must[[]byte](t)(os.ReadFile(damaged))
	b[5] ^= 1
	leftover := filepath.Join(dir, filepath.Dir(layers[1]), "."+filepath.Base(layers[1])+".tmp-123")
	if err := errors.Join(os.WriteFile(damaged, b, 0o644), os.Chtimes(damaged, old, old),
		os.WriteFile(leftover, nil, 0o600),
		os.WriteFile(filepath.Join(dir, "README"), []byte("x"), 0o644)); err != nil {
		t.Fatal(err)
	}
	sum := testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, dir+"/", Options{}))
	if names := changed(); !slices.Equal(names, []string{"README", layers[1]}) ||
		!slices.Equal(sum.Extra, []string{"README"}) {
		t.Errorf("written: %v, extra: %v", names, sum.Extra)
	}
	if err := os.Remove(filepath.Join(dir, "README")); err != nil {
		t.Fatal(err)
	}
	// One image less: its own blobs go.
	testenv.Must[Summary](t)(Bundle(t.Context(), s, entries[1:], dir+"/", Options{}))
	if r := testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), dir, verify.Options{})); !r.OK ||
		len(r.Images) != 1 {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(damaged); err == nil {
		t.Error("a layer of the removed image is left")
	}
	want := filesOf(t, filepath.Clean(writeNew(t, s, entries[1:])))
	if got := filesOf(t, dir); !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("%v, want %v", got, want)
	}
}

func layerNames(s Source, name string, entries []store.Entry) ([]string, error) {
	for _, e := range entries {
		if e.Name != name {
			continue
		}
		blobs, err := s.Blobs(context.Background(), e.Digest)
		var names []string
		for _, b := range blobs {
			if isLayer(b.MediaType) {
				names = append(names, bundle.BlobPath(b.Digest))
			}
		}
		return names, err
	}
	return nil, errors.New("no such image")
}

func writeNew(t testing.TB, s Source, entries []store.Entry) string {
	t.Helper()
	dir := t.TempDir() + "/"
	testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, dir, Options{}))
	return dir
}

// Files that do not belong to a bundle are not changed.
func TestSaveToForeignDirectory(t *testing.T) {
	s, entries := storetest.Fill(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Bundle(t.Context(), s, entries, dir+"/", Options{})
	if err == nil || !strings.Contains(err.Error(), "contains no bundle") || usererr.Hint(err) == "" {
		t.Errorf("%v", err)
	}
	if got := filesOf(t, dir); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// A bundle's directory that was somewhere else cannot have files outside of it replaced.
func TestSaveFollowsNoLinks(t *testing.T) {
	s, entries := storetest.Fill(t)
	for _, name := range []string{"blobs", "blobs/sha256", "index.json"} {
		dir, outside := t.TempDir(), t.TempDir()
		if _, err := Bundle(t.Context(), s, entries, dir+"/", Options{}); err != nil {
			t.Fatal(err)
		}
		target := outside
		if name == "index.json" {
			target = filepath.Join(outside, "theirs")
			if err := os.WriteFile(target, []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		before := filesOf(t, outside)
		_, err := Bundle(t.Context(), s, entries, dir+"/", Options{})
		if name != "index.json" && (err == nil || !strings.Contains(err.Error(), "is a link")) {
			t.Errorf("%s: %v", name, err)
		}
		if after := filesOf(t, outside); !maps.Equal(before, after) {
			t.Errorf("%s: outside there were %v, then %v", name, before, after)
		}
	}
}

// Repeating an interrupted save to a directory completes it; until then the directory is
// rejected.
func TestInterruptedSaveToDirectory(t *testing.T) {
	s, entries := storetest.Fill(t)
	for stop := int64(0); stop < 60_000; stop += 4_001 {
		dir := writeNew(t, s, entries[:1])
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Bundle(ctx, s, entries, dir, Options{Progress: func(done, _ int64) {
			if done >= stop {
				cancel()
			}
		}})
		cancel()
		if err != nil {
			r := testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), dir, verify.Options{}))
			if r.OK && len(r.Images) != 1 {
				t.Errorf("stopped at %d: %+v", stop, r)
			}
		}
		testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, dir, Options{}))
		if r := testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), dir, verify.Options{})); !r.OK ||
			len(r.Images) != 2 {
			t.Errorf("stopped at %d, again: %+v", stop, r)
		}
	}
}

// A layout of another program, such as the store or one of skopeo, is not replaced, and two
// saves do not write to one directory at once.
func TestSaveToLayoutOfOthers(t *testing.T) {
	s, entries := storetest.Fill(t)
	for _, index := range []string{"index.json", "manifest.json"} {
		dir := t.TempDir()
		for name, content := range map[string]string{"oci-layout": layoutFile, index: `{"schemaVersion":2,"manifests":[]}`} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		before := filesOf(t, dir)
		if _, err := Bundle(t.Context(), s, entries, dir+"/", Options{}); err == nil ||
			!strings.Contains(err.Error(), "contains no bundle") {
			t.Errorf("%s: %v", index, err)
		}
		if after := filesOf(t, dir); !maps.Equal(before, after) {
			t.Errorf("%s: %v", index, after)
		}
	}
	dir := t.TempDir()
	lock, err := filelock.TryDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Bundle(t.Context(), s, entries, dir+"/", Options{}); err == nil ||
		!strings.Contains(err.Error(), "another save") {
		t.Errorf("a directory that is being written: %v", err)
	}
	lock.Close()
	testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, dir+"/", Options{}))
}
