package deps

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// renames lists the files that rename without internal/atomicfile, and why they may.
var renames = map[string]string{
	"internal/atomicfile/atomicfile.go": "syncs the directory where durability is asked for",
	"internal/stepproxy/fetch.go":       "files of one run, adopted by the inputs directory afterwards",
	"pkg/bundle/parts/write.go":         "syncs the directory once for all parts",
	"pkg/report/files/files.go":         "a link to the newest report, replaced by each run",
	"pkg/source/cache.go":               "a cache whose files are verified by their content",
	"pkg/source/checkout.go":            "a directory in a cache, which is made again if it is incomplete",
}

// TestRenamesAreDurable checks that files are put in place by internal/atomicfile: a rename
// without a sync of the directory may be lost in a power failure.
func TestRenamesAreDurable(t *testing.T) {
	root := testenv.RepoRoot(t)
	found := map[string]bool{}
	for _, dir := range []string{"cmd", "internal", "pkg"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(text), "os.Rename(") && !strings.Contains(string(text), "unix.Renameat") {
				return err
			}
			name, err := filepath.Rel(root, path)
			if found[name] = true; renames[name] == "" {
				t.Errorf("%s: os.Rename does not sync the directory: use internal/atomicfile, or list the file with a reason", name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range renames {
		if !found[name] {
			t.Errorf("%s does not rename any more: remove it from the list", name)
		}
	}
}

// undurableDirs lists the files that make directories without internal/atomicfile in packages with
// durable files, and why they may.
var undurableDirs = map[string]string{
	"pkg/offline/network.go": "files of one run",
	"pkg/store/staging.go":   "a staging area, which its run removes",
}

// TestDirectoriesAreDurable checks that packages with durable files make directories by
// internal/atomicfile: without a sync of its parent, a new directory may be lost with all in it.
func TestDirectoriesAreDurable(t *testing.T) {
	root := testenv.RepoRoot(t)
	durable := map[string]bool{}   // directories of packages
	makes := map[string][]string{} // files that make directories, by directory
	for _, dir := range []string{"cmd", "internal", "pkg"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			if pkg := filepath.Dir(name); pkg != "internal/atomicfile" {
				durable[pkg] = durable[pkg] || strings.Contains(string(text), "Durable: ")
				if strings.Contains(string(text), "os.Mkdir(") || strings.Contains(string(text), "os.MkdirAll(") {
					makes[pkg] = append(makes[pkg], name)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	listed := maps.Clone(undurableDirs)
	for pkg := range durable {
		if !durable[pkg] {
			continue
		}
		for _, name := range makes[pkg] {
			if undurableDirs[name] == "" {
				t.Errorf("%s: os.MkdirAll does not sync the directory's parent: use internal/atomicfile, or list the file with a reason", name)
			}
			delete(listed, name)
		}
	}
	for name := range listed {
		t.Errorf("%s makes no directories any more: remove it from the list", name)
	}
}
