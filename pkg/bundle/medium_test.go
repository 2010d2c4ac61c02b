package bundle_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// uncached is a file that the kernel does not keep in memory.
type uncached struct{ *fs.LoopbackNode }

// WrapChild implements fs.NodeWrapChilder.
func (u *uncached) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	if node, ok := child.(*fs.LoopbackNode); ok {
		return &uncached{node}
	}
	return child
}

// Open implements fs.NodeOpener.
func (u *uncached) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, openFlags, errno := u.LoopbackNode.Open(ctx, flags)
	return f, openFlags | fuse.FOPEN_DIRECT_IO, errno
}

// medium is a file system that can be removed while files of it are open.
type medium struct {
	t       *testing.T
	content string // a directory with its files
	dir     string // where it is mounted
	mounted bool
}

func newMedium(t *testing.T) *medium {
	t.Helper()
	m := &medium{t: t, content: t.TempDir(), dir: t.TempDir()}
	t.Cleanup(m.remove)
	m.insert()
	return m
}

func (m *medium) insert() {
	m.t.Helper()
	root, err := fs.NewLoopbackRoot(m.content)
	if err != nil {
		m.t.Fatal(err)
	}
	node, ok := root.(*fs.LoopbackNode)
	if !ok {
		m.t.Fatalf("the root is a %T", root)
	}
	options := fuse.MountOptions{DirectMount: true, Logger: log.New(io.Discard, "", 0)} // it logs each O_TMPFILE
	if _, err := fs.Mount(m.dir, &uncached{node}, &fs.Options{MountOptions: options}); err != nil {
		testenv.Missing(m.t, "FUSE cannot be mounted here: "+err.Error())
	}
	m.mounted = true
}

// remove ends all requests with an error, as a disk does that is pulled out.
func (m *medium) remove() {
	if !m.mounted {
		return
	}
	m.mounted = false
	if err := syscall.Unmount(m.dir, syscall.MNT_FORCE|syscall.MNT_DETACH); err != nil {
		m.t.Errorf("removing the medium: %v", err)
	}
}

// removeAt returns a Progress that removes the medium at a fraction of the total.
func (m *medium) removeAt(fraction float64) bundle.Progress {
	return func(done, total int64) {
		if float64(done) >= fraction*float64(total) {
			m.remove()
		}
	}
}

// A save fails if its medium is removed. When the medium is back, the same command continues, and
// writes the same files as a save without interruptions.
func TestSaveToRemovedMedium(t *testing.T) {
	testenv.Slow(t)
	testenv.Root(t)
	s, entries := storetest.FillSize(t, 2<<20)
	undisturbed := t.TempDir()
	for name, opts := range map[string]save.Options{"set.tar": {}, "parts": {Split: 700_000, Parity: 20}, "set/": {}} {
		want := testenv.Must[save.Summary](t)(save.Bundle(t.Context(), s, entries, undisturbed+"/"+name, opts))
		for _, at := range []float64{0, 0.3, 0.6, 0.99, 1} {
			m := newMedium(t)
			opts.Progress = m.removeAt(at)
			output := m.dir + "/" + name
			if _, err := save.Bundle(t.Context(), s, entries, output, opts); err == nil {
				t.Errorf("%s, removed at %v: no error", name, at)
			}
			if left := testenv.Must[[]os.DirEntry](t)(os.ReadDir(m.dir)); len(left) > 0 {
				t.Errorf("%s, removed at %v: %d files were written where the medium had been", name, at, len(left))
			}
			m.insert()
			opts.Progress = nil
			sum := testenv.Must[save.Summary](t)(save.Bundle(t.Context(), s, entries, output, opts))
			if at > 0.5 && at < 1 && sum.Kept == 0 && name != "set/" {
				t.Errorf("%s, removed at %v: nothing was kept", name, at)
			}
			compareTrees(t, m.dir, undisturbed, name, len(want.Parts))
			m.remove()
		}
	}
}

// compareTrees compares the files of a bundle in two directories.
func compareTrees(t *testing.T, dir, undisturbed, name string, parts int) {
	t.Helper()
	pattern := name
	switch {
	case parts > 0:
		pattern = name + ".*"
	case strings.HasSuffix(name, "/"):
		pattern = name + "*"
	}
	files := testenv.Must[[]string](t)(filepath.Glob(filepath.Join(undisturbed, pattern)))
	if strings.HasSuffix(name, "/") {
		files = append(files, testenv.Must[[]string](t)(filepath.Glob(filepath.Join(undisturbed, name, "blobs", "*",
			"*")))...)
	}
	if len(files) == 0 || parts > 0 && len(files) != parts {
		t.Fatalf("%s: %d files", name, len(files))
	}
	for _, file := range files {
		if st := testenv.Must[os.FileInfo](t)(os.Stat(file)); st.IsDir() {
			continue
		}
		rel := testenv.Must[string](t)(filepath.Rel(undisturbed, file))
		got, err := os.ReadFile(filepath.Join(dir, rel))
		if err != nil || !bytes.Equal(got, testenv.Must[[]byte](t)(os.ReadFile(file))) {
			t.Errorf("%s differs from that of an undisturbed save (%v)", rel, err)
		}
	}
}

// Loads whose medium is removed fail and name no image. When it is back, the same command
// continues.
func TestLoadFromRemovedMedium(t *testing.T) {
	testenv.Slow(t)
	testenv.Root(t)
	s, entries := storetest.FillSize(t, 2<<20)
	for name, opts := range map[string]save.Options{"set.tar": {}, "parts": {Split: 700_000, Parity: 20}, "set/": {}} {
		for _, at := range []float64{0.1, 0.6, 0.9} {
			m := newMedium(t)
			file := m.dir + "/" + name
			if parts := testenv.Must[save.Summary](t)(save.Bundle(t.Context(), s, entries, file, opts)).Parts; len(parts) > 0 {
				file = parts[0]
			}
			st := testenv.Must[*store.Store](t)(store.Open(t.TempDir()))
			if _, err := load.Bundle(t.Context(), file, st, load.Options{Progress: m.removeAt(at)}); err == nil {
				t.Errorf("%s, removed at %v: no error", name, at)
			}
			if named := testenv.Must[[]store.Entry](t)(st.Entries()); len(named) > 0 {
				t.Errorf("%s, removed at %v: %d images have names", name, at, len(named))
			}
			if _, err := verify.Bundle(t.Context(), file, verify.Options{}); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: verifying without the medium: %v", name, err)
			}
			m.insert()
			sum := testenv.Must[load.Summary](t)(load.Bundle(t.Context(), file, st, load.Options{}))
			if at == 0.9 && sum.Reused == 0 {
				t.Errorf("%s, removed at %v: nothing was kept", name, at)
			}
			for _, e := range sum.Images {
				if err := st.Verify(t.Context(), e.Digest); err != nil {
					t.Errorf("%s, removed at %v: %s: %v", name, at, e.Name, err)
				}
			}
			m.remove()
			st.Close()
		}
	}
}
