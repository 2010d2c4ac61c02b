package server_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// pushImage publishes a small image as kolla/base:t.
func pushImage(t *testing.T, host string) digest.Digest {
	t.Helper()
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	d, err := p.Push(t.Context(), host+"/kolla/base", registrytest.Base(t, 1000))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(t.Context(), []push.Tag{{Ref: host + "/kolla/base:t", Digest: d.Digest}}); err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

// startUpload begins an upload and returns its address.
func startUpload(t *testing.T, base, repo string) string {
	t.Helper()
	resp, err := http.Post(base+"/v2/"+repo+"/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("beginning an upload: %s", resp.Status)
	}
	location, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	return location.String()
}

func request(t *testing.T, method, url string, body io.Reader, header map[string]string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// Mistakes of clients are never answered as faults of the server, because clients would
// try again.
func TestClientErrorsAreNotFaults(t *testing.T) {
	testenv.Slow(t)
	s := registrytest.Embedded(t, server.Options{})
	base := "http://" + s.Addr().String()
	d := pushImage(t, s.Host())
	const v2, manifest = "/v2/kolla/base", "application/vnd.oci.image.manifest.v1+json"
	withQuery := func(location, query string) string { return location + "&" + query }
	long := strings.Repeat("a", 300)
	for name, c := range map[string]struct {
		method, path string // a path beginning with "?" is added to a new upload's
		body         string
		header       map[string]string
	}{
		"chunk of another type":       {"PATCH", "?", "x", map[string]string{"Content-Type": "text/plain"}},
		"chunk with a nonsense range": {"PATCH", "?", "x", map[string]string{"Content-Range": "nonsense"}},
		"chunk with half a range":     {"PATCH", "?", "x", map[string]string{"Content-Range": "0-x"}},
		"chunk out of order":          {"PATCH", "?", "x", map[string]string{"Content-Range": "5-5"}},
		"negative range":              {"PATCH", "?", "x", map[string]string{"Content-Range": "-5--1"}},
		"end without a digest":        {"PUT", "?", "x", nil},
		"end with a nonsense digest":  {"PUT", "?digest=nonsense", "x", nil},
		"end with a nonsense range": {"PUT", "?digest=" + digest.FromString("x").String(), "x",
			map[string]string{"Content-Range": "x"}},
		"end with a wrong digest":    {"PUT", "?digest=" + digest.FromString("y").String(), "x", nil},
		"end with an unknown digest": {"PUT", "?digest=md5:d41d8cd98f00b204e9800998ecf8427e", "x", nil},
		"end with a short digest":    {"PUT", "?digest=sha256:abc", "x", nil},
		"end with sha512":            {"PUT", "?digest=" + digest.SHA512.FromString("y").String(), "x", nil},
		"unknown upload":             {"PUT", v2 + "/blobs/uploads/6c0d8f0a-0000-4000-8000-000000000000?digest=" + d.String(), "x", nil},
		"nonsense upload":            {"PATCH", v2 + "/blobs/uploads/nonsense", "x", nil},
		"nonsense state": {"PATCH", v2 + "/blobs/uploads/6c0d8f0a-0000-4000-8000-000000000000?_state=nonsense",
			"x", nil},
		"mount of nonsense":           {"POST", v2 + "/blobs/uploads/?mount=nonsense&from=nonsense", "", nil},
		"mount from a bad name":       {"POST", v2 + "/blobs/uploads/?mount=" + d.String() + "&from=../../x", "", nil},
		"manifest that is nothing":    {"PUT", v2 + "/manifests/u", "", map[string]string{"Content-Type": manifest}},
		"manifest that is not JSON":   {"PUT", v2 + "/manifests/u", "<html>", map[string]string{"Content-Type": manifest}},
		"manifest of an unknown type": {"PUT", v2 + "/manifests/u", "{}", map[string]string{"Content-Type": "text/plain"}},
		"manifest without a type":     {"PUT", v2 + "/manifests/u", "{}", nil},
		"manifest of missing blobs": {"PUT", v2 + "/manifests/u",
			`{"schemaVersion":2,"mediaType":"` + manifest + `","config":{"mediaType":"x/y","digest":"` + digest.FromString("n").String() + `","size":1},"layers":[]}`, map[string]string{"Content-Type": manifest}},
		"manifest of bad digests": {"PUT", v2 + "/manifests/u",
			`{"schemaVersion":2,"mediaType":"` + manifest + `","config":{"mediaType":"x/y","digest":"x","size":1},"layers":[]}`, map[string]string{"Content-Type": manifest}},
		"manifest of negative sizes": {"PUT", v2 + "/manifests/u",
			`{"schemaVersion":2,"mediaType":"` + manifest + `","config":{"mediaType":"x/y","digest":"` + digest.FromString("n").String() + `","size":-1},"layers":[]}`, map[string]string{"Content-Type": manifest}},
		"manifest of another digest": {"PUT", v2 + "/manifests/" + digest.FromString("n").String(), "{}",
			map[string]string{"Content-Type": manifest}},
		"manifest that is too large": {"PUT", v2 + "/manifests/u", strings.Repeat(" ", 5<<20),
			map[string]string{"Content-Type": manifest}},
		"deeply nested manifest": {"PUT", v2 + "/manifests/u", strings.Repeat("[", 100_000),
			map[string]string{"Content-Type": manifest}},
		"manifest of a million values": {"PUT", v2 + "/manifests/u",
			`{"schemaVersion":2,"mediaType":"` + manifest + `","layers":[` + strings.Repeat("{},",
				1_000_000) + `{}]}`, map[string]string{"Content-Type": manifest}},
		"manifest of a million nulls": {"PUT", v2 + "/manifests/u",
			`{"schemaVersion":2,"mediaType":"` + manifest + `","blobs":[` + strings.Repeat("null,",
				700_000) + `null]}`, map[string]string{"Content-Type": manifest}},
		"manifest of another version": {"PUT", v2 + "/manifests/u",
			`{"schemaVersion":0,"mediaType":"` + manifest + `","config":{"mediaType":"x/y","digest":"` + digest.FromString("n").String() + `","size":1},"layers":[]}`, map[string]string{"Content-Type": manifest}},
		"docker's of another version": {"PUT", v2 + "/manifests/u",
			`{"schemaVersion":3,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"x/y","digest":"` + digest.FromString("n").String() + `","size":1},"layers":[]}`, map[string]string{"Content-Type": "application/vnd.docker.distribution.manifest.v2+json"}},
		"index of another version": {"PUT", v2 + "/manifests/u",
			`{"schemaVersion":1,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`,
			map[string]string{"Content-Type": "application/vnd.oci.image.index.v1+json"}},
		"manifest with sha512": {"PUT", v2 + "/manifests/" + digest.SHA512.FromString("n").String(), "{}",
			map[string]string{"Content-Type": manifest}},
		"nonsense tag":              {"PUT", v2 + "/manifests/-u", "{}", map[string]string{"Content-Type": manifest}},
		"long tag":                  {"PUT", v2 + "/manifests/" + long, "{}", map[string]string{"Content-Type": manifest}},
		"long name":                 {"POST", "/v2/" + long + "/blobs/uploads/", "", nil},
		"deep name":                 {"POST", "/v2/" + strings.Repeat("a/", 120) + "b/blobs/uploads/", "", nil},
		"upper-case name":           {"POST", "/v2/Kolla/base/blobs/uploads/", "", nil},
		"name with dots":            {"POST", "/v2/kolla/../base/blobs/uploads/", "", nil},
		"encoded dots":              {"POST", "/v2/kolla/%2e%2e/base/blobs/uploads/", "", nil},
		"encoded slash":             {"POST", "/v2/kolla%2f..%2fbase/blobs/uploads/", "", nil},
		"NUL":                       {"POST", "/v2/kolla%00/blobs/uploads/", "", nil},
		"nonsense blob":             {"GET", v2 + "/blobs/nonsense", "", nil},
		"blob of an unknown digest": {"GET", v2 + "/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", "", nil},
		"blob of a short digest":    {"GET", v2 + "/blobs/sha256:abc", "", nil},
		"missing blob":              {"GET", v2 + "/blobs/" + digest.FromString("n").String(), "", nil},
		"missing sha512 blob":       {"GET", v2 + "/blobs/" + digest.SHA512.FromString("n").String(), "", nil},
		"range beyond the end": {"GET", v2 + "/blobs/" + d.String(), "",
			map[string]string{"Range": "bytes=999999999-"}},
		"missing repository":        {"GET", "/v2/none/tags/list", "", nil},
		"nonsense page size":        {"GET", v2 + "/tags/list?n=nonsense", "", nil},
		"negative page size":        {"GET", v2 + "/tags/list?n=-5", "", nil},
		"nonsense page of tags":     {"GET", v2 + "/tags/list?n=1&last=../../x", "", nil},
		"negative catalog":          {"GET", "/v2/_catalog?n=-1", "", nil},
		"nonsense catalog":          {"GET", "/v2/_catalog?n=nonsense", "", nil},
		"catalog after nonsense":    {"GET", "/v2/_catalog?n=1&last=../../../etc", "", nil},
		"large catalog":             {"GET", "/v2/_catalog?n=1000000", "", nil},
		"tags after NUL":            {"GET", v2 + "/tags/list?n=1&last=%00", "", nil},
		"tags after a long name":    {"GET", v2 + "/tags/list?n=1&last=" + long, "", nil},
		"catalog after NUL":         {"GET", "/v2/_catalog?n=1&last=%00", "", nil},
		"catalog after a long name": {"GET", "/v2/_catalog?n=1&last=" + long, "", nil},
		"deleting a missing tag":    {"DELETE", v2 + "/manifests/none", "", nil},
		"deleting a missing digest": {"DELETE", v2 + "/manifests/" + digest.FromString("n").String(), "", nil},
		"deleting a missing blob":   {"DELETE", v2 + "/blobs/" + digest.FromString("n").String(), "", nil},
		"unknown method":            {"PURGE", v2 + "/manifests/t", "", nil},
		"unknown path":              {"GET", "/v2/kolla/base/other/x", "", nil},
		"path of another host":      {"GET", "//evil.example/..", "", nil},
		"not the API":               {"GET", "/etc/passwd", "", nil},
		"referrers of nonsense":     {"GET", v2 + "/referrers/nonsense", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			url := base + c.path
			if query, ok := strings.CutPrefix(c.path, "?"); ok {
				url = withQuery(startUpload(t, base, "kolla/base"), query)
			}
			var body io.Reader
			if c.body != "" {
				body = strings.NewReader(c.body)
			}
			if status, text := request(t, c.method, url, body, c.header); status >= 500 {
				t.Errorf("status %d: %s", status, text)
			}
		})
	}
	registrytest.MustPull(t, s.Host(), "HOST/kolla/base:t", d)
}

// A body that ends early is the client's fault, and leaves no blob.
func TestTruncatedBodies(t *testing.T) {
	s := registrytest.Embedded(t, server.Options{})
	base := "http://" + s.Addr().String()
	for _, method := range []string{http.MethodPatch, http.MethodPut} {
		location := strings.TrimPrefix(startUpload(t, base, "kolla/base"), base)
		if method == http.MethodPut {
			location += "&digest=" + digest.FromString("x").String()
		}
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx", method, location)
		_ = conn.(*net.TCPConn).CloseWrite()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode >= 500 || resp.StatusCode < 400 {
			t.Errorf("%s: status %d", method, resp.StatusCode)
		}
		conn.Close()
	}
	if status, _ := request(t, http.MethodHead, base+"/v2/kolla/base/blobs/"+digest.FromString("x").String(), nil,
		nil); status != http.StatusNotFound {
		t.Errorf("the blob of a truncated upload: status %d", status)
	}
}

// The connection of a client that sends only single bytes is closed; that of a slow but
// steady one is not.
func TestSlowClientsAreCutOff(t *testing.T) {
	testenv.Slow(t)
	defer server.SetPace(3*time.Second, 100)()
	s := registrytest.Embedded(t, server.Options{})
	base := "http://" + s.Addr().String()
	sendAfter := func(start []byte, size int, chunk []byte, interval time.Duration) (status int, sent int, err error) {
		location := strings.TrimPrefix(startUpload(t, base, "kolla/base"), base)
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", location, size)
		if sent, err = conn.Write(start); err != nil {
			t.Fatal(err)
		}
		answer := make(chan *http.Response, 1)
		go func() {
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil {
				answer <- resp
			}
			close(answer)
		}()
		for sent < size {
			n, err := conn.Write(chunk)
			if sent += n; err != nil {
				break
			}
			select {
			case resp := <-answer:
				if resp == nil {
					return 0, sent, io.ErrUnexpectedEOF
				}
				return resp.StatusCode, sent, nil
			case <-time.After(interval):
			}
		}
		if resp := <-answer; resp != nil {
			return resp.StatusCode, sent, nil
		}
		return 0, sent, io.ErrUnexpectedEOF
	}
	send := func(size int, chunk []byte, interval time.Duration) (status int, sent int, err error) {
		return sendAfter(nil, size, chunk, interval)
	}
	// What was sent at once is no credit for sending single bytes later.
	fast := bytes.Repeat([]byte("x"), 200_000)
	if status, sent, _ := sendAfter(fast, 1_000_000, []byte("x"),
		100*time.Millisecond); status != http.StatusRequestTimeout && status != 0 ||
		sent == 1_000_000 {
		t.Errorf("a byte now and then after a fast start: status %d after %d bytes", status, sent)
	}
	for name, interval := range map[string]time.Duration{"silent": time.Minute,
		"a byte now and then": 100 * time.Millisecond} {
		if status, sent, _ := send(1_000_000, []byte("x"), interval); status != http.StatusRequestTimeout &&
			status != 0 || sent == 1_000_000 {
			t.Errorf("%s: status %d after %d bytes", name, status, sent)
		}
	}
	if status, _, err := send(4000, bytes.Repeat([]byte("x"), 200), 50*time.Millisecond); status != http.StatusAccepted {
		t.Errorf("slow and steady: status %d, %v", status, err)
	}
}

// A disk that is full of failed uploads has room again after garbage collection, and a
// running registry removes them itself.
func TestFailedUploadsAreFreed(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		testenv.Missing(t, fmt.Sprintf("a small file system cannot be mounted here (%v); root can", err))
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := registrytest.Embedded(t, server.Options{Dir: dir})
	base := "http://" + s.Addr().String()
	fill := func() (full bool) {
		for range 20 {
			status, text := request(t, http.MethodPatch, startUpload(t, base, "kolla/base"),
				bytes.NewReader(make([]byte, 700_000)), map[string]string{"Content-Type": "application/octet-stream"})
			if status == http.StatusInsufficientStorage {
				if !strings.Contains(text, "no space left") {
					t.Errorf("the answer is %s", text)
				}
				return true
			}
			if status != http.StatusAccepted {
				t.Fatalf("status %d: %s", status, text)
			}
		}
		return false
	}
	if !fill() {
		t.Fatal("the disk is not full")
	}
	var answer *registry.AnswerError
	img := registrytest.Base(t, 2_000_000)
	if _, err := push.New(registrytest.Client(t, registry.Options{Retries: 1}), push.Options{}).Push(t.Context(),
		s.Host()+"/kolla/base", img); !errors.As(err, &answer) || !strings.Contains(answer.Hint(), "disk is full") {
		t.Fatalf("pushing to a full disk: %v", err)
	}
	if err := s.Purge(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if !fill() { // and again, for gc
		t.Fatal("the disk is not full")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if freed, err := server.GarbageCollect(context.Background(), dir, server.GCOptions{}); err != nil ||
		freed.Freed < 3_000_000 {
		t.Errorf("freed %d bytes (%v)", freed, err)
	}
	restarted := registrytest.Embedded(t, server.Options{Dir: dir})
	if _, err := push.New(registrytest.Client(t, registry.Options{}), push.Options{}).Push(t.Context(),
		restarted.Host()+"/kolla/base", img); err != nil {
		t.Errorf("pushing after garbage collection: %v", err)
	}
}

// An upload that is going on is not removed.
func TestPurgeKeepsUploadsInProgress(t *testing.T) {
	s := registrytest.Embedded(t, server.Options{})
	base := "http://" + s.Addr().String()
	location := startUpload(t, base, "kolla/base")
	if err := s.Purge(time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if status, text := request(t, http.MethodPut, location+"&digest="+digest.FromString("x").String(),
		strings.NewReader("x"), nil); status != http.StatusCreated {
		t.Errorf("status %d: %s", status, text)
	}
}

// A process that is killed while it pushes leaves nothing that is listed and missing, or
// that garbage collection fails on. The states are those between the distribution's
// writes.
func TestRemainsOfKilledProcesses(t *testing.T) {
	dir := t.TempDir()
	s := registrytest.Embedded(t, server.Options{Dir: dir})
	d := pushImage(t, s.Host())
	lost := registrytest.Base(t, 500)
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	for _, name := range []string{"kolla/lost", "kolla/base"} {
		if _, err := p.Push(t.Context(), s.Host()+"/"+name, lost); err != nil {
			t.Fatal(err)
		}
	}
	lostDigest := registrytest.Digest(t, lost)
	if err := p.Commit(t.Context(), []push.Tag{{Ref: s.Host() + "/kolla/lost:t", Digest: lostDigest}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	repos := filepath.Join(dir, "docker/registry/v2/repositories")
	tags := filepath.Join(repos, "kolla/base/_manifests/tags")
	hex := d.Encoded()
	for path, content := range map[string]string{
		filepath.Join(tags, "begun/index/sha256", hex, "link"):                               d.String(),
		filepath.Join(tags, "empty/current/link"):                                            "",
		filepath.Join(tags, "renamed/current/link.0b0f8a52-6dc5-4b3c-9f0d-6f2f1f2d3c4e.tmp"): d.String(),
		filepath.Join(tags, "t/current/link.0b0f8a52-6dc5-4b3c-9f0d-6f2f1f2d3c4f.tmp"):       d.String()[:20],
		filepath.Join(tags,
			"dangling/current/link"): digest.FromString("n").String(),
		filepath.Join(repos, "kolla/base/_manifests/revisions/sha256", digest.FromString("n").Encoded(),
			"link"): digest.FromString("n").String(),
		filepath.Join(repos, "kolla/base/_manifests/revisions/sha256", digest.FromString("m").Encoded(), "link"):      "",
		filepath.Join(repos, "kolla/base/_uploads/0b0f8a52-6dc5-4b3c-9f0d-6f2f1f2d3c4e/data"):                         strings.Repeat("x", 5000),
		filepath.Join(repos, "kolla/other/_uploads/0b0f8a52-6dc5-4b3c-9f0d-6f2f1f2d3c4e/data"):                        strings.Repeat("x", 5000),
		filepath.Join(dir, "docker/registry/v2/blobs/sha256", lostDigest.Encoded()[:2], lostDigest.Encoded(), "data"): "",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	log := &syncBuffer{}
	restarted := registrytest.Embedded(t, server.Options{Dir: dir, Log: log})
	c := registrytest.Client(t, registry.Options{})
	for repo, want := range map[string]string{"/kolla/base": "t", "/kolla/lost": ""} {
		if got, err := c.Tags(t.Context(), restarted.Host()+repo); err != nil || strings.Join(got, " ") != want {
			t.Errorf("tags of %s: %v, %v", repo, got, err)
		}
	}
	registrytest.MustPull(t, restarted.Host(), "HOST/kolla/base:t", d)
	if !strings.Contains(log.String(), "kolla/lost:t: its image "+lostDigest.String()+" is missing; the tag was removed") {
		t.Errorf("the log is\n%s", log)
	}
	// Lost content can be pushed again.
	if _, err := push.New(c, push.Options{}).Push(t.Context(), restarted.Host()+"/kolla/lost", lost); err != nil {
		t.Fatal(err)
	}
	if err := restarted.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.GarbageCollect(t.Context(), dir, server.GCOptions{Untagged: true}); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".tmp") || d.Name() == "_uploads") {
			t.Errorf("left: %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// waitFor waits until something listens on an address.
func waitFor(t *testing.T, addr string) {
	t.Helper()
	for range 400 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("nothing listens on %s", addr)
}

// A registry that is killed while tags are pushed lists no tag that it does not have.
func TestKilledWhileTagging(t *testing.T) {
	testenv.Slow(t)
	if addr := os.Getenv("REGISTRY_TEST_SERVE"); addr != "" {
		_, err := server.Start(server.Options{Addr: addr, Dir: os.Getenv("REGISTRY_TEST_DIR")})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		select {}
	}
	dir, addr := t.TempDir(), registrytest.FreeAddr(t)
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestKilledWhileTagging$")
		cmd.Env = append(os.Environ(), "REGISTRY_TEST_SERVE="+addr, "REGISTRY_TEST_DIR="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, addr)
		c := registrytest.Client(t, registry.Options{})
		p := push.New(c, push.Options{})
		img := registrytest.Base(t, 100)
		d, err := p.Push(t.Context(), addr+"/kolla/base", img)
		if err != nil {
			_ = cmd.Process.Kill()
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		pushed := make(chan int)
		go func() {
			client := registrytest.Client(t, registry.Options{Retries: -1})
			n := 0
			for ; ctx.Err() == nil; n++ {
				if push.New(client, push.Options{}).Commit(ctx,
					[]push.Tag{{Ref: fmt.Sprintf("%s/kolla/base:r%d-%d", addr, round, n), Digest: d.Digest}}) != nil {
					break
				}
				if n == 20 {
					_ = cmd.Process.Kill()
				}
			}
			pushed <- n
		}()
		_ = cmd.Wait()
		cancel()
		t.Logf("round %d: killed after %d tags", round, <-pushed)
		s := registrytest.Embedded(t, server.Options{Dir: dir})
		tags, err := c.Tags(t.Context(), s.Host()+"/kolla/base")
		if err != nil || len(tags) < 20 {
			t.Fatalf("tags %v, %v", tags, err)
		}
		for _, tag := range tags {
			if _, err := c.Head(t.Context(), s.Host()+"/kolla/base:"+tag); err != nil {
				t.Errorf("%s is listed: %v", tag, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVanishedUpload checks that an upload that another request has just ended is unknown,
// which is no fault of the server.
func TestVanishedUpload(t *testing.T) {
	dir := t.TempDir()
	s := registrytest.Embedded(t, server.Options{Dir: dir})
	location := startUpload(t, "http://"+s.Host(), "kolla/base")
	status, body := request(t, http.MethodPatch, location, strings.NewReader("content"), nil)
	if status != http.StatusAccepted {
		t.Fatalf("status %d: %s", status, body)
	}
	found, err := filepath.Glob(filepath.Join(dir, "docker/registry/v2/repositories/kolla/base/_uploads/*/data"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v (%v)", found, err)
	}
	if err := os.Remove(found[0]); err != nil {
		t.Fatal(err)
	}
	status, body = request(t, http.MethodPut, location+"&digest="+digest.FromString("content").String(), nil, nil)
	if status < 400 || status >= 500 {
		t.Errorf("status %d: %s", status, body)
	}
}
