package server_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// TestUnreadDocumentsTakeNoMemory checks that clients that do not read the manifests and lists that
// they have requested take little memory, and get all of them when they read.
func TestUnreadDocumentsTakeNoMemory(t *testing.T) {
	testenv.Slow(t)
	const clients, size = 48, 3 << 20
	s := registrytest.Embedded(t, server.Options{GenerateTLS: true, Anonymous: server.AccessPush})
	base := "https://" + s.Addr().String()
	usual := http.DefaultClient
	http.DefaultClient = smallWindow(t) // it trusts the certificate
	defer func() { http.DefaultClient = usual }()
	subject := pushManifest(t, base, "t", "", strings.Repeat("x", size))
	pushManifest(t, base, "r", subject, strings.Repeat("y", size))
	for name, path := range map[string]string{
		"manifest":  "/v2/kolla/base/manifests/t",
		"referrers": "/v2/kolla/base/referrers/" + subject.String(),
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := smallWindow(t).Do(get(t, base+path))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			want, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK || len(want) < size {
				t.Fatalf("status %d, %d bytes, %v", resp.StatusCode, len(want), err)
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var unread []*http.Response
			for range clients {
				resp, err := smallWindow(t).Do(get(t, base+path))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil || resp.ProtoMajor != 2 {
					t.Fatal(resp.Proto, err)
				}
				unread = append(unread, resp)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > clients*size/4 {
				t.Errorf("%d clients take %d bytes", clients, grown)
			}
			rest, err := io.ReadAll(unread[0].Body)
			if err != nil || len(rest) != len(want)-1 || !bytes.HasSuffix(want, rest) {
				t.Errorf("got %d bytes and %v, expected %d", len(rest), err, len(want)-1)
			}
		})
	}
}

func get(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
	return req
}

// smallWindow is a client of HTTP/2 that takes 64 KiB which it does not read, on a connection of
// its own.
func smallWindow(t *testing.T) *http.Client {
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the server is in this process
		ForceAttemptHTTP2: true,
		HTTP2:             &http.HTTP2Config{MaxReceiveBufferPerConnection: 64 << 10, MaxReceiveBufferPerStream: 64 << 10},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// TestListOnFullDisk checks that a list is sent although the disk has no space to keep it.
func TestListOnFullDisk(t *testing.T) {
	testenv.Slow(t)
	dir := testenv.Tmpfs(t, "4m")
	s := registrytest.Embedded(t, server.Options{Dir: dir})
	base := "http://" + s.Addr().String()
	const tags = 300
	for i := range tags {
		pushManifest(t, base, fmt.Sprintf("%03d%s", i, strings.Repeat("x", 100)), "", "")
	}
	fill, err := os.Create(filepath.Join(dir, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	defer fill.Close()
	for err == nil {
		_, err = fill.Write(make([]byte, 4096))
	}
	status, body := request(t, http.MethodGet, base+"/v2/kolla/base/tags/list?n=1000", nil, nil)
	if status != http.StatusOK || strings.Count(body, "xxx\"") != tags {
		t.Errorf("status %d, %d tags in %d bytes", status, strings.Count(body, "xxx\""), len(body))
	}
}
