package render

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/usererr"
)

func TestPatchFiles(t *testing.T) {
	dir := unpack(t, `
-- nova-api/series --
# a comment
one.patch
  sub/two.patch

one.patch
-- nova-api/one.patch --
1
-- nova-api/sub/two.patch --
2
-- nova-api/unused.patch --
3
-- noseries/x.patch --
x
-- missing/series --
on.patch
-- missing/one.patch --
-- out/series --
../nova-api/one.patch
-- under_score/series --
one.patch -p1 # a comment
two.patch -p2 -R
-- under_score/one.patch --
1
-- under_score/two.patch --
2
-- options/series --
one.patch --binary
`)
	for image, want := range map[string]string{
		"nova-api": "patches/\npatches/series 644 # a comment\none.patch\n  sub/two.patch\n\none.patch\npatches/one.patch 644 1\npatches/sub/\npatches/sub/two.patch 644 2\n",
		"noseries": "patches/\n",
		"other":    "patches/\n",
		"missing":  `error: D/missing/series:1: the patch "on.patch" is not in D/missing, hint did you mean "one.patch"?`,
		"out":      `error: D/out/series:1: the patch "../nova-api/one.patch" is outside of D/out`,
		// Dashes equal underscores, as in the names of Python projects.
		"under-score": "patches/\npatches/series 644 one.patch -p1 # a comment\ntwo.patch -p2 -R\npatches/one.patch 644 1\npatches/two.patch 644 2\n",
		"options":     `error: D/options/series:1: the option "--binary" of the patch "one.patch" is not -pN or -R`,
	} {
		files, _, err := patchFiles(dir, image)
		got := ""
		if err != nil {
			got = "error: " + strings.ReplaceAll(err.Error(), dir, "D")
			if hint := usererr.Hint(err); hint != "" {
				got += ", hint " + hint
			}
		} else {
			got = listing(t, files)
		}
		if got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", image, got, want)
		}
	}
	if files, _, err := patchFiles("", "x"); err != nil || listing(t, files) != "patches/\n" {
		t.Error(files, err)
	}
	if files, _, err := patchFiles("/no/such", "x"); err != nil || listing(t, files) != "patches/\n" {
		t.Error(files, err)
	}
}

// TestCheckPatches checks that a series which belongs to no image is an error.
func TestCheckPatches(t *testing.T) {
	dir := unpack(t, "-- nova-api/series --\nx\n-- nova_base/series --\nx\n-- noseries/x.patch --\nx\n-- README --\nx\n")
	if err := CheckPatches(dir, []string{"nova-api", "nova-base", "base"}); err != nil {
		t.Error(err)
	}
	err := CheckPatches(dir, []string{"nova-base", "base", "nova-apis"})
	if err == nil || !strings.Contains(err.Error(), "nova-api/series") ||
		!strings.Contains(usererr.Hint(err), "nova-apis") {
		t.Errorf("got %v, hint %q", err, usererr.Hint(err))
	}
	if err := CheckPatches("", nil); err != nil {
		t.Error(err)
	}
	if got := PatchesWithoutSeries(dir, []string{"nova-api", "noseries", "other"}); len(got) != 1 ||
		filepath.Base(got[0]) != "noseries" {
		t.Errorf("directories without a series: %q", got)
	}
	// Two directories of one image: the patches of the second would be lost.
	twice := unpack(t, "-- nova-base/series --\nx\n-- nova_base/series --\ny\n-- nova_base/y --\n")
	if err := CheckPatches(twice, []string{"nova-base"}); err == nil ||
		!strings.Contains(err.Error(), "nova_base/series") {
		t.Errorf("two series of an image: %v", err)
	}
}
