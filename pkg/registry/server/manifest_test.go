package server

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// heldBody is a body whose client stops before the last byte, until it is released.
type heldBody struct {
	io.Reader
	held    func()
	release chan struct{}
}

func (b *heldBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF && b.held != nil {
		b.held()
		b.held = nil
		<-b.release
	}
	return n, err
}

func (b *heldBody) Close() error { return nil }

// Clients that send large manifests and stop before the end take no memory, and what they sent
// is complete when they go on.
func TestLargeManifestsWaitOnDisk(t *testing.T) {
	const clients = 16
	dir := t.TempDir()
	h := &handler{dir: dir, large: make(chan struct{}, largeManifests)}
	content := strings.Repeat("0123456789abcdef", maxManifest/16)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	release := make(chan struct{})
	var held, ended sync.WaitGroup
	held.Add(clients)
	for range clients {
		ended.Go(func() {
			r := &http.Request{Method: http.MethodPut, URL: &url.URL{Path: "/v2/kolla/base/manifests/t"},
				Body: &heldBody{Reader: strings.NewReader(content), held: held.Done, release: release}}
			raw, done, err := h.manifestBody(r)
			defer done()
			if err != nil || string(raw) != content {
				t.Errorf("%d bytes, %v", len(raw), err)
			}
		})
	}
	held.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > clients*maxManifest/8 {
		t.Errorf("%d clients take %d bytes", clients, grown)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	close(release)
	ended.Wait()
	small := &http.Request{Method: http.MethodPut, URL: &url.URL{Path: "/v2/kolla/base/manifests/t"},
		Body: io.NopCloser(bytes.NewReader([]byte(content[:maxSmall])))}
	if raw, done, err := h.manifestBody(small); err != nil || len(raw) != maxSmall || len(h.large) > 0 {
		t.Errorf("%d bytes, %v", len(raw), err)
	} else {
		done()
	}
}
