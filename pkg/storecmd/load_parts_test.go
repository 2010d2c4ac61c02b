package storecmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// savedParts saves a set in parts of which two can be lost, and returns its name.
func savedParts(t *testing.T) string {
	t.Helper()
	f := site(t)
	s, err := workspace.OpenStore(f.config())
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.WriteImage(t.Context(), registrytest.Base(t, 400_000))
	if err == nil {
		err = s.Put(store.Entry{Name: "localhost:4000/kolla/app:t", Digest: d, Kind: store.KindBuilt})
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	out := filepath.Join(t.TempDir(), "set.tar")
	if err := Save(t.Context(), f.config(), f.con, out, SaveOptions{Split: "70K", Parity: "30%"}); err != nil {
		t.Fatal(err)
	}
	return out
}

// A part whose beginning is damaged, or that is missing, is restored, however the set is named.
func TestLoadPartsByName(t *testing.T) {
	out := savedParts(t)
	files, err := filepath.Glob(out + ".*")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	first, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	first[3] ^= 1
	load := func(paths ...string) error {
		f := site(t)
		return Load(t.Context(), f.config(), f.con, paths, LoadOptions{})
	}
	if err := os.WriteFile(files[0], first, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, paths := range [][]string{{files[0]}, {files[1]}, files} {
		if err := load(paths...); err != nil {
			t.Errorf("a damaged first part, %v: %v", paths, err)
		}
	}
	elsewhere := filepath.Join(t.TempDir(), filepath.Base(files[0])) // on another medium
	if err := os.Rename(files[0], elsewhere); err != nil {
		t.Fatal(err)
	}
	for _, paths := range [][]string{append(files[1:], elsewhere), append([]string{elsewhere}, files[1:]...), {files[0]}} {
		if err := load(paths...); err != nil {
			t.Errorf("the first part on another medium, %v: %v", paths, err)
		}
	}
	for path, want := range map[string]string{out: ".002", filepath.Dir(out): ".002"} {
		for command, err := range map[string]error{"load": load(path),
			"verify": Verify(t.Context(), site(t).con, []string{path}, VerifyOptions{Progress: "quiet"}),
			"list":   List(t.Context(), site(t).con, []string{path}, false)} {
			if err == nil || !strings.Contains(usererr.Hint(err), want) {
				t.Errorf("%s %s: %v (hint %q), want a hint that names a part", command, path, err, usererr.Hint(err))
			}
		}
	}
}

// Sets of different months may have the same name, in different directories. Parts that are
// not named are found beside those that are.
func TestLoadSetsOfTheSameName(t *testing.T) {
	september, october := savedParts(t), savedParts(t)
	f := site(t)
	err := Load(t.Context(), f.config(), f.con, []string{september + ".001", october + ".001", september + ".003"},
		LoadOptions{Replace: true})
	if err == nil || strings.Contains(err.Error(), "parts of different sets") {
		t.Fatalf("two images of one name: %v, want that error", err)
	}
	inputs, err := loadInputs([]string{september + ".001", october + ".001", september + ".003"})
	if err != nil || len(inputs) != 2 || len(inputs[0].Parts) != 2 {
		t.Errorf("%+v, %v", inputs, err)
	}
	if err := Load(t.Context(), f.config(), f.con, []string{september + ".001", september + ".003"},
		LoadOptions{}); err != nil {
		t.Errorf("two parts named: %v", err)
	}
}

// A registry that cannot be reached is noticed before anything is read.
func TestLoadReachesRegistryFirst(t *testing.T) {
	path, _ := saved(t)
	f := site(t)
	err := Load(t.Context(), f.config("--push", "--registry", "localhost:1"), f.con, []string{path}, LoadOptions{})
	if err == nil || !strings.Contains(err.Error(), "localhost:1") || usererr.Hint(err) == "" {
		t.Errorf("%v (hint %q)", err, usererr.Hint(err))
	}
	if _, err := os.Stat(f.dir); err == nil {
		t.Error("there is a data directory")
	}
}
