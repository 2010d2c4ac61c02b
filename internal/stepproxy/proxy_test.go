package stepproxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// origin is a server with files, on which requests are counted.
func origin(requests *atomic.Int64) http.Handler {
	var broken atomic.Bool
	broken.Store(true)
	modified := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	mux := http.NewServeMux()
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.Header.Get("Range") != "" || r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Last-Modified", modified.Format(http.TimeFormat))
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "content of "+r.URL.RequestURI())
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r,
			"/file", http.StatusFound)
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, r *http.Request) {
		if !broken.Swap(false) {
			fmt.Fprint(w, "whole")
			return
		}
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "part")
	})
	mux.HandleFunc("/fails", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	mux.HandleFunc("/post", func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.Method, data)
	})
	return mux
}

// through returns a client that has the proxy, and trusts it.
func through(t *testing.T, source Source, client string) *http.Client {
	t.Helper()
	ca, err := OpenCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := New(ca, source)
	t.Cleanup(s.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(l, client)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.PEM()) {
		t.Fatal("the CA has no certificate")
	}
	proxy := &url.URL{Scheme: "http", Host: l.Addr().String()}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// TestRecordAndReplay records requests to servers with and without TLS, and gets the
// same answers from the records alone.
func TestRecordAndReplay(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("https %v", secure), func(t *testing.T) {
			var requests atomic.Int64
			var server *httptest.Server
			if secure {
				server = httptest.NewTLSServer(origin(&requests))
			} else {
				server = httptest.NewServer(origin(&requests))
			}
			defer server.Close()
			upstream := server.Client()
			upstream.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			dir := t.TempDir()
			records := record(t, dir, server.URL, upstream, &requests)
			server.Close()
			replayRecords(t, dir, server.URL, records)
		})
	}
}

// record sends requests through a recorder, and returns the records.
func record(t *testing.T, dir, url string, upstream *http.Client, requests *atomic.Int64) []Record {
	t.Helper()
	rec, err := NewRecorder(t.Context(), dir, upstream)
	if err != nil {
		t.Fatal(err)
	}
	recording := through(t, rec, "image-a")
	var all sync.WaitGroup
	for range 8 { // at the same time
		all.Go(func() {
			resp, err := recording.Get(url + "/file?a=1&b=%2F")
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "content of /file?a=1&b=%2F" {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
	all.Wait()
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests for one file", n)
	}
	get(t, through(t, rec, "image-b"), url+"/file?a=1&b=%2F")
	get(t, recording, url+"/moved")
	get(t, recording, url+"/absent")
	if resp, err := recording.Get(url + "/broken"); err == nil {
		// The client may have tried again by itself.
		if body, err := io.ReadAll(resp.Body); err == nil && resp.StatusCode == http.StatusOK && string(body) != "whole" {
			t.Errorf("a transfer that broke off gave %q", body)
		}
		resp.Body.Close()
	}
	if _, body := get(t, recording, url+"/broken"); body != "whole" {
		t.Errorf("the second attempt gave %q", body)
	}
	get(t, recording, url+"/fails")
	resp, err := recording.Post(url+"/post", "text/plain", strings.NewReader("data"))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "POST data" {
		t.Errorf("%q, %v", body, err)
	}
	resp.Body.Close()

	records, missed := rec.Records()
	var got strings.Builder
	for _, r := range records {
		fmt.Fprintf(&got, "%s %d %d %s %v\n", strings.TrimPrefix(r.URL, url), r.Status, r.Size,
			strings.TrimPrefix(r.Location, url), r.Clients)
	}
	want := "/absent 404 0  [image-a]\n/broken 200 5  [image-a]\n/file?a=1&b=%2F 200 26  [image-a image-b]\n/moved 302 0 /file [image-a]\n"
	if got.String() != want {
		t.Errorf("records\n%swant\n%s", got.String(), want)
	}
	var lost []string
	for _, m := range missed {
		lost = append(lost, strings.ReplaceAll(m.Request, url, ""))
	}
	if fmt.Sprint(lost) != "[GET /fails POST /post]" {
		t.Errorf("not captured: %v", missed)
	}
	return records
}

// replayRecords sends requests to a player of the records.
func replayRecords(t *testing.T, dir, url string, records []Record) {
	t.Helper()
	byURL := map[string]Record{}
	for _, r := range records {
		byURL[r.URL] = r
	}
	player := NewPlayer(func(u string) (Record, bool) { r, ok := byURL[u]; return r, ok },
		func(r Record) (io.ReadCloser, error) { return os.Open(filepath.Join(dir, r.Digest.Encoded())) })
	replay := through(t, player, "image-a")
	resp, body := get(t, replay, url+"/file?a=1&b=%2F")
	if body != "content of /file?a=1&b=%2F" || resp.Header.Get("Last-Modified") != "Mon, 03 Feb 2020 04:05:06 GMT" ||
		resp.Header.Get("Content-Type") != "text/html" || resp.ContentLength != 26 {
		t.Errorf("%q, %v", body, resp.Header)
	}
	if resp, _ := get(t, replay, url+"/moved"); resp.StatusCode != 302 || resp.Header.Get("Location") != url+"/file" {
		t.Errorf("%d, %v", resp.StatusCode, resp.Header)
	}
	if resp, _ := get(t, replay, url+"/absent"); resp.StatusCode != 404 {
		t.Errorf("status %d", resp.StatusCode)
	}
	if resp, _ := get(t, replay, url+"/other"); resp.StatusCode != 403 {
		t.Errorf("status %d", resp.StatusCode)
	}
	if resp, err := replay.Post(url+"/file?a=1&b=%2F", "", nil); err != nil || resp.StatusCode != 403 {
		t.Errorf("%v, %v", resp, err)
	}
	refused := player.Refused()
	if len(refused) != 2 || refused[0].Client != "image-a" || refused[0].Request != "GET "+url+"/other" {
		t.Errorf("refused: %v", refused)
	}
}

// TestClientWithoutTrust checks that a client which does not accept the proxy's
// certificate is reported.
func TestClientWithoutTrust(t *testing.T) {
	player := NewPlayer(func(string) (Record, bool) { return Record{}, false }, nil)
	c := through(t, player, "image-a")
	c.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
	if _, err := c.Get("https://host.example/x"); err == nil {
		t.Fatal("the client trusts any certificate")
	}
	deadline := time.After(time.Minute)
	for len(player.Refused()) == 0 {
		select {
		case <-deadline:
			t.Fatal("the refusal is not noted")
		case <-time.After(time.Millisecond):
		}
	}
	if r := player.Refused()[0]; r.Request != "CONNECT host.example:443" {
		t.Errorf("%v", r)
	}
}

// TestOpenSSLTrustsTheProxy fetches with curl, as steps do.
func TestOpenSSLTrustsTheProxy(t *testing.T) {
	curl := testenv.Program(t, "curl", "curl")
	ca, err := OpenCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	trust := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(trust, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	player := NewPlayer(func(u string) (Record, bool) {
		return Record{URL: u, Status: 200, Size: 4}, u == "https://host.example/x"
	},
		func(Record) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("text")), nil })
	s := New(ca, player)
	defer s.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(l, "image-a")
	cmd := exec.Command(curl, "-fsS", "https://host.example/x")
	cmd.Env = []string{"https_proxy=http://" + l.Addr().String(), "CURL_CA_BUNDLE=" + trust, "HOME=" + t.TempDir()}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "text" {
		t.Errorf("%s: %v; refused: %v", out, err, player.Refused())
	}
}

func TestCleanURL(t *testing.T) {
	for in, want := range map[string]string{
		"HTTP://User:pw@Host.Example:80/a%2bb/../c/?x=%20#f": "http://host.example/c/?x=%20",
		"https://h:443":           "https://h/",
		"https://h:8443/a%2Fb":    "https://h:8443/a%2Fb",
		"http://h/pool/x+1~2.deb": "http://h/pool/x+1~2.deb",
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		got := CleanURL(u)
		if got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
		reparsed, err := url.Parse(got)
		if err != nil || CleanURL(reparsed) != got {
			t.Errorf("%s is not clean", got)
		}
	}
}

func TestCAIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := OpenCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	if string(first.PEM()) != string(second.PEM()) {
		t.Error("another CA")
	}
	if info, err := os.Stat(filepath.Join(dir, "ca.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCA(dir); err == nil {
		t.Error("a damaged CA is read")
	}
}

// Runs that are the first ones in a data directory, at the same time, use one CA.
func TestOpenCAAtOnce(t *testing.T) {
	dir := t.TempDir()
	var made [8]*CA
	var wg sync.WaitGroup
	for i := range made {
		wg.Go(func() {
			var err error
			if made[i], err = OpenCA(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, ca := range made {
		if ca != nil && string(ca.PEM()) != string(made[0].PEM()) {
			t.Error("two runs use different authorities")
		}
	}
}
