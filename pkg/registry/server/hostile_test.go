package server_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/net/http2"

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
		"POST /", "POST /healthz", "GET /metrics", "GET //x", "PUT /v2/kolla/base/manifests/t",
		"POST /v2/kolla/base/blobs/uploads/",
		"GET /v2/", "GET /v2/kolla/base/referrers/" + digest.FromString("x").String(),
		"GET /v2/kolla/base/tags/list?last=%00",
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
		pushBlob(t, base, config)
	}
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromString(config),
			Size: int64(len(config))},
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
	if status, text := request(t, http.MethodPut, base+"/v2/kolla/base/manifests/"+reference,
		strings.NewReader(string(raw)),
		header); status != http.StatusCreated {
		t.Fatalf("manifest: status %d: %s", status, text)
	}
	return digest.FromBytes(raw)
}

// TestReferrersAreBounded checks that a list of large referrers is sent in parts that clients
// read, and that clients find all of them.
func TestReferrersAreBounded(t *testing.T) {
	testenv.Slow(t)
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

// pushBlob uploads a blob to the repository kolla/base.
func pushBlob(t *testing.T, base, content string) digest.Digest {
	t.Helper()
	blob := digest.FromString(content)
	upload := startUpload(t, base, "kolla/base") + "&digest=" + blob.String()
	if status, text := request(t, http.MethodPut, upload, strings.NewReader(content), nil); status != http.StatusCreated {
		t.Fatalf("blob: status %d: %s", status, text)
	}
	return blob
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

// TestBlobsAreDeletedOnce checks that one of several clients that delete a blob deletes it, and that
// the others get to know that it does not exist.
func TestBlobsAreDeletedOnce(t *testing.T) {
	const clients = 8
	base := "http://" + registrytest.Embedded(t, server.Options{}).Addr().String()
	for i := range 40 {
		blob := pushBlob(t, base, fmt.Sprint("blob ", i))
		statuses := make(chan int)
		for range clients {
			go func() {
				status, _ := request(t, http.MethodDelete, base+"/v2/kolla/base/blobs/"+blob.String(), nil, nil)
				statuses <- status
			}()
		}
		count := map[int]int{}
		for range clients {
			count[<-statuses]++
		}
		if count[http.StatusAccepted] != 1 || count[http.StatusNotFound] != clients-1 {
			t.Fatalf("round %d: numbers of answers by status: %v", i, count)
		}
	}
}

// announced are what a server lets a new client of HTTP/2 send before it has read anything.
type announced struct{ streams, window, streamWindow, frame, header int }

// connectHTTP2 opens a connection from a local address, which stays open until the test ends.
func connectHTTP2(t *testing.T, addr, from string) (net.Conn, announced) {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := tls.DialWithDialer(dialer, "tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if p := conn.ConnectionState().NegotiatedProtocol; p != "h2" {
		t.Fatalf("the protocol is %q", p)
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	// The answer to a ping follows everything that the server sends by itself.
	if err := errors.Join(framer.WriteSettings(), framer.WritePing(false, [8]byte{})); err != nil {
		t.Fatal(err)
	}
	a := announced{streams: math.MaxInt, window: 65535, streamWindow: 65535, frame: 1 << 14, header: math.MaxInt} // without settings
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.WindowUpdateFrame:
			a.window += int(f.Increment)
		case *http2.SettingsFrame:
			for id, to := range map[http2.SettingID]*int{http2.SettingMaxConcurrentStreams: &a.streams,
				http2.SettingMaxFrameSize:      &a.frame,
				http2.SettingInitialWindowSize: &a.streamWindow, http2.SettingMaxHeaderListSize: &a.header} {
				if value, ok := f.Value(id); ok {
					*to = int(value)
				}
			}
		case *http2.PingFrame:
			return conn, a
		}
	}
}

// TestHTTP2Limits reads what the server announces to clients: enough for fast uploads to a few
// of them, less to some, and little to all others.
func TestHTTP2Limits(t *testing.T) {
	authority := registrytest.NewAuthority(t, "site")
	certificate, key := authority.Issue(t, "server", time.Hour, "localhost", "127.0.0.1")
	addr := registrytest.Embedded(t, server.Options{Certificate: certificate, Key: key}).Addr().String()
	// 100 MB/s need 2 MB that the server has not answered, if an answer takes 20 ms.
	const fast, middle = 2_000_000, 256 << 10
	var wide, narrow int
	for i := range 5 {
		connections := 20
		if i == 0 {
			connections = 150
		}
		for range connections {
			_, a := connectHTTP2(t, addr, fmt.Sprintf("127.0.0.%d", i+1))
			switch {
			case a.window >= fast:
				wide++
				if a.streams < 4 || 3*a.streamWindow < fast {
					t.Errorf("three streams of a fast connection cannot use its window: %+v", a)
				}
			case a.streams > 8 || a.streamWindow > max(a.window, 64<<10):
				t.Errorf("another connection has %+v", a)
			case a.window <= 64<<10:
				narrow++
			case a.window != middle || a.streamWindow != middle:
				t.Errorf("another connection has %+v", a)
			}
			if a.streams > 16 || a.frame > 16<<10 || a.header > 17<<10 {
				t.Errorf("connection %+v", a)
			}
		}
		if want := min(16*(i+1), 64); wide != want {
			t.Errorf("%d connections of %d addresses are fast, want %d", wide, i+1, want)
		}
	}
	if want := 150 - 16 - 128; narrow != want {
		t.Errorf("%d connections have the smallest window, want %d", narrow, want)
	}
}

// TestFastConnectionsAreFreed checks that a connection with a large window leaves it to others
// when it ends.
func TestFastConnectionsAreFreed(t *testing.T) {
	authority := registrytest.NewAuthority(t, "site")
	certificate, key := authority.Issue(t, "server", time.Hour, "localhost", "127.0.0.1")
	addr := registrytest.Embedded(t, server.Options{Certificate: certificate, Key: key}).Addr().String()
	var conns []net.Conn
	for {
		conn, a := connectHTTP2(t, addr, "127.0.0.1")
		if conns = append(conns, conn); a.window <= 256<<10 {
			break
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		conn, a := connectHTTP2(t, addr, "127.0.0.1")
		if a.window > 256<<10 {
			return
		}
		conn.Close()
		if time.Now().After(deadline) { // the server learns of the ends by itself, soon
			t.Fatalf("after %d connections have ended, another one has %+v", len(conns), a)
		}
	}
}
