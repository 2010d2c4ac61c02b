package hostile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/procmem"
)

const (
	requestSlice = 60  // clients of an ordinary test run
	atOnce       = 6   // clients
	restartEvery = 600 // clients; the server is killed
)

// served is the image that no client may harm.
type served struct {
	repository string
	digests    []string // of its manifest, config and layer
	blobs      map[string][]byte
}

// registryServer is `registry serve`, run by the real program.
type registryServer struct {
	t    *testing.T
	env  *environment
	dir  string
	host string
	cmd  *exec.Cmd
	mu   sync.Mutex
	log  bytes.Buffer
	done chan error
}

// start starts the server on its directory.
func (s *registryServer) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.env.program, "registry", "serve", "--dir", filepath.Join(s.dir, "registry"),
		"--addr", "127.0.0.1:0")
	s.cmd.Dir, s.cmd.Env = filepath.Join(s.dir, "work"), s.env.environ(s.dir)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r, w := io.Pipe()
	s.cmd.Stdout, s.cmd.Stderr = w, w
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	address := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if _, after, ok := strings.Cut(lines.Text(), "serving a registry on "); ok {
				host, _, _ := strings.Cut(after, ",")
				address <- host
			}
			s.mu.Lock()
			if s.log.Len() < 1<<20 {
				s.log.WriteString(lines.Text() + "\n")
			}
			s.mu.Unlock()
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	s.done = make(chan error, 1)
	go func() {
		s.done <- s.cmd.Wait()
		w.Close()
	}()
	select {
	case s.host = <-address:
	case err := <-s.done:
		s.t.Fatalf("the registry ended: %v\n%s", err, s.text())
	case <-time.After(maxTime):
		s.t.Fatalf("the registry does not serve within %v\n%s", maxTime, s.text())
	}
}

func (s *registryServer) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return tail(s.log.Bytes())
}

// end signals the server and waits for its end.
func (s *registryServer) end(signal syscall.Signal) error {
	_ = s.cmd.Process.Signal(signal)
	select {
	case err := <-s.done:
		return err
	case <-time.After(maxTime):
		_ = s.cmd.Process.Kill()
		return fmt.Errorf("it did not end within %v", maxTime)
	}
}

// memory is the most that the server has taken, in KiB.
func (s *registryServer) memory() int64 {
	s.t.Helper()
	peak, err := procmem.Peak(s.cmd.Process.Pid)
	if err != nil {
		s.t.Error(err)
	}
	return peak >> 10
}

// publish pushes the image that must not be harmed.
func (s *registryServer) publish() served {
	s.t.Helper()
	b := newBundle()
	manifest := b.addImage("kolla/healthy:t", map[string]string{"etc/healthy": "healthy"})["digest"].(string)
	out := served{repository: "kolla/healthy", digests: []string{manifest}, blobs: b.blobs}
	send := func(method, path string, body []byte, mediaType string, want int) string {
		s.t.Helper()
		req, err := http.NewRequest(method, "http://"+s.host+path, bytes.NewReader(body))
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("Content-Type", mediaType)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			s.t.Fatalf("%s %s: %s", method, path, resp.Status)
		}
		return resp.Header.Get("Location")
	}
	for d, content := range b.blobs {
		if d != manifest {
			location := send("POST", "/v2/kolla/healthy/blobs/uploads/", nil, "", http.StatusAccepted)
			send("PUT", location+"&digest="+d, content, "application/octet-stream", http.StatusCreated)
			out.digests = append(out.digests, d)
		}
	}
	send("PUT", "/v2/kolla/healthy/manifests/t", b.blobs[manifest], manifestType, http.StatusCreated)
	return out
}

// check reads the healthy image.
func (s *registryServer) check(h served) error {
	get := func(path, want string) error {
		req, err := http.NewRequest(http.MethodGet, "http://"+s.host+"/v2/"+h.repository+path, http.NoBody)
		if err != nil {
			return err
		}
		req.Header.Set("Accept", manifestType+", */*")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("the healthy %s: %s (%v)", path, resp.Status, err)
		}
		if got := digest.FromBytes(raw).String(); got != want {
			return fmt.Errorf("the healthy %s is %s, not %s", path, got, want)
		}
		return nil
	}
	for i, d := range h.digests {
		path := "/blobs/" + d
		if i == 0 {
			path = "/manifests/t"
		}
		if err := get(path, d); err != nil {
			return err
		}
	}
	return nil
}

// TestHostileRequests has clients send generated requests to the real registry server.
func TestHostileRequests(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the program")
	}
	seed := uint64(number(t, "KOLLA_HOSTILE_SEED", 1))
	first, last := 0, requestSlice
	if n := number(t, "KOLLA_HOSTILE", 0); n > 0 {
		last = 10 * n
	}
	if selected := number(t, "KOLLA_HOSTILE_CLIENT", -1); selected >= 0 {
		first, last = selected, selected+1
	}
	env := newEnvironment(t)
	s := &registryServer{t: t, env: env, dir: filepath.Join(env.root, "served")}
	for _, sub := range []string{"home", "tmp", "work", "registry"} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	healthy := s.publish()
	sent, memory := 0, int64(0)
	for i := first; i < last && t.Context().Err() == nil && !t.Failed(); i += atOnce {
		var clients [][]request
		for c := i; c < min(i+atOnce, last); c++ {
			requests := requestsOf(rand.New(rand.NewPCG(seed, uint64(c))), healthy)
			clients, sent = append(clients, requests), sent+len(requests)
		}
		fail := func(format string, args ...any) {
			t.Errorf("clients %d to %d of seed %d: %s\nlog of the registry:\n%s", i, i+len(clients)-1, seed,
				fmt.Sprintf(format, args...), s.text())
		}
		for _, err := range sendAll(s.host, clients) {
			fail("%v", err)
		}
		if err := s.check(healthy); err != nil {
			fail("%v", err)
		}
		if memory = max(memory, s.memory()); memory > maxMemory {
			fail("it took %d MiB of memory", memory>>10)
		}
		if i%restartEvery == restartEvery-atOnce {
			_ = s.end(syscall.SIGKILL)
			s.start()
		}
	}
	if out, err := env.command(s.dir, "registry", "gc", "--dir", filepath.Join(s.dir, "registry")); err != nil {
		t.Errorf("collecting garbage: %v\n%s", err, tail(out))
	}
	if err := s.check(healthy); err != nil {
		t.Errorf("after garbage collection: %v", err)
	}
	if err := s.end(syscall.SIGTERM); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 128+int(syscall.SIGTERM) && exit.ExitCode() != 0 {
			t.Errorf("SIGTERM: %v\n%s", err, s.text())
		}
	}
	if log := s.text(); strings.Contains(log, "panic") || strings.Contains(log, "goroutine ") ||
		strings.Contains(log, "\x1b") {
		t.Errorf("the log:\n%s", log)
	}
	t.Logf("%d clients sent %d requests; the registry took at most %d MiB", last-first, sent, memory>>10)
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("it wrote beside its directory: %v (%v)", entries, err)
	}
	for _, sub := range []string{"work", "tmp"} {
		if leftover, err := os.ReadDir(filepath.Join(s.dir, sub)); err != nil || len(leftover) > 0 {
			t.Errorf("it left in %s: %v (%v)", sub, leftover, err)
		}
	}
	found, err := files(env.root)
	if err != nil {
		t.Error(err)
	}
	for name := range found {
		if strings.Contains(name, escapee) {
			t.Errorf("%s was written", name)
		}
	}
	for _, path := range []string{"/" + escapee, "/tmp/" + escapee} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s was written", path)
			_ = os.RemoveAll(path)
		}
	}
	if leftover := killLeftover("KOLLA_HOSTILE_RUN=" + env.root); len(leftover) > 0 {
		t.Errorf("processes are left: %v", leftover)
	}
}
