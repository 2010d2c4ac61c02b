package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// TestCheckBlob checks that a verified blob is not read again, and that every change of its
// file is noticed.
func TestCheckBlob(t *testing.T) {
	s := open(t, t.TempDir())
	s.settled = 0
	content := []byte("content of a blob")
	d, _, err := s.WriteBlob(t.Context(), bytes.NewReader(content), "", -1)
	if err != nil {
		t.Fatal(err)
	}
	path := s.blobPath(d)
	check := func(name string, want bool) {
		t.Helper()
		if damaged, err := s.CheckBlob(t.Context(), d); err != nil || damaged != want {
			t.Errorf("%s: damaged %v, %v", name, damaged, err)
		}
	}
	check("as written", false)
	if err := s.SaveVerified(); err != nil {
		t.Fatal(err)
	}
	// Another process that trusts the record: it does not open the file.
	other, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.settled = 0
	known, ok := other.lastVerified(d)
	if current, found := other.stampOf(d); !ok || !found || !known.sameFile(current) || !known.counts(time.Now(), 0) {
		t.Errorf("recorded %+v", known)
	}
	if _, err := other.CheckBlob(t.Context(), d); err != nil || len(other.newlyVerified) != 0 {
		t.Errorf("the blob was read again, %v", err)
	}
	if known.counts(time.Now(), time.Hour) {
		t.Error("a file that changed just now counts")
	}
	if known.counts(time.Now().Add(8*24*time.Hour), 0) || known.counts(time.Now().Add(-time.Hour), 0) {
		t.Error("a verification of last week, or of the future, counts")
	}

	// A file whose content was changed, with the time of modification set back.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	replace := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(replace, bytes.ToUpper(content), 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(replace, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(replace)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if damaged, err := other.CheckBlob(t.Context(), d); err != nil || !damaged {
		t.Errorf("a changed blob: damaged %v, %v", damaged, err)
	}
	if other.HasBlob(d, -1) {
		t.Error("a damaged blob was kept")
	}
	if err := other.SaveVerified(); err != nil {
		t.Fatal(err)
	}

	// A damaged record is an empty one.
	if err := os.WriteFile(filepath.Join(s.Dir(), verifiedFile), []byte(`{"sha256:1": {`), 0o644); err != nil {
		t.Fatal(err)
	}
	if all := s.readVerified(); len(all) != 0 {
		t.Errorf("read %v", all)
	}
	if _, ok := s.lastVerified(digest.FromString("other")); ok {
		t.Error("a blob counts that was never verified")
	}
}
