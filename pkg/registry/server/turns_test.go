package server_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// TestUploadsAreWrittenInTurn sends the content of a blob while another request of the same upload,
// which began before, has not sent its own. It must not change the blob that is stored.
func TestUploadsAreWrittenInTurn(t *testing.T) {
	testenv.Slow(t)
	dir := t.TempDir()
	s := registrytest.Embedded(t, server.Options{Dir: dir})
	base := "http://" + s.Addr().String()
	for _, late := range []string{http.MethodPatch, http.MethodPut} {
		good, bad := strings.Repeat(late[:2], 50_000), strings.Repeat("xx", 50_000)
		name := digest.FromString(good).String()
		location := startUpload(t, base, "kolla/base")
		u, err := url.Parse(location)
		if err != nil {
			t.Fatal(err)
		}
		query := u.Query()
		query.Set("digest", name)
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "%s %s?%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", late, u.Path,
			query.Encode(), len(bad))
		for !isOpen(t, filepath.Base(u.Path)) {
			time.Sleep(time.Millisecond)
		}
		stored := make(chan int, 1)
		go func() {
			status, _ := request(t, http.MethodPut, base+u.Path+"?"+query.Encode(), strings.NewReader(good), nil)
			stored <- status
		}()
		select {
		case status := <-stored:
			stored <- status
		case <-time.After(time.Second): // it waits for the other request
		}
		fmt.Fprint(conn, bad)
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
			t.Errorf("%s: %v", late, err)
		} else {
			resp.Body.Close()
		}
		if status := <-stored; status >= http.StatusInternalServerError {
			t.Errorf("after a late %s: status %d", late, status)
		}
		// The client begins again.
		location = startUpload(t, base, "kolla/base")
		if status, text := request(t, http.MethodPut, location+"&digest="+name, strings.NewReader(good),
			nil); status != http.StatusCreated {
			t.Errorf("after a late %s, another upload: status %d, %s", late, status, text)
		}
	}
	err := filepath.WalkDir(filepath.Join(dir, "docker/registry/v2/blobs"),
		func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != filepath.Base(filepath.Dir(path)) {
				t.Errorf("%s has other content", path)
			}
			return err
		})
	if err != nil {
		t.Error(err)
	}
}

// isOpen reports whether this process has opened the file of an upload.
func isOpen(t *testing.T, upload string) bool {
	t.Helper()
	open, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		if target, err := os.Readlink(fd); err == nil && strings.Contains(target, upload) {
			return true
		}
	}
	return false
}
