package stepproxy

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// recorderOf returns a recorder, and an origin with a handler.
func recorderOf(t *testing.T, ctx context.Context, h http.HandlerFunc) (rec *Recorder, dir, origin string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	client := server.Client()
	client.Transport.(*http.Transport).DisableCompression = true
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	dir = t.TempDir()
	rec, err := NewRecorder(ctx, dir, client)
	if err != nil {
		t.Fatal(err)
	}
	return rec, dir, server.URL
}

// files returns the names in a directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestLargeFiles checks that neither an announced nor an endless file fills the disk.
func TestLargeFiles(t *testing.T) {
	rec, dir, origin := recorderOf(t, t.Context(), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/announced" {
			w.Header().Set("Content-Length", "1000000000000")
			return
		}
		for { // until the client closes the connection
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	rec.maxFile = 1 << 20
	for _, path := range []string{"/announced", "/endless"} {
		resp, err := rec.Answer(t.Context(), Request{Client: "image-a", Method: http.MethodGet, URL: origin + path})
		if err == nil && resp.Body != nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		var large *tooLargeError
		if !errors.As(err, &large) {
			t.Errorf("%s: %v, want a tooLargeError", path, err)
		}
	}
	resp, err := rec.Answer(t.Context(), Request{Client: "image-a", Method: http.MethodPost,
		URL: origin + "/endless", Body: http.NoBody})
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	var large *tooLargeError
	if !errors.As(err, &large) {
		t.Errorf("POST: %v, want a tooLargeError", err)
	}
	if _, missed := rec.Records(); len(missed) != 3 {
		t.Errorf("not captured: %v, want 3 requests", missed)
	}
	if names := files(t, dir); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// TestFetchesEndWithTheRun checks that a server that sends nothing does not outlive the
// run that recorded it.
func TestFetchesEndWithTheRun(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	rec, dir, origin := recorderOf(t, ctx, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "begin")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	resp, err := rec.Answer(t.Context(), Request{Client: "image-a", Method: http.MethodGet, URL: origin})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b := make([]byte, 5); true {
		if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != "begin" {
			t.Fatalf("%q (%v)", b, err)
		}
	}
	ended := errors.New("the run has ended")
	cancel(ended)
	if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, ended) {
		t.Errorf("%v, want %v", err, ended)
	}
	rec.Records() // waits for the fetch
	if names := files(t, dir); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// TestKilledRecordersAreRemoved checks that what a killed process was fetching does not stay
// for ever, and that what another one fetches now does.
func TestKilledRecordersAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{".new-killed": 25 * time.Hour, ".new-running": time.Minute,
		strings.Repeat("a", 64): 100 * time.Hour} {
		path, at := filepath.Join(dir, name), time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, []byte("x"), 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := NewRecorder(t.Context(), dir, http.DefaultClient); err != nil {
		t.Fatal(err)
	}
	if names := files(t, dir); len(names) != 2 || names[0] != ".new-running" {
		t.Errorf("left: %v", names)
	}
}

// TestEncodedContent checks that clients learn how content is encoded, live and from
// records, whether they asked for it or not.
func TestEncodedContent(t *testing.T) {
	rec, dir, origin := recorderOf(t, t.Context(), func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("Accept-Encoding %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, "plain text")
		z.Close()
	})
	decoded := func(c *http.Client, method string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, origin+"/index", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req) // the transport decodes gzip
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	live := through(t, rec, "image-a")
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if got := decoded(live, method); got != "plain text" {
			t.Errorf("%s: %q", method, got)
		}
	}
	records, _ := rec.Records()
	if len(records) != 1 || records[0].Encoding != "gzip" {
		t.Fatalf("records: %+v", records)
	}
	player := NewPlayer(func(string) (Record, bool) { return records[0], true },
		func(r Record) (io.ReadCloser, error) { return os.Open(filepath.Join(dir, r.Digest.Encoded())) })
	if got := decoded(through(t, player, "image-a"), http.MethodGet); got != "plain text" {
		t.Errorf("replay: %q", got)
	}
}

// TestVariants checks that a client gets the answer to its own headers: not one in
// another encoding or one for other credentials.
func TestVariants(t *testing.T) {
	rec, _, origin := recorderOf(t, t.Context(), func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/same":
			fmt.Fprint(w, "same")
		case r.URL.Path == "/private" && r.Header.Get("Authorization") == "":
			w.WriteHeader(http.StatusForbidden)
		default:
			fmt.Fprint(w, r.Header.Get("Accept"), r.Header.Get("Authorization"))
		}
	})
	ask := func(client, path, accept, authorization string) string {
		t.Helper()
		h := http.Header{"Accept": {accept}}
		if authorization != "" {
			h.Set("Authorization", authorization)
		}
		resp, err := rec.Answer(t.Context(), Request{Client: client, Method: http.MethodGet, URL: origin + path, Header: h})
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body == nil {
			return http.StatusText(resp.Status)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, tc := range []struct{ client, path, accept, authorization, want string }{
		{"a", "/private", "", "Basic x", "Basic x"},
		{"b", "/private", "", "", "Forbidden"},
		{"a", "/index", "text/html", "", "text/html"},
		{"b", "/index", "application/json", "", "application/json"},
		{"c", "/index", "text/html", "", "text/html"},
		{"a", "/same", "text/html", "", "same"},
		{"b", "/same", "application/json", "", "same"},
	} {
		if got := ask(tc.client, tc.path, tc.accept, tc.authorization); got != tc.want {
			t.Errorf("%+v: %q", tc, got)
		}
	}
	records, missed := rec.Records()
	var got []string
	for _, r := range records {
		got = append(got, fmt.Sprintf("%s %d %v", strings.TrimPrefix(r.URL, origin), r.Status, r.Clients))
	}
	if want := "[/index 200 [b] /private 200 [a] /same 200 [a b]]"; fmt.Sprint(got) != want {
		t.Errorf("records %v, want %v", got, want)
	}
	got = nil
	for _, m := range missed {
		got = append(got, m.Client+" "+strings.ReplaceAll(m.Request, origin, ""))
	}
	if want := "[a GET /index c GET /index b GET /private]"; fmt.Sprint(got) != want {
		t.Errorf("not captured %v, want %v", got, want)
	}
}
