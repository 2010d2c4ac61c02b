package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	digest "github.com/opencontainers/go-digest"
)

// request is one request of a hostile client.
type request struct {
	method, path string
	header       http.Header
	body         []byte
	raw          []byte        // sent instead of the other fields, over a separate connection
	pause        time.Duration // in the middle of the body
	give         time.Duration // after which the client gives up, 0 for never
	upload       bool          // path is a query for the upload that was begun last
}

func (r request) String() string {
	if r.raw != nil {
		return fmt.Sprintf("raw %q", r.raw[:min(len(r.raw), 120)])
	}
	return fmt.Sprintf("%s %q %q, %d bytes, pause %v, give up %v, upload %v", r.method, r.path, fmt.Sprint(r.header),
		len(r.body), r.pause, r.give, r.upload)
}

var (
	requestMethods = []string{"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "PURGE", "CONNECT",
		"TRACE", "get", "PROPFIND"}
	repositories = append([]string{
		"kolla/other", "kolla/other", "kolla/other", "kolla", "kolla/healthy/x", "a/b/c/d/e/f/g", "Kolla/Other",
		"kolla/../other", "kolla/%2e%2e/%2e%2e/other", "..%2f..%2f..%2fetc",
		"kolla//other", "kolla/./other", "_uploads", "kolla/_manifests/tags", "kolla/_layers/sha256", "kolla%00",
		"kolla%0d%0aX: y", "%ff", "\u202e", strings.Repeat("a", 250), strings.Repeat("a/", 100) + "b",
	}, escapes()...)
	references = []string{
		"t", "t", "new", "latest", "-x", "..", "../../../../" + escapee, "%2e%2e%2f" + escapee, strings.Repeat("t",
			128), strings.Repeat("t", 129), "_current", "a:b", "sha256:" + strings.Repeat("0", 64),
		"sha256:" + strings.Repeat("G", 64), "sha256:../../x", "sha512:" + strings.Repeat("a",
			128), "md5:d41d8cd98f00b204e9800998ecf8427e", "%00", "", "sha256:", ":", "sha256+b64:x",
	}
	headerValues = []string{"", "0", "-1", "bytes=0-0", "bytes=-1", "bytes=5-2", "bytes=0-,5-9,1-1",
		"bytes=99999999999999999999-", "0-0", "5-5", "9223372036854775807-9223372036854775808", "x-y",
		"application/octet-stream", manifestType, indexType, "text/plain", "*/*", strings.Repeat("a,",
			5000), "gzip", "chunked", "identity, chunked", "100-continue", "Basic eDp5", "Basic !", "Bearer x", "evil.example",
		"https", "1.2.3.4, 5.6.7.8",
		"\"etag\"", "W/\"x\"", "Thu, 01 Jan 1970 00:00:00 GMT", "close", "upgrade", "websocket"}
	headerNames = []string{"Range", "Content-Range", "Content-Type", "Accept", "Accept-Encoding", "Content-Encoding",
		"Expect", "Authorization", "Host", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For",
		"Forwarded", "If-None-Match", "If-Modified-Since", "Connection", "Upgrade", "Origin", "Docker-Content-Digest",
		"Content-Length", "Transfer-Encoding", "OCI-Subject", "X-HTTP-Method-Override", "Cookie"}
)

func escapes() []string {
	return []string{"../" + escapee, "%2e%2e/" + escapee, "..%5c..%5c" + escapee, "/tmp/" + escapee}
}

// requestsOf makes the requests of one client. They do not delete from the healthy
// repository or update its tag.
func requestsOf(rnd *rand.Rand, healthy served) []request {
	var all []request
	for range 1 + rnd.IntN(6) {
		switch rnd.IntN(8) {
		case 0, 1:
			all = append(all, uploads(rnd)...)
		case 2, 3:
			all = append(all, manifestRequest(rnd, healthy))
		case 4:
			all = append(all, request{raw: rawRequest(rnd)})
		default:
			all = append(all, anyRequest(rnd, healthy))
		}
	}
	for i := range all {
		if rnd.IntN(12) == 0 {
			all[i].give = time.Duration(rnd.IntN(20)) * time.Millisecond
		}
		if rnd.IntN(12) == 0 {
			all[i].pause = time.Duration(rnd.IntN(100)) * time.Millisecond
		}
	}
	return all
}

// anyRequest asks for anything by any method.
func anyRequest(rnd *rand.Rand, healthy served) request {
	repo, method := pick(rnd, repositories), pick(rnd, requestMethods)
	ref := pick(rnd, append(references, healthy.digests...))
	if rnd.IntN(3) == 0 && (method == "GET" || method == "HEAD") {
		repo = healthy.repository
	}
	r := request{method: method, header: headers(rnd), path: "/v2/" + repo + pick(rnd, []string{"/manifests/" + ref,
		"/blobs/" + ref, "/referrers/" + ref, "/tags/list", "/tags/list?n=" + ref, "/tags/list?n=1&last=" + ref,
		"/blobs/uploads/", "/blobs/uploads/" + ref, "/blobs/uploads/6c0d8f0a-0000-4000-8000-000000000000?_state=" + ref, "",
		"/", "/manifests/", "/blobs/"})}
	switch rnd.IntN(8) {
	case 0:
		r.path = pick(rnd, []string{"/", "/v2", "/v2/", "/v2/_catalog", "/v2/_catalog?n=1000000000",
			"/v2/_catalog?n=-1&last=../..", "/metrics", "/healthz", "/ca.crt", "/debug/pprof/",
			"/../../etc/passwd", "//", "/v2//", "*",
			"/v2/_catalog?n=1&last=" + strings.Repeat("x", 5000), "/?" + strings.Repeat("a=b&", 2000), "/gc", "/v1/search"})
	case 1:
		r.body = bytes.Repeat([]byte("x"), rnd.IntN(100_000))
	}
	return r
}

func headers(rnd *rand.Rand) http.Header {
	h := http.Header{}
	for range rnd.IntN(4) {
		h.Set(pick(rnd, headerNames), pick(rnd, headerValues))
	}
	return h
}

// uploads begins an upload and continues it in some order, right or wrong.
func uploads(rnd *rand.Rand) []request {
	content := make([]byte, rnd.IntN(200_000))
	for i := range content {
		content[i] = byte(rnd.Uint32())
	}
	d := digest.FromBytes(content).String()
	begin := "/v2/kolla/other/blobs/uploads/"
	switch rnd.IntN(6) {
	case 0:
		begin += "?digest=" + d // a single request
		return []request{{method: "POST", path: begin, body: content,
			header: http.Header{"Content-Type": {"application/octet-stream"}}}}
	case 1:
		begin += "?mount=" + pick(rnd, append(references, d)) + "&from=" + pick(rnd, repositories)
	}
	all := []request{{method: "POST", path: begin, header: http.Header{}}}
	for offset := 0; offset < len(content) && rnd.IntN(10) > 0; {
		n := min(len(content)-offset, 1+rnd.IntN(60_000))
		h := http.Header{"Content-Type": {"application/octet-stream"}}
		if rnd.IntN(2) == 0 {
			h.Set("Content-Range", fmt.Sprintf("%d-%d", offset, offset+n-1))
		}
		if rnd.IntN(10) == 0 {
			h = headers(rnd)
		}
		all = append(all, request{method: "PATCH", header: h, body: content[offset:][:n], upload: true})
		offset += n
	}
	end := request{method: "PUT", upload: true, path: "digest=" + pick(rnd,
		[]string{d, d, d, digest.SHA512.FromBytes(content).String(), "sha256:" + strings.Repeat("0", 64), "x", ""}),
		header: http.Header{}}
	switch rnd.IntN(4) {
	case 0:
		end.method = pick(rnd, []string{"DELETE", "GET", "HEAD", "PURGE"})
	case 1:
		return all // it is never finished
	}
	return append(all, end, end)
}

// manifestRequest puts a manifest or an index into another repository.
func manifestRequest(rnd *rand.Rand, healthy served) request {
	descriptor := func() object {
		return object{"mediaType": pick(rnd, []string{layerType, manifestType, indexType, configType, "", "x"}),
			"size":   pick(rnd, []any{1, 0, -1, 1 << 62, "x", nil, 1.5}),
			"digest": pick(rnd, append(append([]string{}, references...), healthy.digests...))}
	}
	m := object{"schemaVersion": pick(rnd, []any{2, 2, 2, 1, nil, "2"}),
		"mediaType": pick(rnd, []any{manifestType, indexType, nil, 7})}
	for _, key := range []string{"config", "subject"} {
		if rnd.IntN(2) == 0 {
			m[key] = descriptor()
		}
	}
	for _, key := range []string{"layers", "manifests", "blobs", "fsLayers"} {
		if rnd.IntN(3) > 0 {
			continue
		}
		list := make([]object, rnd.IntN(4))
		if rnd.IntN(10) == 0 {
			list = make([]object, 20_000)
		}
		for i := range list {
			list[i] = descriptor()
		}
		m[key] = list
	}
	if rnd.IntN(8) == 0 {
		m["annotations"] = map[string]string{strings.Repeat("x", rnd.IntN(3_000_000)): "\x1b[2J"}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err) // the generator's own mistake
	}
	switch rnd.IntN(10) {
	case 0:
		raw = bytes.Repeat([]byte("["), rnd.IntN(1_000_000))
	case 1:
		raw = bytes.Repeat([]byte(`{"manifests":[`), rnd.IntN(100_000))
	case 2:
		raw = raw[:rnd.IntN(len(raw))]
	case 3:
		raw = bytes.Repeat([]byte(" "), rnd.IntN(8<<20))
	case 4:
		entry := pick(rnd, []string{"{},", "null,", "[],", "7,", `"",`})
		raw = []byte(`{"schemaVersion":2,"mediaType":"` + manifestType + `","` + pick(rnd,
			[]string{"layers", "blobs", "manifests", "x"}) +
			`":[` + strings.Repeat(entry, (4<<20)/len(entry)-100) + entry[:len(entry)-1] + `]}`)
	}
	ref := pick(rnd, append(append([]string{}, references...), digest.FromBytes(raw).String(),
		digest.SHA512.FromBytes(raw).String()))
	return request{method: "PUT", path: "/v2/kolla/other/manifests/" + ref, body: raw,
		header: http.Header{"Content-Type": {pick(rnd,
			[]string{manifestType, indexType, "", "text/html", "application/vnd.docker.distribution.manifest.v1+prettyjws"})}}}
}

// rawRequest returns a request that HTTP libraries do not send.
func rawRequest(rnd *rand.Rand) []byte {
	return []byte(pick(rnd, []string{
		"", "\x00", "\r\n\r\n", "GET", "GET /v2/ HTTP/9.9\r\n\r\n", "GET /v2/ HTTP/1.1\r\n\r\n",
		"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"POST /v2/kolla/other/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
		"POST /v2/kolla/other/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"POST /v2/kolla/other/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nfffffffffffffffff\r\n", "PUT /v2/kolla/other/manifests/t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
		"PUT /v2/kolla/other/manifests/t HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000000000000\r\n\r\nx",
		"PUT /v2/kolla/other/manifests/t HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n",
		"GET /v2/../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://evil.example/v2/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
		"GET /v2/ HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 50_000) + "\r\n",
		"GET /" + strings.Repeat("a", 2_000_000) + " HTTP/1.1\r\n\r\n",
		"POST /gc HTTP/1.1\r\nHost: registry\r\nContent-Length: 2\r\n\r\n{}",
		"POST /v2/kolla/other/blobs/uploads/ HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nContent-Length: 0\r\n\r\n",
		"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y",
			500_000) + "\r\n\r\n", "DELETE /v2/kolla/other/blobs/uploads/.. HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v2/\tHTTP/1.1\r\n\r\n", "GET /v2/kolla/other/tags/list HTTP/1.0\r\n\r\n",
	}))
}

// client sends requests one after another.
type client struct {
	host   string
	http   *http.Client
	upload string // the address of the upload that was begun last
}

// do sends a request and returns an error for a forbidden answer.
func (c *client) do(r request) error {
	if r.raw != nil {
		return c.sendRaw(r.raw)
	}
	path := r.path
	if r.upload {
		if c.upload == "" {
			return nil
		}
		path = c.upload
		if r.path != "" {
			path += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + r.path
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	if r.give > 0 {
		ctx, cancel = context.WithTimeout(ctx, r.give)
		defer cancel()
	}
	var body io.Reader = http.NoBody
	if len(r.body) > 0 {
		body = bytes.NewReader(r.body)
		if r.pause > 0 {
			half := len(r.body) / 2
			body = io.MultiReader(bytes.NewReader(r.body[:half]), &pausing{r.pause, bytes.NewReader(r.body[half:])})
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, "http://"+c.host, body)
	if err != nil {
		return nil // the library does not send it
	}
	req.URL.Opaque = path // as it is
	if opaque, query, ok := strings.Cut(path, "?"); ok {
		req.URL.Opaque, req.URL.RawQuery = opaque, query
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if h := req.Header.Get("Host"); h != "" {
		req.Host = h
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() == context.DeadlineExceeded && r.give == 0 {
			return fmt.Errorf("no answer within %v", maxTime)
		}
		return nil // the client gave up, or broke the rules of HTTP
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<20))
	if location := resp.Header.Get("Location"); location != "" {
		u, err := url.Parse(location)
		if err != nil || u.Host != "" && u.Host != c.host {
			return fmt.Errorf("it sends the client to %q", location)
		}
		if strings.Contains(location, "/blobs/uploads/") {
			c.upload = location
		}
	}
	// Mistakes of the client must not be answered with status 500 and above.
	if resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented &&
		resp.StatusCode != http.StatusHTTPVersionNotSupported && resp.StatusCode != http.StatusInsufficientStorage {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// sendRaw sends bytes, and reads the answer for a moment.
func (c *client) sendRaw(raw []byte) error {
	conn, err := net.Dial("tcp", c.host)
	if err != nil {
		return fmt.Errorf("it takes no connection: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = conn.Write(raw)
	answer, _ := io.ReadAll(io.LimitReader(conn, 1<<20))
	if bytes.Contains(answer, []byte("\r\nLocation: http://evil.example")) ||
		bytes.Contains(answer, []byte("HTTP/1.1 500")) || bytes.Contains(answer, []byte("root:")) {
		return fmt.Errorf("it answers %q", answer[:min(len(answer), 300)])
	}
	return nil
}

// pausing waits before its first byte.
type pausing struct {
	wait time.Duration
	r    io.Reader
}

func (p *pausing) Read(b []byte) (int, error) {
	time.Sleep(p.wait)
	p.wait = 0
	return p.r.Read(b)
}

// sendAll sends the requests of several clients at the same time, and returns an error
// for forbidden answers.
func sendAll(host string, clients [][]request) []error {
	var mu sync.Mutex
	var failures []error
	var wg sync.WaitGroup
	for _, requests := range clients {
		wg.Go(func() {
			transport := &http.Transport{DisableCompression: true}
			defer transport.CloseIdleConnections()
			c := &client{host: host, http: &http.Client{Transport: transport,
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
			for _, r := range requests {
				if err := c.do(r); err != nil {
					mu.Lock()
					failures = append(failures, fmt.Errorf("%v: %w", r, err))
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return failures
}
