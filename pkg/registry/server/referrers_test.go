package server

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRevisionsAfter checks that a page of referrers begins after the last digest of the page
// before, without a file of earlier pages.
func TestRevisionsAfter(t *testing.T) {
	dir := t.TempDir()
	var all []string
	for _, d := range []string{"sha256/aa", "sha256/bb", "sha256/cc", "sha512/aa"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
		all = append(all, filepath.Join(dir, d, "link"))
	}
	for i, last := range []string{"", "sha256:aa", "sha256:bb", "sha256:cc", "sha512:aa"} {
		got, err := revisionsAfter(dir, last)
		if err != nil || !slices.Equal(got, all[i:]) {
			t.Errorf("after %q: %s, %v", last, strings.Join(got, " "), err)
		}
	}
	if got, err := revisionsAfter(filepath.Join(dir, "none"), ""); err != nil || len(got) > 0 {
		t.Errorf("no repository: %v, %v", got, err)
	}
}
