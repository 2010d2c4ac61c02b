package server_test

import (
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// TestSlowRequestsAreCutOff checks that no request holds its connection for ever, also if its
// answer does not depend on its body, and that clients which read no answers do not either.
func TestSlowRequestsAreCutOff(t *testing.T) {
	testenv.Slow(t)
	defer server.SetPace(time.Second, 100)()
	addr := registrytest.Embedded(t,
		server.Options{Htpasswd: registrytest.Htpasswd(t, "ada", "s3cret"), Anonymous: server.AccessPull}).Addr().String()
	connect := func() net.Conn {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		return conn
	}
	var wg sync.WaitGroup
	for _, request := range []string{
		"POST /", "POST /healthz", "GET /metrics", "GET //x", "PUT /v2/kolla/base/manifests/t", "POST /v2/kolla/base/blobs/uploads/",
		"GET /v2/", "GET /v2/kolla/base/referrers/" + digest.FromString("x").String(), "GET /v2/kolla/base/tags/list?last=%00",
	} {
		conn := connect()
		wg.Go(func() {
			defer conn.Close()
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx", request)
			if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
				t.Errorf("%s: the connection is still open", request)
			}
		})
	}
	for _, path := range []string{"/", "/v2/"} {
		conn := connect()
		wg.Go(func() {
			defer conn.Close()
			requests := strings.Repeat("GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n", 1000)
			for {
				if _, err := io.WriteString(conn, requests); err != nil {
					if isTimeout(err) {
						t.Errorf("%s: a client that does not read still has its connection", path)
					}
					return
				}
			}
		})
	}
	wg.Wait()
}

func isTimeout(err error) bool {
	netErr, ok := err.(net.Error)
	return ok && netErr.Timeout()
}

func headStatus(t *testing.T, url string) int {
	t.Helper()
	status, _ := request(t, http.MethodHead, url, nil, nil)
	return status
}

// pushManifest pushes an image without layers that has annotations and may have a subject.
func pushManifest(t *testing.T, base, reference string, subject digest.Digest, annotation string) digest.Digest {
	t.Helper()
	const config = "{}"
	if url := base + "/v2/kolla/base/blobs/" + digest.FromString(config).String(); headStatus(t, url) != http.StatusOK {
		upload := startUpload(t, base, "kolla/base") + "&digest=" + digest.FromString(config).String()
		if status, text := request(t, http.MethodPut, upload, strings.NewReader(config), nil); status != http.StatusCreated {
			t.Fatalf("config: status %d: %s", status, text)
		}
	}
	m := ocispec.Manifest{
		MediaType:   ocispec.MediaTypeImageManifest,
		Config:      ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromString(config), Size: int64(len(config))},
		Layers:      []ocispec.Descriptor{},
		Annotations: map[string]string{"note": annotation},
	}
	m.SchemaVersion = 2
	if subject != "" {
		m.Subject = &ocispec.Descriptor{MediaType: m.MediaType, Digest: subject, Size: 1}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]string{"Content-Type": m.MediaType}
	if status, text := request(t, http.MethodPut, base+"/v2/kolla/base/manifests/"+reference, strings.NewReader(string(raw)),
		header); status != http.StatusCreated {
		t.Fatalf("manifest: status %d: %s", status, text)
	}
	return digest.FromBytes(raw)
}

// TestReferrersAreBounded checks that a list of large referrers is sent in parts that clients
// read, and that clients find all of them.
func TestReferrersAreBounded(t *testing.T) {
	s := registrytest.Embedded(t, server.Options{})
	base := "http://" + s.Addr().String()
	subject := pushManifest(t, base, "t", "", "")
	pushed := map[digest.Digest]bool{}
	const count = 72
	for i := range count {
		pushed[pushManifest(t, base, fmt.Sprint("r", i), subject, strings.Repeat("x", 60_000)+fmt.Sprint(i))] = true
	}
	status, text := request(t, http.MethodGet, base+"/v2/kolla/base/referrers/"+subject.String(), nil, nil)
	if status != http.StatusOK || len(text) > 4<<20 {
		t.Errorf("status %d, %d bytes", status, len(text))
	}
	ref, err := imageref.Parse(s.Host() + "/kolla/base")
	if err != nil {
		t.Fatal(err)
	}
	found, hasAPI, err := registrytest.Client(t, registry.Options{}).Repository(ref).Referrers(t.Context(), subject)
	if err != nil || !hasAPI {
		t.Fatalf("API: %v, %v", hasAPI, err)
	}
	for _, d := range found {
		delete(pushed, d.Digest)
	}
	if len(found) != count || len(pushed) > 0 {
		t.Errorf("%d referrers found, %d missing", len(found), len(pushed))
	}
}

// TestTagsThatChangeDuringDeletions checks that deleting a manifest does not remove tags that
// are set to another one at the same time.
func TestTagsThatChangeDuringDeletions(t *testing.T) {
	base := "http://" + registrytest.Embedded(t, server.Options{}).Addr().String()
	for i := range 6 {
		old := pushManifest(t, base, "t", "", fmt.Sprint("old ", i))
		for n := range 10 {
			pushManifest(t, base, fmt.Sprint("other", n), "", fmt.Sprint("old ", i))
		}
		deleted := make(chan int)
		go func() {
			status, _ := request(t, http.MethodDelete, base+"/v2/kolla/base/manifests/"+old.String(), nil, nil)
			deleted <- status
		}()
		current := pushManifest(t, base, "t", "", fmt.Sprint("new ", i))
		if status := <-deleted; status != http.StatusAccepted {
			t.Errorf("deleting: status %d", status)
		}
		status, text := request(t, http.MethodGet, base+"/v2/kolla/base/manifests/t", nil,
			map[string]string{"Accept": ocispec.MediaTypeImageManifest})
		if status != http.StatusOK || digest.FromString(text) != current {
			t.Fatalf("round %d: the tag of the new manifest: status %d: %.200s", i, status, text)
		}
	}
}

// TestHTTP2Limits reads the settings that the server announces.
func TestHTTP2Limits(t *testing.T) {
	authority := registrytest.NewAuthority(t, "site")
	certificate, key := authority.Issue(t, "server", time.Hour, "localhost", "127.0.0.1")
	s := registrytest.Embedded(t, server.Options{Certificate: certificate, Key: key})
	conn, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if p := conn.ConnectionState().NegotiatedProtocol; p != "h2" {
		t.Fatalf("the protocol is %q", p)
	}
	// The preface, and an empty frame of settings.
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	header := make([]byte, 9)
	if _, err := io.ReadFull(conn, header); err != nil || header[3] != 4 {
		t.Fatalf("the first frame is %x, %v", header, err)
	}
	payload := make([]byte, int(header[1])<<8|int(header[2]))
	if _, err := io.ReadFull(conn, payload); err != nil {
		t.Fatal(err)
	}
	settings := map[uint16]uint32{}
	for ; len(payload) >= 6; payload = payload[6:] {
		settings[binary.BigEndian.Uint16(payload)] = binary.BigEndian.Uint32(payload[2:])
	}
	for id, limit := range map[uint16]uint32{3: 16, 4: 256 << 10, 5: 16 << 10, 6: 17 << 10} { // streams, bytes of a stream, a frame and headers
		if got, ok := settings[id]; !ok || got > limit {
			t.Errorf("setting %d is %d, more than %d", id, got, limit)
		}
	}
}
