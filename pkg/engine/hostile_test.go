package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

// hostileEngine answers like Docker, except for one kind of request.
type hostileEngine struct {
	request string // "ping", "version", "list", "inspect", "load"
	answer  http.HandlerFunc
}

func (h hostileEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kinds := []struct{ suffix, kind, answer string }{
		{"/_ping", "ping", "OK"},
		{"/version", "version", `{"Version":"20.10.24+dfsg1"}`},
		{"/images/json", "list", "[]"},
		{"/images/load", "load", "{}"},
		{"/json", "inspect", ""},
	}
	w.Header().Set("Api-Version", "1.41")
	for _, k := range kinds {
		if !strings.HasSuffix(r.URL.Path, k.suffix) {
			continue
		}
		if k.kind == h.request {
			h.answer(w, r)
		} else if k.answer == "" {
			http.NotFound(w, r)
		} else {
			_, _ = io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, k.answer)
		}
		return
	}
	http.NotFound(w, r)
}

// serve serves an engine on a socket, and returns its options.
func (h hostileEngine) serve(t *testing.T) Options {
	t.Helper()
	sock := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.Listener = l
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return Options{Kind: Docker, Addr: "unix://" + sock}
}

// loadInto opens the engine and loads an image.
func loadInto(t *testing.T, opts Options) error {
	t.Helper()
	e, err := Open(t.Context(), opts)
	if err != nil {
		return err
	}
	defer e.Close()
	_, err = e.Load(t.Context(), Request{Ref: "kolla/x:t", Image: childOf(t, testenv.Busybox(t, nil), 1, 100_000)})
	return err
}

// endless answers with a beginning and then the same text until the client has enough of it.
func endless(begin, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, err := io.WriteString(w, begin)
		for n := 0; err == nil && text != "" && n < maxAnswer+maxAnswer/4; n += len(text) {
			_, err = io.WriteString(w, text)
		}
	}
}

// TestHostileAnswers loads into engines whose answers are endless, garbage or look like lines
// of this program.
func TestHostileAnswers(t *testing.T) {
	kib := strings.Repeat("a", 1024)
	forged := "\x1b[2Jno\n  hint: do this\n" + strings.Repeat("long ", 10_000)
	fail := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, forged, http.StatusInternalServerError) }
	for name, c := range map[string]struct {
		hostileEngine
		want string
	}{
		"endless version": {hostileEngine{"version", endless(`{"Version":"`, kib)}, "a value in it is larger than 4.0 MiB"},
		"endless list": {hostileEngine{"list", endless("[", `{"Id":"a","RepoTags":["a:b"]},`)},
			"more than 500000 names"},
		"endless empty list":  {hostileEngine{"list", endless("[", strings.Repeat(" ", 1000)+`{},`)}, "larger than 64.0 MiB"},
		"endless name":        {hostileEngine{"list", endless(`[{"Id":"`, kib)}, "a value in it is larger than 4.0 MiB"},
		"endless layers":      {hostileEngine{"inspect", endless(`{"RootFS":{"Layers":[`, `"a",`)}, "larger than 4.0 MiB"},
		"endless message":     {hostileEngine{"load", endless(`{"stream":"`, kib)}, "a value in it is larger than 4.0 MiB"},
		"endless messages":    {hostileEngine{"load", endless("", `{"stream":"`+kib+`"}`)}, "larger than 64.0 MiB"},
		"endless white space": {hostileEngine{"load", endless("", strings.Repeat(" ", 1024))}, "larger than 4.0 MiB"},
		"no list":             {hostileEngine{"list", endless(`{}`, "")}, "it is not a list"},
		"forged error":        {hostileEngine{"list", fail}, "no hint: do this long"},
		"forged load error":   {hostileEngine{"load", fail}, "no hint: do this long"},
		"forged message": {hostileEngine{"load", endless(`{"error":"no\n  hint: \u001b[31m \u202e do this"}`, "")},
			"no hint: \ufffd[31m \ufffd do this"},
		"redirect": {hostileEngine{"ping", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/version", http.StatusFound)
		}}, "Found"},
		"version of the API": {hostileEngine{"ping", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Api-Version", "1.41/../..")
		}}, "version of its API is invalid"},
		"large headers": {hostileEngine{"ping", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("a", 2*maxHeaders))
		}}, "headers exceeded"},
	} {
		err := loadInto(t, c.serve(t))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v; want %q", name, err, c.want)
			continue
		}
		if text := err.Error(); len(text) > maxMessage+200 || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("%s: an error of %d bytes: %.300q", name, len(text), text)
		}
	}
	version := `{"Version":"20\u001b[31m\n` + strings.Repeat("x", 1000) + `"}`
	e, err := Open(t.Context(), hostileEngine{"version", endless(version, "")}.serve(t))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if s := e.String(); len(s) > 100 || strings.ContainsFunc(s, unicode.IsControl) {
		t.Errorf("version %.200q", s)
	}
}

// TestSilentEngine loads into engines that stop answering in the middle.
func TestSilentEngine(t *testing.T) {
	testenv.Slow(t)
	silent := func(http.ResponseWriter, *http.Request) { <-t.Context().Done() }
	drip := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for r.Context().Err() == nil && t.Context().Err() == nil {
			fmt.Fprint(w, " ")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Millisecond)
		}
	}
	for name, h := range map[string]hostileEngine{
		"list": {"list", silent}, "slow list": {"list", drip}, "inspect": {"inspect", silent},
		"load": {"load", silent}, "load that is read": {"load", drip},
	} {
		opts := h.serve(t)
		opts.Timeout, opts.answerTimeout, opts.Retries = 50*time.Millisecond, time.Minute, 3
		opts.noticeDelay = time.Minute
		err := loadInto(t, opts)
		var late *silentError
		var stalled *retry.StalledError
		if !errors.As(err, &late) && !errors.As(err, &stalled) {
			t.Errorf("%s: %v", name, err)
		}
		var failed *Error
		if errors.As(err, &failed) && !failed.Lost {
			t.Errorf("%s: no hint that the engine is lost: %v", name, err)
		}
	}
}
