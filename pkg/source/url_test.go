package source

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/opencontainers/go-digest"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func hexOf(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func TestURLIsFetchedOnce(t *testing.T) {
	ctx := context.Background()
	srv := serveFiles(t)
	data := makeTar(t, true, member{name: "x-1/setup.py", text: "x"})
	spec := Spec{Name: "keystone-base", Type: TypeURL, Location: srv.put(t, "x.tar.gz", data), Enabled: true}
	dir := t.TempDir()
	f, _ := newFetcher(t, Options{CacheDir: dir})
	r, err := f.Resolve(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	if r.ID != "sha256:"+hexOf(data) || !r.Mutable || r.Modified.IsZero() {
		t.Errorf("%+v", r)
	}
	files, err := f.Archives(ctx, Request{Image: "keystone-base", Source: &spec})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(files[0].Path); err != nil || !bytes.Equal(got, data) ||
		files[0].Name != "keystone-base-archive" {
		t.Errorf("%s differs (%v)", files[0].Name, err)
	}
	if got := srv.take(); len(got) != 1 {
		t.Errorf("requests: %q", got)
	}

	// A second run asks, and nothing has changed.
	f2, _ := newFetcher(t, Options{CacheDir: dir})
	if r2, err := f2.Resolve(ctx, spec); err != nil || r2 != r {
		t.Errorf("%+v, before %+v (%v)", r2, r, err)
	}
	if got := srv.take(); len(got) != 1 || !strings.HasSuffix(got[0], " 304") {
		t.Errorf("requests: %q", got)
	}
	// With MaxAge or Offline, it does not ask.
	for _, o := range []Options{{CacheDir: dir, MaxAge: time.Hour}, {CacheDir: dir, Offline: true}} {
		f, _ := newFetcher(t, o)
		if r2, err := f.Resolve(ctx, spec); err != nil || r2 != r {
			t.Errorf("%+v %v", r2, err)
		}
	}
	if got := srv.take(); len(got) != 0 {
		t.Errorf("requests: %q", got)
	}
	// Changed content is fetched.
	changed := makeTar(t, true, member{name: "x-2/setup.py", text: "xx"})
	srv.put(t, "x.tar.gz", changed)
	later := time.Now().Add(2 * time.Hour)
	if err := os.Chtimes(filepath.Join(srv.dir, "x.tar.gz"), later, later); err != nil {
		t.Fatal(err)
	}
	f3, _ := newFetcher(t, Options{CacheDir: dir})
	if r3, err := f3.Resolve(ctx, spec); err != nil || r3.ID != "sha256:"+hexOf(changed) {
		t.Errorf("%+v %v", r3, err)
	}
	// A blob that was removed is downloaded again.
	if err := os.Remove(f3.cache.path(digest.FromBytes(changed))); err != nil {
		t.Fatal(err)
	}
	f4, _ := newFetcher(t, Options{CacheDir: dir})
	if r4, err := f4.Resolve(ctx, spec); err != nil || r4.ID != "sha256:"+hexOf(changed) {
		t.Errorf("%+v %v", r4, err)
	}
	checkClean(t, dir)
}

func TestURLWithChecksum(t *testing.T) {
	ctx := context.Background()
	srv := serveFiles(t)
	data := randomBytes(3000)
	spec := Spec{Name: "etcd", Type: TypeURL, Location: srv.put(t, "etcd", data), Enabled: true,
		SHA256: map[string]string{"amd64": hexOf(data), "arm64": strings.Repeat("0", 64)}}
	dir := t.TempDir()
	f, _ := newFetcher(t, Options{CacheDir: dir})
	if r, err := f.Resolve(ctx, spec); err != nil || r.Mutable || r.ID != "sha256:"+hexOf(data) {
		t.Fatalf("%+v %v", r, err)
	}
	srv.take()
	// Pinned content in the cache needs no request, wherever it came from.
	s2 := spec
	s2.Location = srv.URL + "/elsewhere"
	f2, _ := newFetcher(t, Options{CacheDir: dir, Offline: true})
	if r, err := f2.Resolve(ctx, s2); err != nil || r.ID != "sha256:"+hexOf(data) {
		t.Errorf("%+v %v", r, err)
	}
	if got := srv.take(); len(got) != 0 {
		t.Errorf("requests: %q", got)
	}
	f3, _ := newFetcher(t, Options{Arch: "arm64"})
	_, err := f3.Resolve(ctx, spec)
	var ce *ChecksumError
	if !errors.As(err, &ce) || ce.Arch != "arm64" || ce.Got != hexOf(data) || !strings.Contains(ce.Hint(), "[etcd]") {
		t.Errorf("got %v", err)
	}
	if got := srv.take(); len(got) != 2 { // once more, because it may have been damaged during the transfer
		t.Errorf("requests: %q", got)
	}
	checkClean(t, f3.opts.CacheDir)
	if _, ok := f3.cache.find(ctx, digest.FromBytes(data)); ok {
		t.Error("content with a wrong checksum is in the cache")
	}
	// Content for an architecture without a digest is not verified, and the log says so.
	f4, log := newFetcher(t, Options{Arch: "ppc64el"})
	if _, err := f4.Resolve(ctx, spec); err != nil || !strings.Contains(log.String(), "no digest for ppc64el") {
		t.Errorf("%v\n%s", err, log)
	}
}

// TestURLResumes checks that interrupted downloads are resumed, within a run and in the next.
func TestURLResumes(t *testing.T) {
	ctx := context.Background()
	srv := serveFiles(t)
	data := randomBytes(1_000_000)
	spec := Spec{Name: "big", Type: TypeURL, Location: srv.put(t, "big", data), Enabled: true}
	// What has just been modified may change again with the same time, and is not resumed.
	yesterday := time.Now().AddDate(0, 0, -1)
	if err := os.Chtimes(filepath.Join(srv.dir, "big"), yesterday, yesterday); err != nil {
		t.Fatal(err)
	}
	cut := 0 // one request at a time
	srv.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		if cut++; cut > 6 {
			return false
		}
		http.FileServer(http.Dir(srv.dir)).ServeHTTP(&limited{ResponseWriter: w, left: 120_000}, r)
		return true
	})
	dir := t.TempDir()
	f, _ := newFetcher(t, Options{CacheDir: dir, Retries: 2})
	if _, err := f.Resolve(ctx, spec); err == nil {
		t.Fatal("a truncated download succeeded")
	}
	f2, log := newFetcher(t, Options{CacheDir: dir, Retries: 5})
	r, err := f2.Resolve(ctx, spec)
	if err != nil || r.ID != "sha256:"+hexOf(data) {
		t.Fatalf("%+v %v", r, err)
	}
	srv.mu.Lock()
	sent := srv.bytes
	srv.mu.Unlock()
	if sent > int64(len(data))*5/4 {
		t.Errorf("%d bytes were sent for %d", sent, len(data))
	}
	if !strings.Contains(log.String(), "resumed at byte") {
		t.Errorf("the log:\n%s", log)
	}
	checkClean(t, dir)
}

// TestURLChangesWhileItIsFetched checks that content that changes between two attempts is not
// combined, also if it changes within a second and so has the same Last-Modified.
func TestURLChangesWhileItIsFetched(t *testing.T) {
	for name, c := range map[string]struct {
		size    int
		age     time.Duration // of the first content
		changed time.Duration // after that
	}{
		"later":                           {400_000, time.Hour, time.Minute},
		"in the same second":              {500_000, -time.Minute, 0}, // in the future: the time of the request does not matter
		"in the same second, of any size": {400_000, time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			srv := serveFiles(t)
			spec := Spec{Name: "big", Type: TypeURL, Location: srv.put(t, "big", randomBytes(500_000)), Enabled: true}
			modified := time.Now().Add(-c.age)
			setTime := func(at time.Time) {
				if err := os.Chtimes(filepath.Join(srv.dir, "big"), at, at); err != nil {
					t.Error(err)
				}
			}
			setTime(modified)
			fresh := randomBytes(c.size)
			first, changed := true, make(chan struct{})
			srv.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
				if !first {
					<-changed // the client may ask again before the content has changed
					return false
				}
				first = false
				defer close(changed)
				http.FileServer(http.Dir(srv.dir)).ServeHTTP(&limited{ResponseWriter: w, left: 200_000}, r)
				srv.put(t, "big", fresh)
				setTime(modified.Add(c.changed))
				return true
			})
			f, _ := newFetcher(t, Options{})
			if r, err := f.Resolve(context.Background(), spec); err != nil || r.ID != "sha256:"+hexOf(fresh) {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
}

// limited ends the connection after some bytes.
type limited struct {
	http.ResponseWriter
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		n, _ := l.ResponseWriter.Write(p[:l.left])
		l.left -= n
		_ = http.NewResponseController(l.ResponseWriter).Flush()
		testenv.Abort(l.ResponseWriter)
		return n, net.ErrClosed
	}
	l.left -= len(p)
	return l.ResponseWriter.Write(p)
}

// TestURLFaults fetches from a server that fails every second request.
func TestURLFaults(t *testing.T) {
	testenv.Slow(t)
	ctx := context.Background()
	kinds := map[string]func(http.ResponseWriter, *http.Request){
		"reset": func(w http.ResponseWriter, _ *http.Request) { testenv.Abort(w) },
		"503":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"429": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(429)
		},
		"stall": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"damage": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>maintenance</html>")) },
	}
	for kind, spoil := range kinds {
		t.Run(kind, func(t *testing.T) {
			srv := serveFiles(t)
			n, faults := 0, 0
			srv.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
				if n++; n%2 == 0 {
					return false
				}
				faults++
				spoil(w, r)
				return true
			})
			f, _ := newFetcher(t, Options{Timeout: 500 * time.Millisecond})
			for i := range 5 {
				data := randomBytes(20_000)
				s := Spec{Name: "x", Type: TypeURL, Location: srv.put(t, fmt.Sprint(i), data), Enabled: true,
					SHA256: map[string]string{"amd64": hexOf(data)}}
				if r, err := f.Resolve(ctx, s); err != nil || r.ID != "sha256:"+hexOf(data) {
					t.Fatalf("%+v %v", r, err)
				}
			}
			if faults != 5 {
				t.Errorf("%d faults", faults)
			}
			checkClean(t, f.opts.CacheDir)

			// If all requests fail, it is an error in the end.
			srv.spoilWith(func(w http.ResponseWriter, r *http.Request) bool { spoil(w, r); return true })
			f, _ = newFetcher(t, Options{Timeout: 50 * time.Millisecond, Retries: 2})
			_, err := f.Resolve(ctx, Spec{Name: "x", Type: TypeURL, Location: srv.URL + "/0", Enabled: true,
				SHA256: map[string]string{"amd64": hexOf(nil)}})
			if err == nil {
				t.Error("it succeeded")
			}
			t.Log(err)
		})
	}
}

func TestFinalAnswersAreNotRetried(t *testing.T) {
	for _, code := range []int{304, 401, 403, 404, 410} { // 304 although nothing is cached
		srv := serveFiles(t)
		srv.spoilWith(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true })
		f, _ := newFetcher(t, Options{})
		_, err := f.Resolve(context.Background(), Spec{Name: "x", Type: TypeURL, Location: srv.URL + "/x", Enabled: true})
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), fmt.Sprint(code)) ||
			(code != 410 && code != 304) != (e.Hint() != "") {
			t.Errorf("%d: %v, hint %v", code, err, e)
		}
		if n := len(srv.take()); n != 1 {
			t.Errorf("%d: %d requests", code, n)
		}
		checkClean(t, f.opts.CacheDir)
	}
}

func TestMirrors(t *testing.T) {
	ctx := context.Background()
	bad, good := serveFiles(t), serveFiles(t)
	data := randomBytes(5000)
	good.put(t, "pub/x", data)
	sum := map[string]string{"amd64": hexOf(data)}
	spec := Spec{Name: "x", Type: TypeURL, Location: bad.URL + "/x", Enabled: true, SHA256: sum}
	mirrors := map[string][]string{bad.URL + "/": {good.URL + "/pub/"}}
	for name, spoil := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"missing":        func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return true },
		"out of order":   func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true },
		"wrong checksum": func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte("old")); return true },
	} {
		bad.spoilWith(spoil)
		f, _ := newFetcher(t, Options{Mirrors: mirrors})
		if r, err := f.Resolve(ctx, spec); err != nil || r.ID != "sha256:"+hexOf(data) {
			t.Errorf("%s: %+v %v", name, r, err)
		}
		s2 := spec
		s2.Mirrors = []string{good.URL + "/none", good.URL + "/pub/x"}
		f2, _ := newFetcher(t, Options{})
		if _, err := f2.Resolve(ctx, s2); err != nil {
			t.Errorf("%s, with mirrors of the section: %v", name, err)
		}
		checkClean(t, f2.opts.CacheDir)
	}
	// If no location has it, the error names the location that the user wrote.
	f, _ := newFetcher(t, Options{Retries: -1})
	spec.Mirrors = []string{good.URL + "/none"}
	bad.spoilWith(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return true })
	if _, err := f.Resolve(ctx, spec); err == nil || !strings.Contains(err.Error(), bad.URL) {
		t.Errorf("got %v", err)
	}
}

// TestURLCredentials checks that credentials are sent to their server and shown nowhere.
func TestURLCredentials(t *testing.T) {
	ctx := context.Background()
	srv := serveFiles(t)
	data := makeTar(t, false, member{name: "x", text: "x"})
	srv.put(t, "x.tar", data)
	srv.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		if user, pass, ok := r.BasicAuth(); ok && user == "ada" && pass == "s3cret!" &&
			r.URL.Query().Get("token") == "t0ken" {
			return false
		}
		w.WriteHeader(401)
		return true
	})
	host := strings.TrimPrefix(srv.URL, "http://")
	f, log := newFetcher(t, Options{Retries: 1})
	s := Spec{Name: "x", Type: TypeURL, Location: "http://ada:s3cret%21@" + host + "/x.tar?token=t0ken", Enabled: true}
	files, err := f.Archives(ctx, Request{Image: "x", Source: &s})
	if err != nil {
		t.Fatal(err)
	}
	shown := log.String() + fmt.Sprintf("%+v", files)
	for _, location := range []string{"http://ada:s3cret-wrong@" + host + "/x.tar?token=t0ken",
		"http://ada:s3cret@127.0.0.1:1/x?token=t0ken", "http://ada:s3cret@[bad/?token=t0ken"} {
		s.Location = location
		_, err := f.Resolve(ctx, s)
		if err == nil {
			t.Fatal("it succeeded")
		}
		var h interface{ Hint() string }
		if errors.As(err, &h) {
			shown += h.Hint()
		}
		shown += err.Error() + log.String()
	}
	for _, secret := range []string{"s3cret", "t0ken"} {
		if strings.Contains(shown, secret) {
			t.Errorf("%q is shown:\n%s", secret, shown)
		}
		grepCache(t, f.opts.CacheDir, secret)
	}
}

func TestFileURL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b.tar")
	data := makeTar(t, false, member{name: "x", text: "x"})
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	f, _ := newFetcher(t, Options{})
	s := Spec{Name: "x", Type: TypeURL, Location: "file://" + strings.ReplaceAll(path, " ", "%20"), Enabled: true}
	if r, err := f.Resolve(context.Background(), s); err != nil || r.ID != "sha256:"+hexOf(data) || r.Type != TypeURL {
		t.Errorf("%+v %v", r, err)
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	srv := serveFiles(t)
	hit := make(chan bool, 10)
	srv.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		hit <- true
		<-r.Context().Done()
		return true
	})
	f, _ := newFetcher(t, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := f.Resolve(ctx, Spec{Name: "x", Type: TypeURL, Location: srv.URL + "/x", Enabled: true})
		done <- err
	}()
	<-hit
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	checkClean(t, f.opts.CacheDir)
}

// watchedContext reports when something waits for its end.
type watchedContext struct {
	context.Context
	waits chan<- struct{}
}

func (c watchedContext) Done() <-chan struct{} {
	select {
	case c.waits <- struct{}{}:
	default:
	}
	return c.Context.Done()
}

// TestWaitersTakeOver checks that a caller that waits for the fetch of another one does not
// fail when the context of that ends, whatever its cause.
func TestWaitersTakeOver(t *testing.T) {
	srv := serveFiles(t)
	hit, release := make(chan bool, 10), make(chan struct{})
	srv.spoilWith(func(http.ResponseWriter, *http.Request) bool {
		hit <- true
		<-release
		return false
	})
	f, _ := newFetcher(t, Options{})
	spec := Spec{Name: "x", Type: TypeURL, Location: srv.put(t, "x.tar.gz",
		makeTar(t, true, member{name: "x/f", text: "x"})), Enabled: true}
	cause := errors.New("another image failed")
	ctx, cancel := context.WithCancelCause(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := f.Resolve(ctx, spec)
		first <- err
	}()
	<-hit
	waits := make(chan struct{}, 1)
	go func() {
		_, err := f.Resolve(watchedContext{t.Context(), waits}, spec)
		second <- err
	}()
	<-waits
	cancel(cause)
	if err := <-first; !errors.Is(err, cause) {
		t.Errorf("the first caller: %v", err)
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("the second caller: %v", err)
	}
}
