package bundle

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/pkg/store"
)

const loadHelper = "KOLLA_TEST_LOAD_INTO"

// TestLoadHelper is the process that TestInterruptedLoad kills.
func TestLoadHelper(t *testing.T) {
	dir := os.Getenv(loadHelper)
	if dir == "" {
		t.Skip("started by TestInterruptedLoad")
	}
	st, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := Load(t.Context(), "-", st, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestInterruptedLoad kills a process while it loads, each time after another number of
// bytes. No image has a name then, and loading again gives what an undisturbed load gives.
// KOLLA_TEST_INTERRUPTIONS is the number of times.
func TestInterruptedLoad(t *testing.T) {
	times := 6
	if text := os.Getenv("KOLLA_TEST_INTERRUPTIONS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		times = n
	}
	images := foreignImages(t)
	archives := map[archivetest.Format][]byte{}
	want := map[archivetest.Format]string{}
	names := func(st *store.Store) string {
		t.Helper()
		all, err := st.Entries()
		if err != nil {
			t.Fatal(err)
		}
		var out string
		for _, e := range all {
			out += fmt.Sprintln(e.Name, e.Digest)
		}
		return out
	}
	formats := []archivetest.Format{archivetest.Docker10, archivetest.Docker25, archivetest.DockerOCI}
	for _, f := range formats {
		archives[f] = archivetest.Archive(t, f, images...)
		st := openStore(t)
		if _, err := Load(t.Context(), "-", st, LoadOptions{Stdin: bytes.NewReader(archives[f])}); err != nil {
			t.Fatal(err)
		}
		want[f] = names(st)
	}
	for i := range times {
		f := formats[i%len(formats)]
		archive := archives[f]
		dir := t.TempDir()
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLoadHelper$")
		child.Env = append(os.Environ(), loadHelper+"="+dir)
		in, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		// The last kilobytes are the end mark, after which it would be complete.
		n := (len(archive) - 4096) * i / times
		if _, err := io.Copy(in, bytes.NewReader(archive[:n])); err != nil {
			t.Fatal(err)
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); err == nil {
			t.Fatal("the process ended before it was killed")
		}
		st, err := store.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(st); got != "" {
			t.Errorf("%s, killed after %d bytes: named %s", f, n, got)
		}
		if _, err := Load(t.Context(), "-", st, LoadOptions{Stdin: bytes.NewReader(archive)}); err != nil {
			t.Errorf("%s, again after %d bytes: %v", f, n, err)
		}
		if got := names(st); got != want[f] {
			t.Errorf("%s, again after %d bytes: named %s, want %s", f, n, got, want[f])
		}
		all, err := st.Entries()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if err := st.Verify(t.Context(), e.Digest); err != nil {
				t.Error(err)
			}
		}
		st.Close()
	}
}
