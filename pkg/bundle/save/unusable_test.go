package save

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// formats are the forms in which a bundle is written to a file system.
var formats = map[string]Options{"set.tar": {}, "parts": {Split: 70_000, Parity: 50}, "set/": {},
	"set.tar.gz": {Compression: Gzip}}

// A medium that is mounted read-only is an error with a hint. What it has already needs no write.
func TestSaveToReadOnlyMedium(t *testing.T) {
	testenv.Root(t)
	s, entries := storetest.Fill(t)
	dir := testenv.Tmpfs(t, "8m")
	testenv.Must[Summary](t)(Bundle(t.Context(), s, entries[:1], dir+"/old/", Options{}))
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	outputs := map[string]Options{"old/": {}}
	for name, opts := range formats {
		outputs[name] = opts
	}
	for name, opts := range outputs {
		_, err := Bundle(t.Context(), s, entries, dir+"/"+name, opts)
		if !errors.Is(err, syscall.EROFS) || !strings.Contains(usererr.Hint(err), "writable") {
			t.Errorf("%s: %v (hint: %s)", name, err, usererr.Hint(err))
		}
	}
	if _, err := Bundle(t.Context(), s, entries[:1], dir+"/old/", Options{}); err != nil {
		t.Errorf("nothing to write: %v", err)
	}
}

// A medium without any free space is an error before the first byte, with the space that is needed.
func TestSaveToFullMedium(t *testing.T) {
	testenv.Root(t)
	s, entries := storetest.Fill(t)
	dir := testenv.Tmpfs(t, "1m")
	full := testenv.Must[*os.File](t)(os.Create(dir + "/full"))
	defer full.Close()
	if _, err := full.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	for name, opts := range formats {
		_, err := Bundle(t.Context(), s, entries, dir+"/"+name, opts)
		var noSpace *store.FullError
		if !errors.As(err, &noSpace) || noSpace.Need < 40_000 && opts.Compression == None {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Names that a file system does not accept are errors with a hint.
func TestSaveToImpossibleName(t *testing.T) {
	s, entries := storetest.Fill(t)
	for _, length := range []int{245, 250, 300} { // .NAME.001.partial has 14 characters more, at most 255 are possible
		for name, opts := range map[string]Options{"": {}, ".parts": {Split: 70_000}, "/": {}} {
			output := t.TempDir() + "/" + strings.Repeat("n", length-len(strings.TrimSuffix(name, "/"))) + name
			_, err := Bundle(t.Context(), s, entries, output, opts)
			possible := length <= 255 && isDir(name) || length == 245 && opts.Split == 0
			if possible != (err == nil) || err != nil && !strings.Contains(usererr.Hint(err), "shorter") {
				t.Errorf("%d characters, %q: %v (hint: %s)", length, name, err, usererr.Hint(err))
			}
		}
	}
}

// Hints about the output are not added to errors about other files.
func TestMediumHint(t *testing.T) {
	for path, want := range map[string]bool{"/m": true, "/m/set": true, "/m/.set.partial": true,
		"/m/.set.001.partial": true,
		"/m/set/blobs/x":      true, "/": false, "/var/store/blobs/x": false, "/m/store/x": false, "/m/other": false} {
		err := withMediumHint("/m/set", &fs.PathError{Op: "open", Path: path, Err: syscall.EROFS})
		if got := usererr.Hint(err) != ""; got != want {
			t.Errorf("%s: a hint is %v", path, got)
		}
	}
}
