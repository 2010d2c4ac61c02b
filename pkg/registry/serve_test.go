package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
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
	img := ociBase(t, 10_000)
	s := startEmbedded(t, ServeOptions{Dir: dir})
	p := newClient(t, Options{}).NewPublisher(PublishOptions{})
	d, err := p.Push(ctx, s.Host()+"/kolla/base", img)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(ctx, []Tag{{s.Host() + "/kolla/base:t", d.Digest}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := startEmbedded(t, ServeOptions{Dir: dir, ReadOnly: true})
	mustPull(t, again.Host(), "HOST/kolla/base:t", d.Digest)
	if _, err := newClient(t, Options{}).NewPublisher(PublishOptions{}).Push(ctx, again.Host()+"/kolla/base", ociBase(t, 10)); err == nil {
		t.Error("a read-only registry took a push")
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ServeOptions{Addr: "127.0.0.1:0", Dir: t.TempDir()}) }()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestServeErrors(t *testing.T) {
	dir := t.TempDir()
	s := startEmbedded(t, ServeOptions{Dir: dir})

	t.Run("address in use by a registry", func(t *testing.T) {
		_, err := Start(ServeOptions{Addr: s.Addr().String(), Dir: t.TempDir()})
		var in *AddrInUseError
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
		_, err = Start(ServeOptions{Addr: ln.Addr().String(), Dir: t.TempDir()})
		var in *AddrInUseError
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		if !errors.As(err, &in) || in.IsRegistry || !strings.Contains(in.Hint(), "ss -ltnp 'sport = :"+port+"'") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("directory in use", func(t *testing.T) {
		_, err := Start(ServeOptions{Addr: "127.0.0.1:0", Dir: dir})
		var de *DirError
		if !errors.As(err, &de) || !de.Locked || !strings.Contains(err.Error(), "listens on "+s.Addr().String()) {
			t.Errorf("got %v", err)
		}
		if _, err := GarbageCollect(context.Background(), dir, GCOptions{}); err != nil && (!errors.As(err, &de) || !de.Locked) {
			t.Errorf("collecting garbage under a running registry: %v", err)
		}
	})
	t.Run("directory is a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Start(ServeOptions{Addr: "127.0.0.1:0", Dir: file})
		var de *DirError
		if !errors.As(err, &de) || de.Locked || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("directory cannot be written", func(t *testing.T) {
		// Root may write everywhere but to a file system that is read-only.
		_, err := Start(ServeOptions{Addr: "127.0.0.1:0", Dir: "/proc/kolla-build-test"})
		var de *DirError
		if !errors.As(err, &de) || !strings.Contains(de.Hint(), "--dir") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no password file", func(t *testing.T) {
		missing := filepath.Join(t.TempDir(), "none")
		if _, err := Start(ServeOptions{Addr: "127.0.0.1:0", Dir: t.TempDir(), Htpasswd: missing}); err == nil {
			t.Error("it started")
		}
		if _, err := os.Stat(missing); err == nil {
			t.Error("it made the file")
		}
	})
	t.Run("nonsense address", func(t *testing.T) {
		if _, err := Start(ServeOptions{Addr: "nowhere", Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "nowhere") {
			t.Errorf("got %v", err)
		}
	})
}

// The log has what changes and what fails; nothing goes to standard error.
func TestServeLog(t *testing.T) {
	log := &syncBuffer{}
	s := startEmbedded(t, ServeOptions{Log: log})
	ctx := context.Background()
	c := newClient(t, Options{})
	_, _ = c.Head(ctx, s.Host()+"/kolla/none:t")
	if got := log.String(); got != "" {
		t.Errorf("a look-up is logged: %s", got)
	}
	p := c.NewPublisher(PublishOptions{})
	d, err := p.Push(ctx, s.Host()+"/kolla/base", ociBase(t, 10))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(ctx, []Tag{{s.Host() + "/kolla/base:t", d.Digest}}); err != nil {
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
	s := startEmbedded(t, ServeOptions{Dir: dir})
	host := s.Host()
	p := newClient(t, Options{}).NewPublisher(PublishOptions{})
	kept, gone := ociBase(t, 10_000), ociBase(t, 300_000)
	for _, img := range []struct {
		tag string
		d   string
	}{{"kept", ""}, {"gone", ""}} {
		i := kept
		if img.tag == "gone" {
			i = gone
		}
		d, err := p.Push(ctx, host+"/kolla/base", i)
		if err != nil {
			t.Fatal(err)
		}
		if img.tag == "kept" {
			if err := p.Commit(ctx, []Tag{{host + "/kolla/base:kept", d.Digest}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := GarbageCollect(ctx, dir, GCOptions{Untagged: true}); err == nil {
		t.Fatal("it collected under a running registry")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if freed, err := GarbageCollect(ctx, dir, GCOptions{}); err != nil || freed != 0 {
		t.Errorf("freed %d bytes (%v) of what manifests refer to", freed, err)
	}
	if freed, err := GarbageCollect(ctx, dir, GCOptions{Untagged: true, DryRun: true}); err != nil || freed != 0 {
		t.Errorf("a dry run freed %d bytes (%v)", freed, err)
	}
	if freed, err := GarbageCollect(ctx, dir, GCOptions{Untagged: true}); err != nil || freed < 300_000 {
		t.Errorf("freed %d bytes (%v)", freed, err)
	}
	again := startEmbedded(t, ServeOptions{Dir: dir})
	mustPull(t, again.Host(), "HOST/kolla/base:kept", digestOf(t, kept))
	var nf *NotFoundError
	if _, err := newClient(t, Options{}).Head(ctx, again.Host()+"/kolla/base@"+digestOf(t, gone).String()); !errors.As(err, &nf) {
		t.Errorf("the untagged image: %v", err)
	}
	// What was collected can be pushed again.
	if _, err := newClient(t, Options{}).NewPublisher(PublishOptions{}).Push(ctx, again.Host()+"/kolla/base", gone); err != nil {
		t.Error(err)
	}
	if _, err := GarbageCollect(ctx, filepath.Join(dir, "none"), GCOptions{}); err == nil {
		t.Error("collecting in a directory that is not there succeeded")
	}
	if freed, err := GarbageCollect(ctx, t.TempDir(), GCOptions{}); err != nil || freed != 0 {
		t.Errorf("an empty directory: %d, %v", freed, err)
	}
}

// Others push to the embedded registry too.
func TestSkopeoPushesToUs(t *testing.T) {
	skopeo := testenv.Program(t, "skopeo", "skopeo")
	ctx := context.Background()
	s := startEmbedded(t, ServeOptions{})
	p := newClient(t, Options{}).NewPublisher(PublishOptions{})
	img := ociBase(t, 5000)
	d, err := p.Push(ctx, s.Host()+"/a/b", img)
	if err != nil {
		t.Fatal(err)
	}
	runTool(t, skopeo, "copy", "--src-tls-verify=false", "--dest-tls-verify=false",
		"docker://"+s.Host()+"/a/b@"+d.Digest.String(), "docker://"+s.Host()+"/c/d:copied")
	mustPull(t, s.Host(), "HOST/c/d:copied", d.Digest)
	runTool(t, skopeo, "delete", "--tls-verify=false", "docker://"+s.Host()+"/c/d:copied")
	var nf *NotFoundError
	if _, err := newClient(t, Options{}).Head(ctx, s.Host()+"/c/d:copied"); !errors.As(err, &nf) {
		t.Errorf("after the deletion: %v", err)
	}
}

// A registry whose disk is full says so, soon; when there is room again the push
// goes on.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		testenv.Missing(t, fmt.Sprintf("a small file system cannot be mounted here (%v); root can", err))
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	ctx := context.Background()
	log := &syncBuffer{}
	s := startEmbedded(t, ServeOptions{Dir: dir, Log: log})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 900_000), 0o600); err != nil {
		t.Fatal(err)
	}
	img := ociBase(t, 400_000)
	p := newClient(t, Options{}).NewPublisher(PublishOptions{})
	_, err := p.Push(ctx, s.Host()+"/kolla/base", img)
	var ae *AnswerError
	if !errors.As(err, &ae) || !strings.Contains(err.Error(), "no space left") || !strings.Contains(ae.Hint(), "disk is full") {
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
	mustPull(t, s.Host(), "HOST/kolla/base@"+digestOf(t, img).String(), digestOf(t, img))
}
