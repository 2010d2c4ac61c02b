package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestTagsSurviveARestart(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "a", "b") // made when it is missing
	img := registrytest.Base(t, 10_000)
	s := registrytest.Embedded(t, server.Options{Dir: dir})
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	d, err := p.Push(ctx, s.Host()+"/kolla/base", img)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(ctx, []push.Tag{{Ref: s.Host() + "/kolla/base:t", Digest: d.Digest}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	restarted := registrytest.Embedded(t, server.Options{Dir: dir, ReadOnly: true})
	registrytest.MustPull(t, restarted.Host(), "HOST/kolla/base:t", d.Digest)
	if _, err := push.New(registrytest.Client(t, registry.Options{}), push.Options{}).Push(ctx,
		restarted.Host()+"/kolla/base", registrytest.Base(t, 10)); err == nil {
		t.Error("a read-only registry took a push")
	}
}

func TestServeErrors(t *testing.T) {
	dir := t.TempDir()
	s := registrytest.Embedded(t, server.Options{Dir: dir})

	t.Run("address in use by a registry", func(t *testing.T) {
		_, err := server.Start(server.Options{Addr: s.Addr().String(), Dir: t.TempDir()})
		var in *server.AddrInUseError
		if !errors.As(err, &in) || !in.IsRegistry || !strings.Contains(in.Hint(), "--registry "+s.Host()) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("address in use by something else", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.NotFoundHandler()}
		go func() { _ = srv.Serve(ln) }()
		defer srv.Close()
		_, err = server.Start(server.Options{Addr: ln.Addr().String(), Dir: t.TempDir()})
		var in *server.AddrInUseError
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		if !errors.As(err, &in) || in.IsRegistry || !strings.Contains(in.Hint(), "ss -ltnp 'sport = :"+port+"'") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("directory in use", func(t *testing.T) {
		_, err := server.Start(server.Options{Addr: "127.0.0.1:0", Dir: dir})
		var de *server.DirError
		if !errors.As(err, &de) || !de.Locked || !strings.Contains(err.Error(), "listens on "+s.Addr().String()) {
			t.Errorf("got %v", err)
		}
		if _, err := server.GarbageCollect(context.Background(), dir, server.GCOptions{}); err != nil &&
			(!errors.As(err, &de) || !de.Locked) {
			t.Errorf("collecting garbage under a running registry: %v", err)
		}
	})
	t.Run("directory is a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := server.Start(server.Options{Addr: "127.0.0.1:0", Dir: file})
		var de *server.DirError
		if !errors.As(err, &de) || de.Locked || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("directory cannot be written", func(t *testing.T) {
		// Root may write everywhere but to a file system that is read-only.
		_, err := server.Start(server.Options{Addr: "127.0.0.1:0", Dir: "/proc/kolla-build-test"})
		var de *server.DirError
		if !errors.As(err, &de) || !strings.Contains(de.Hint(), "--dir") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no password file", func(t *testing.T) {
		missing := filepath.Join(t.TempDir(), "none")
		if _, err := server.Start(server.Options{Addr: "127.0.0.1:0", Dir: t.TempDir(), Htpasswd: missing}); err == nil {
			t.Error("it started")
		}
		if _, err := os.Stat(missing); err == nil {
			t.Error("it made the file")
		}
	})
	t.Run("nonsense address", func(t *testing.T) {
		if _, err := server.Start(server.Options{Addr: "nowhere", Dir: t.TempDir()}); err == nil ||
			!strings.Contains(err.Error(), "nowhere") {
			t.Errorf("got %v", err)
		}
	})
}

// The log names the users whose login was accepted, quoted if they could be mistaken for
// something else; those of refused logins and of requests that need none are not users.
func TestServeLogNamesUsers(t *testing.T) {
	log := &syncBuffer{}
	s := registrytest.Embedded(t,
		server.Options{Log: log, Verbose: true, Anonymous: server.AccessPull,
			Htpasswd: registrytest.Htpasswd(t, "ada lovelace", "s3cret")})
	request := func(method, path, user, password string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+s.Host()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	request("POST", "/v2/kolla/base/blobs/uploads/", "ada lovelace", "s3cret")
	request("GET", "/v2/kolla/base/tags/list", "ada lovelace", "s3cret")
	request("GET", "/v2/_catalog", "", "")
	request("POST", "/v2/kolla/base/blobs/uploads/", "eve", "guess")
	if err := s.Close(); err != nil { // lines are written after their answers
		t.Fatal(err)
	}
	got := log.String()
	for _, want := range []string{
		`"ada lovelace" POST /v2/kolla/base/blobs/uploads/ 202`,
		`"ada lovelace" GET /v2/kolla/base/tags/list 404`,
		" - GET /v2/_catalog 200",
		" - POST /v2/kolla/base/blobs/uploads/ 401",
		`the login of "eve" was refused`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the log has no %s:\n%s", want, got)
		}
	}
}

// The log contains changes and failures; nothing is written to standard error.
func TestServeLog(t *testing.T) {
	log := &syncBuffer{}
	s := registrytest.Embedded(t, server.Options{Log: log})
	ctx := context.Background()
	c := registrytest.Client(t, registry.Options{})
	_, _ = c.Head(ctx, s.Host()+"/kolla/none:t")
	if got := log.String(); got != "" {
		t.Errorf("a look-up is logged: %s", got)
	}
	p := push.New(c, push.Options{})
	d, err := p.Push(ctx, s.Host()+"/kolla/base", registrytest.Base(t, 10))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(ctx, []push.Tag{{Ref: s.Host() + "/kolla/base:t", Digest: d.Digest}}); err != nil {
		t.Fatal(err)
	}
	if got := log.String(); !strings.Contains(got, "PUT /v2/kolla/base/manifests/t 201") {
		t.Errorf("the log has no line for the tag:\n%s", got)
	}
	resp, err := http.Get("http://" + s.Host() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); !strings.Contains(string(b), "/v2/") {
		t.Errorf("/ says %q", b)
	}
}

func TestGarbageCollect(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := registrytest.Embedded(t, server.Options{Dir: dir})
	host := s.Host()
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	kept, removed := registrytest.Base(t, 10_000), registrytest.Base(t, 300_000)
	for _, img := range []struct {
		tag string
		d   string
	}{{"kept", ""}, {"gone", ""}} {
		i := kept
		if img.tag == "gone" {
			i = removed
		}
		d, err := p.Push(ctx, host+"/kolla/base", i)
		if err != nil {
			t.Fatal(err)
		}
		if img.tag == "kept" {
			if err := p.Commit(ctx, []push.Tag{{Ref: host + "/kolla/base:kept", Digest: d.Digest}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, dry := range []bool{false, true} {
		if _, err := server.GarbageCollect(ctx, dir, server.GCOptions{Untagged: true, DryRun: dry}); !server.IsLocked(err) {
			t.Fatalf("under a running registry: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if freed, err := server.GarbageCollect(ctx, dir, server.GCOptions{}); err != nil || freed.Freed != 0 {
		t.Errorf("freed %d bytes (%v) of what manifests refer to", freed, err)
	}
	upload := filepath.Join(dir, "docker/registry/v2/repositories/kolla/base/_uploads/0c5ac2b1-6f0e-4e5f-8f0a-2d8d3a1b4c5d/data")
	if err := os.MkdirAll(filepath.Dir(upload), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(upload, make([]byte, 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	shown, err := server.GarbageCollect(ctx, dir, server.GCOptions{Untagged: true, DryRun: true})
	if err != nil || shown.Freed < 300_000 {
		t.Errorf("a dry run shows %+v (%v)", shown, err)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("a dry run changed files:\n%s\nbefore:\n%s", after, before)
	}
	if freed, err := server.GarbageCollect(ctx, dir, server.GCOptions{Untagged: true}); err != nil || freed != shown {
		t.Errorf("freed %+v (%v), the dry run showed %+v", freed, err, shown)
	}
	restarted := registrytest.Embedded(t, server.Options{Dir: dir})
	registrytest.MustPull(t, restarted.Host(), "HOST/kolla/base:kept", registrytest.Digest(t, kept))
	var nf *registry.NotFoundError
	if _, err := registrytest.Client(t, registry.Options{}).Head(ctx,
		restarted.Host()+"/kolla/base@"+registrytest.Digest(t, removed).String()); !errors.As(err, &nf) {
		t.Errorf("the untagged image: %v", err)
	}
	// Collected content can be pushed again.
	if _, err := push.New(registrytest.Client(t, registry.Options{}), push.Options{}).Push(ctx,
		restarted.Host()+"/kolla/base", removed); err != nil {
		t.Error(err)
	}
	if _, err := server.GarbageCollect(ctx, filepath.Join(dir, "none"), server.GCOptions{}); err == nil {
		t.Error("collecting in a directory that is not there succeeded")
	}
	if freed, err := server.GarbageCollect(ctx, t.TempDir(), server.GCOptions{}); err != nil || freed.Freed != 0 {
		t.Errorf("an empty directory: %d, %v", freed, err)
	}
}

// listing returns the names, sizes and times of all files in a directory.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Others push to the embedded registry too.
func TestSkopeoPushesToUs(t *testing.T) {
	skopeo := testenv.Program(t, "skopeo", "skopeo")
	ctx := context.Background()
	s := registrytest.Embedded(t, server.Options{})
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	img := registrytest.Base(t, 5000)
	d, err := p.Push(ctx, s.Host()+"/a/b", img)
	if err != nil {
		t.Fatal(err)
	}
	registrytest.Run(t, skopeo, "copy", "--src-tls-verify=false", "--dest-tls-verify=false",
		"docker://"+s.Host()+"/a/b@"+d.Digest.String(), "docker://"+s.Host()+"/c/d:copied")
	registrytest.MustPull(t, s.Host(), "HOST/c/d:copied", d.Digest)
	registrytest.Run(t, skopeo, "delete", "--tls-verify=false", "docker://"+s.Host()+"/c/d:copied")
	var nf *registry.NotFoundError
	if _, err := registrytest.Client(t, registry.Options{}).Head(ctx, s.Host()+"/c/d:copied"); !errors.As(err, &nf) {
		t.Errorf("after the deletion: %v", err)
	}
}

// A registry with a full disk reports that quickly; when there is space again the push
// continues.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		testenv.Missing(t, fmt.Sprintf("a small file system cannot be mounted here (%v); root can", err))
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	ctx := context.Background()
	log := &syncBuffer{}
	s := registrytest.Embedded(t, server.Options{Dir: dir, Log: log})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 900_000), 0o600); err != nil {
		t.Fatal(err)
	}
	img := registrytest.Base(t, 400_000)
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	_, err := p.Push(ctx, s.Host()+"/kolla/base", img)
	var ae *registry.AnswerError
	if !errors.As(err, &ae) || !strings.Contains(err.Error(), "no space left") ||
		!strings.Contains(ae.Hint(), "disk is full") {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(log.String(), "no space left") {
		t.Errorf("the registry's log does not say it:\n%s", log)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Push(ctx, s.Host()+"/kolla/base", img); err != nil {
		t.Fatal(err)
	}
	registrytest.MustPull(t, s.Host(), "HOST/kolla/base@"+registrytest.Digest(t, img).String(),
		registrytest.Digest(t, img))
}
