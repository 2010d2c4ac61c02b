package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

// logLines collects the log of a Fetcher.
type logLines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logLines) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.WriteString(s + "\n")
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newFetcher returns a Fetcher with short waits between attempts.
func newFetcher(t testing.TB, o Options) (*Fetcher, *logLines) {
	t.Helper()
	log := &logLines{}
	o.Log = log.add
	o.Warn = func(text string) { log.add("warning: " + text) }
	if o.CacheDir == "" {
		o.CacheDir = t.TempDir()
	}
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	f.downloads.retry.BaseDelay = time.Millisecond
	return f, log
}

// member is a file of an archive that a test makes.
type member struct {
	name, text string
	kind       byte
	link       string
}

func makeTar(t testing.TB, gz bool, members ...member) []byte {
	t.Helper()
	var buf bytes.Buffer
	var w io.Writer = &buf
	var z *gzip.Writer
	if gz {
		z = gzip.NewWriter(&buf)
		w = z
	}
	tw := tar.NewWriter(w)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: m.kind, Linkname: m.link, Mode: 0o644, Size: int64(len(m.text)),
			ModTime: time.Now(), Uid: 1000, Gid: 1000, Uname: "ada", Gname: "ada"}
		if m.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeDir {
			h.Mode = 0o755
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, m.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if z != nil {
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return buf.Bytes()
}

// listTar lists the members of an archive as "name" or "name -> link", and checks that
// nothing in it depends on time and user.
func listTar(t testing.TB, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tr := tar.NewReader(f)
	var out []string
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.ModTime.Unix() != 0 {
			t.Errorf("%s: owner %d:%d (%q:%q), time %s", h.Name, h.Uid, h.Gid, h.Uname, h.Gname, h.ModTime)
		}
		s := h.Name
		if h.Linkname != "" {
			s += " -> " + h.Linkname
		}
		out = append(out, s)
	}
}

// readMember returns the content of a file in an archive.
func readMember(t testing.TB, path, name string) string {
	t.Helper()
	var out string
	err := eachMember(context.Background(), path, func(h *tar.Header, r io.Reader) error {
		if h.Name == name {
			b, err := io.ReadAll(r)
			out = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fileServer serves a directory with the file server of net/http, which supports
// ranges and conditional requests, and counts what it sends.
type fileServer struct {
	*httptest.Server
	requests
	dir   string
	bytes int64 // of all answers
}

// requests records the requests of a test server, and lets a test answer some of them.
type requests struct {
	mu    sync.Mutex
	seen  []string                                          // "METHOD PATH", with the status if files are served
	spoil func(w http.ResponseWriter, r *http.Request) bool // returns true if it has answered
}

func serveFiles(t testing.TB) *fileServer {
	t.Helper()
	s := &fileServer{dir: t.TempDir()}
	files := http.FileServer(http.Dir(s.dir))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, status: 200}
		s.mu.Lock()
		spoil := s.spoil
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.seen = append(s.seen, fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, rec.status))
			s.bytes += rec.n
		}()
		if spoil == nil || !spoil(rec, r) {
			files.ServeHTTP(rec, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

type recorder struct {
	http.ResponseWriter
	status int
	n      int64
}

func (r *recorder) WriteHeader(code int) {
	r.status = code
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(p []byte) (int, error) {
	n, err := r.ResponseWriter.Write(p)
	r.n += int64(n)
	return n, err
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (s *fileServer) put(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return s.URL + "/" + name
}

// take returns the requests since the last call.
func (s *requests) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.seen
	s.seen = nil
	return out
}

// spoilWith sets a function that may answer requests in place of the server.
func (s *requests) spoilWith(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil = f
}

// checkClean fails if a cache contains unfinished files.
func checkClean(t testing.TB, dir string) {
	t.Helper()
	for _, sub := range []string{"tmp", "partial"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			t.Errorf("%s/%s is left in the cache", sub, e.Name())
		}
	}
}

// grepCache fails if a file of a cache contains a text.
func grepCache(t testing.TB, dir, text string) {
	t.Helper()
	err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		if bytes.Contains(data, []byte(text)) {
			t.Errorf("%s contains %q", p, text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func names(files []File) string {
	var out []string
	for _, f := range files {
		out = append(out, f.Name)
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}
