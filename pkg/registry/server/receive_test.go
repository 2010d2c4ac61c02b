package server_test

import (
	"context"
	"crypto/tls"
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
	"time"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// maxReceived is the number of docs/security.md.
const maxReceived = 256

// openSpools counts the unnamed files of a directory that this process has open.
func openSpools(t *testing.T, dir string) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
		if err == nil && filepath.Dir(target) == dir && strings.HasSuffix(target, "(deleted)") {
			n++
		}
	}
	return n
}

// TestReceivedManifestsAreBounded sends more manifests at the same time than may be received,
// over many connections with HTTP/2, and stops before their end. Those that wait for their turn
// have no file, and a client that goes away ends its turn.
func TestReceivedManifestsAreBounded(t *testing.T) {
	testenv.Slow(t)
	const connections, streams, ofAddress = 32, 10, 16
	authority := registrytest.NewAuthority(t, "site")
	certificate, key := authority.Issue(t, "server", time.Hour, "localhost", "127.0.0.1")
	dir, err := filepath.EvalSymlinks(t.TempDir()) // as /proc names it
	if err != nil {
		t.Fatal(err)
	}
	s := registrytest.Embedded(t, server.Options{Certificate: certificate, Key: key, Dir: dir})
	base := "https://" + s.Addr().String()
	connect := func(address int) *http.Client {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+address))}}
		transport := &http.Transport{DialContext: dialer.DialContext,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		client := &http.Client{Transport: transport}
		if resp, err := client.Get(base + "/v2/"); err != nil || resp.ProtoMajor != 2 {
			t.Fatalf("%v, %v", resp, err)
		} else {
			resp.Body.Close()
		}
		return client
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	put := func(ctx context.Context, client *http.Client, body io.Reader) (status int) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, base+"/v2/kolla/base/manifests/t", body)
		if err != nil {
			t.Error(err)
			return 0
		}
		req.ContentLength = 30_000
		resp, err := client.Do(req)
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	content := strings.Repeat(" ", 30_000)
	var clients sync.WaitGroup
	for i := range connections {
		client := connect(i / ofAddress) // so that all have a large window
		for range streams {
			body, end := io.Pipe() // stays open
			go func() { _, _ = io.WriteString(end, content[:16_500]) }()
			clients.Go(func() { put(ctx, client, body) })
		}
	}
	operator := connect(connections)
	running := func() (n int) {
		resp, err := operator.Get(base + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		_, after, _ := strings.Cut(string(text), "\nkolla_registry_requests_running ")
		_, _ = fmt.Sscan(after, &n)
		return n
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d requests are running, %d manifests have an open file", what, running(), openSpools(t, dir))
			}
		}
	}
	until("all are sent", func() bool { return running() >= connections*streams && openSpools(t, dir) >= maxReceived })
	for range 20 {
		if n := openSpools(t, dir); n > maxReceived {
			t.Fatalf("%d of %d manifests have an open file", n, connections*streams)
		}
		time.Sleep(10 * time.Millisecond)
	}
	leave()
	clients.Wait()
	if status := put(t.Context(), operator, strings.NewReader(content)); status != http.StatusBadRequest {
		t.Errorf("after that, a manifest that is not one: status %d", status)
	}
	until("all have ended", func() bool { return openSpools(t, dir) == 0 })
}

// A disk that is too full for a manifest that is being received is the server's fault.
func TestManifestOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		testenv.Missing(t, fmt.Sprintf("a small file system cannot be mounted here (%v); root can", err))
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	var log syncBuffer
	s := registrytest.Embedded(t, server.Options{Dir: dir, Log: &log})
	status, text := request(t, http.MethodPut, "http://"+s.Addr().String()+"/v2/kolla/base/manifests/t",
		strings.NewReader(strings.Repeat(" ", 3<<20)), nil)
	if status != http.StatusInsufficientStorage || !strings.Contains(text, "disk is full") {
		t.Errorf("status %d: %s", status, text)
	}
	if !strings.Contains(log.String(), "storing the manifest while it is received: ") {
		t.Errorf("the log has no cause:\n%s", log.String())
	}
	if n := openSpools(t, dir); n > 0 {
		t.Errorf("%d files are still open", n)
	}
}
