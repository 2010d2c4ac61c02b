package source

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/child"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

// drip sends a text, and then a byte at a time until the connection or the test ends.
func drip(t *testing.T, w io.Writer, text string) {
	t.Helper()
	_, err := io.WriteString(w, text)
	for err == nil && t.Context().Err() == nil {
		time.Sleep(100 * time.Millisecond)
		_, err = w.Write([]byte("0"))
	}
}

// TestGitSlowServers fetches from servers that never answer, or send a byte now and then, over each
// protocol. git has no time limits for them, except for HTTP without a single byte.
func TestGitSlowServers(t *testing.T) {
	testenv.Slow(t)
	testenv.Program(t, "python3", "python3")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go testenv.AcceptAll(listener, func(conn net.Conn) { drip(t, conn, "fff0") })
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		drip(t, flushed{w, http.NewResponseController(w)}, "001e# service=git-upload-pack\n0000fff0")
	})
	web := serveHTTP(t, slow)
	ssh := filepath.Join(t.TempDir(), "ssh")
	repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
	repo.commit(nil)
	for name, script := range map[string]string{
		"-silent": "sleep 1000", // as one that waits for an agent that never answers
		"-drip": `exec python3 -uc 'import time
print("fff0", end="")
while True:
  time.sleep(0.1); print("0", end="")'`,
		"-orphan": "sleep 1000 & sleep 1000",
		"-fetch": `[ "$1" != -G ] || exit 1 # git asks whether it is OpenSSH
[ ! -e "$0.listed" ] || exec sleep 1000
: >"$0.listed"
for command; do :; done
exec sh -c "$command"`,
	} {
		if err := os.WriteFile(ssh+name, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ location, ssh string }{
		{"git://" + listener.Addr().String() + "/x", ""}, {web + "/x", ""},
		{"ssh://git@mirror.example/x", "-silent"}, {"ssh://git@mirror.example/x",
			"-drip"}, {"git@mirror.example:x", "-orphan"},
		{"ssh://git@mirror.example" + repo.dir, "-fetch"},
	} {
		t.Run(c.location[:3]+c.ssh, func(t *testing.T) {
			t.Setenv("GIT_SSH_COMMAND", ssh+c.ssh)
			opts := Options{Retries: 1, Timeout: 200 * time.Millisecond}
			if c.ssh == "-fetch" { // the others have the floor, and do not come to a fetch
				opts.idleFloor, opts.Timeout = time.Second, 2*time.Second
			}
			f, log := newFetcher(t, opts)
			s := Spec{Name: "x", Type: TypeGit, Location: c.location, Reference: "master", Enabled: true}
			_, err := f.Archives(t.Context(), Request{Image: "x", Source: &s})
			var limit *child.LimitError
			var failed *Error
			if !errors.As(err, &limit) || !errors.As(err, &failed) || !strings.Contains(failed.Hint(), "--timeout") {
				t.Errorf("got %v, want that git was stopped, and a hint", err)
			}
			if n := strings.Count(log.String(), "trying again"); n != 1 {
				t.Errorf("it was repeated %d times:\n%s", n, log.String())
			}
			checkClean(t, f.opts.CacheDir)
		})
	}
}

func TestGitIdleLimit(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{0: 10 * time.Minute, time.Second: 10 * time.Minute,
		5 * time.Minute: 25 * time.Minute} {
		f, _ := newFetcher(t, Options{Timeout: timeout})
		if got := f.opts.idleLimit(); got != want {
			t.Errorf("%v: %v, want %v", timeout, got, want)
		}
	}
}

// flushed sends each write at once.
type flushed struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (f flushed) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	return n, errors.Join(err, f.control.Flush())
}

func serveHTTP(t *testing.T, h http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(listener) }()
	t.Cleanup(func() { s.Close() })
	return fmt.Sprintf("http://%s", listener.Addr())
}
