package registry_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
)

// redirecting is a registry that redirects every request below a path, to itself or to
// longer and longer addresses, and counts them.
func redirecting(t *testing.T, target func(r *http.Request) string) (host string, requests *atomic.Int64) {
	requests = new(atomic.Int64)
	return registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		if r.URL.Path != "/v2/" {
			w.Header().Set("Location", target(r))
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	})), requests
}

// The number of redirects is limited for every request.
func TestEndlessRedirects(t *testing.T) {
	img := registrytest.Base(t, 100)
	d := registrytest.Digest(t, img)
	for name, target := range map[string]func(*http.Request) string{
		"to itself":        func(r *http.Request) string { return r.URL.String() },
		"growing":          func(r *http.Request) string { return r.URL.Path + "x" },
		"between two":      func(r *http.Request) string { return strings.TrimSuffix(r.URL.Path+"/b", "/b/b") },
		"with other hosts": func(r *http.Request) string { return "http://" + swapHost(r.Host) + r.URL.Path },
	} {
		t.Run(name, func(t *testing.T) {
			host, requests := redirecting(t, target)
			c := registrytest.Client(t, registry.Options{Retries: 3})
			ref, err := imageref.Parse(host + "/kolla/base:t")
			if err != nil {
				t.Fatal(err)
			}
			repo := c.Repository(ref)
			for operation, call := range map[string]func() error{
				"look-up": func() error { _, err := c.Head(t.Context(), ref.String()); return err },
				"pull":    func() error { _, _, err := c.Fetch(t.Context(), ref.String(), ""); return err },
				"tags":    func() error { _, err := c.Tags(t.Context(), ref.String()); return err },
				"push":    func() error { _, err := push.New(c, push.Options{}).Push(t.Context(), ref.String(), img); return err },
				"manifest": func() error {
					return repo.PutTag(t.Context(), "t", registry.Manifest{Raw: []byte("{}"), Digest: digest.FromString("{}")})
				},
				"delete": func() error { return c.DeleteTag(t.Context(), ref.String()) },
				"commit": func() error {
					return push.New(c, push.Options{}).Commit(t.Context(), []push.Tag{{Ref: ref.String(), Digest: d}})
				},
				"upload": func() error {
					_, err := repo.Upload(t.Context(), registry.Blob{Digest: digest.FromString("x"), Size: 1,
						Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil }}, repo, nil)
					return err
				},
			} {
				requests.Store(0)
				if err := call(); err == nil {
					t.Errorf("%s: no error", operation)
				} else if n := requests.Load(); n > 25 {
					t.Errorf("%s: %d requests; %v", operation, n, err)
				}
			}
			var loop *registry.RedirectError
			if _, err := c.Head(t.Context(), ref.String()); !errors.As(err, &loop) || loop.Hint() == "" {
				t.Errorf("look-up: %v", err)
			}
		})
	}
}

func swapHost(host string) string {
	if port, ok := strings.CutPrefix(host, "127.0.0.1"); ok {
		return "localhost" + port
	}
	return "127.0.0.1" + strings.TrimPrefix(host, "localhost")
}

// hostileRegistry answers requests below /v2/ with the handlers of content.
func hostileRegistry(t *testing.T, content map[string]func(w http.ResponseWriter, r *http.Request)) string {
	return registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		for part, answer := range content {
			if strings.Contains(r.URL.Path, part) {
				answer(w, r)
				return
			}
		}
		if r.URL.Path != "/v2/" {
			http.NotFound(w, r)
		}
	}))
}

func document(mediaType, text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		_, _ = io.WriteString(w, text)
	}
}

// forever answers bytes until the client goes away, and counts them.
func forever(mediaType string, sent *atomic.Int64) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		block := bytes.Repeat([]byte(" "), 64<<10)
		for sent.Load() < 1<<30 {
			n, err := w.Write(block)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
}

// Content of a registry is read up to a limit and checked.
func TestHostileContent(t *testing.T) {
	const manifestType, indexType = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
	config := `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`
	sum := func(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }
	manifest := func(digest string, size int64, layers string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[%s]}`, manifestType, digest, size, layers)
	}
	for name, c := range map[string]struct {
		content func(sent *atomic.Int64) map[string]func(http.ResponseWriter, *http.Request)
		want    string
	}{
		"endless manifest": {func(sent *atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter, *http.Request){"/manifests/": forever(manifestType, sent)}
		}, "larger than the limit"},
		"endless config": {func(sent *atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter, *http.Request){"/manifests/": document(manifestType,
				manifest(sum(config), int64(len(config)), "")), "/blobs/": forever("", sent)}
		}, "has more than"},
		"config that claims to be huge": {func(sent *atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter,
				*http.Request){"/manifests/": document(manifestType,
				manifest(sum(config), 1<<40, "")), "/blobs/": forever("", sent)}
		}, "larger than the limit"},
		"config of negative size": {func(*atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter,
				*http.Request){"/manifests/": document(manifestType,
				manifest(sum(config), -5, "")), "/blobs/": document("", config)}
		}, "size"},
		"other config": {func(*atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter, *http.Request){"/manifests/": document(manifestType,
				manifest(sum("x"), int64(len(config)), "")), "/blobs/": document("", config)}
		}, "content has digest"},
		"short config": {func(*atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter, *http.Request){"/manifests/": document(manifestType,
				manifest(sum(config), int64(len(config))+1, "")), "/blobs/": document("", config)}
		}, "bytes"},
		"digest of an unknown kind": {func(*atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter,
				*http.Request){"/manifests/": document(manifestType, manifest("md5:d41d8cd98f00b204e9800998ecf8427e", 1, ""))}
		}, ""},
		"digest with a path": {func(*atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter,
				*http.Request){"/manifests/": document(manifestType, manifest("sha256:../../../etc/passwd", 1, ""))}
		}, ""},
		"not JSON": {func(*atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter, *http.Request){"/manifests/": document(manifestType, "<html>")}
		}, "reading the manifest"},
		"manifest of countless layers": {func(*atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter, *http.Request){"/manifests/": document(manifestType,
				manifest(sum(config), int64(len(config)), strings.Repeat("{},", 1_000_000)+"{}"))}
		}, "more than 1000 layers"},
		"index of countless images": {func(*atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter, *http.Request){"/manifests/": document(indexType,
				`{"schemaVersion":2,"manifests":[`+strings.Repeat("{},", 1_000_000)+"{}]}")}
		}, "more than 1000 manifests"},
		"config of countless steps": {func(*atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			large := `{"os":"linux","architecture":"amd64","history":[` + strings.Repeat("{},", 1_000_000) + "{}]}"
			return map[string]func(http.ResponseWriter, *http.Request){"/manifests/": document(manifestType,
				manifest(sum(large), int64(len(large)), "")), "/blobs/": document("", large)}
		}, "more than 10000 history entries"},
		"manifest and index at once": {func(*atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter, *http.Request){"/manifests/": document(indexType,
				fmt.Sprintf(`{"schemaVersion":2,"layers":[],"manifests":[{"mediaType":%q,"digest":%q,"size":3,"platform":{"os":"linux","architecture":"amd64"}}]}`, manifestType, sum("x")))}
		}, "both other manifests and layers"},
		"index whose digest is a path": {func(*atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter, *http.Request){"/manifests/": document(indexType,
				fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":"../../../x","size":3,"platform":{"os":"linux","architecture":"amd64"}}]}`, manifestType))}
		}, "digest"},
		"index for countless platforms": {func(*atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			entry := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":3,"platform":{"os":"linux","architecture":"other"}}`,
				manifestType, sum("x"))
			return map[string]func(http.ResponseWriter, *http.Request){"/manifests/": document(indexType,
				`{"schemaVersion":2,"manifests":[`+strings.Repeat(entry+",", 900)+entry+"]}")}
		}, "and 881 more"},
		"page": {func(*atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter, *http.Request){"/manifests/": document("text/html", "<html>")}
		}, "not an image"},
		"index of itself": {func(*atomic.Int64) map[string]func(http.ResponseWriter, *http.Request) {
			return map[string]func(http.ResponseWriter, *http.Request){"/manifests/": document(indexType,
				fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":3,"platform":{"os":"linux","architecture":"amd64"}}]}`, indexType, manifestType, sum("x")))}
		}, "content has digest"},
	} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int64
			host := hostileRegistry(t, c.content(&sent))
			_, _, err := registrytest.Client(t, registry.Options{Retries: 1}).Fetch(t.Context(), host+"/kolla/base:t", "")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, expected %q", err, c.want)
			}
			if n := sent.Load(); n > 64<<20 {
				t.Errorf("%d bytes were read", n)
			}
		})
	}
}

// TestListsOfLongNames checks that all pages of a list together are bounded, also if each of them
// has few entries.
func TestListsOfLongNames(t *testing.T) {
	testenv.Slow(t)
	long := strings.Repeat("x", 3<<20)
	entry := fmt.Sprintf(`{"digest":%q,"size":1,"annotations":{"x":%q}}`, digest.FromString("x"), long[:50_000])
	var pages atomic.Int64
	endless := func(mediaType, text string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", fmt.Sprintf(`<%s?last=%d>; rel="next"`, r.URL.Path, pages.Add(1)))
			document(mediaType, text)(w, r)
		}
	}
	host := hostileRegistry(t, map[string]func(http.ResponseWriter, *http.Request){
		"/tags/list": endless("application/json", `{"tags":["`+long+`"]}`),
		"/_catalog":  endless("application/json", `{"repositories":["`+long+`"]}`),
		"/referrers/": endless("application/vnd.oci.image.index.v1+json",
			fmt.Sprintf(`{"schemaVersion":2,"manifests":[%s]}`, strings.Repeat(entry+",", 60)+entry)),
	})
	c := registrytest.Client(t, registry.Options{Retries: -1})
	ref, err := imageref.Parse(host + "/kolla/base:t")
	if err != nil {
		t.Fatal(err)
	}
	for name, list := range map[string]func() error{
		"tags":    func() error { _, err := c.Tags(t.Context(), ref.String()); return err },
		"catalog": func() error { _, err := c.Repositories(t.Context(), host, ""); return err },
		"referrers": func() error {
			_, _, err := c.Repository(ref).Referrers(t.Context(), digest.FromString("x"))
			return err
		},
	} {
		pages.Store(0)
		var size *registry.SizeError
		if err := list(); !errors.As(err, &size) || pages.Load() > 25 {
			t.Errorf("%s: %d pages, %v", name, pages.Load(), err)
		}
	}
}

// Reading an endless list of tags stops.
func TestEndlessTags(t *testing.T) {
	testenv.Slow(t)
	var sent atomic.Int64
	host := hostileRegistry(t, map[string]func(http.ResponseWriter, *http.Request){"/tags/list": forever("application/json", &sent)})
	var size *registry.SizeError
	if _, err := registrytest.Client(t, registry.Options{}).Tags(t.Context(), host+"/kolla/base"); !errors.As(err, &size) {
		t.Errorf("an endless page: %v", err)
	}
	var pages atomic.Int64
	host = hostileRegistry(t, map[string]func(http.ResponseWriter, *http.Request){"/tags/list": func(w http.ResponseWriter, r *http.Request) {
		n := pages.Add(1)
		w.Header().Set("Link", fmt.Sprintf(`</v2/kolla/base/tags/list?last=%d&n=1>; rel="next"`, n))
		fmt.Fprintf(w, `{"tags":["t%d"]}`, n)
	}})
	if _, err := registrytest.Client(t, registry.Options{}).Tags(t.Context(), host+"/kolla/base"); !errors.As(err, &size) {
		t.Errorf("endless pages: %v", err)
	}
	host = hostileRegistry(t, map[string]func(http.ResponseWriter,
		*http.Request){"/tags/list": document("application/json", `{"tags":[`+strings.Repeat(`"",`, 8_000_000)+`""]}`)})
	if _, err := registrytest.Client(t, registry.Options{}).Tags(t.Context(), host+"/kolla/base"); !errors.As(err,
		&size) || size.Unit != "entries" {
		t.Errorf("a page of countless tags: %v", err)
	}
	// One that repeats a page is not followed either.
	host = hostileRegistry(t, map[string]func(http.ResponseWriter, *http.Request){"/tags/list": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", `</v2/kolla/base/tags/list?last=t&n=1>; rel="next"`)
		fmt.Fprint(w, `{"tags":["t"]}`)
	}})
	if _, err := registrytest.Client(t, registry.Options{}).Tags(t.Context(), host+"/kolla/base"); err == nil {
		t.Error("a list that repeats itself was read")
	}
}

// A registry that accepts blobs and does not store them has no blob: neither an upload that it
// answers with 202 nor one that it declares complete at its beginning has succeeded.
func TestBlobsThatAreNotStored(t *testing.T) {
	for name, c := range map[string]struct {
		begin, end, stored int
		ok                 bool
	}{
		"created at the beginning":     {http.StatusCreated, http.StatusCreated, http.StatusNotFound, false},
		"accepted and not stored":      {http.StatusAccepted, http.StatusAccepted, http.StatusNotFound, false},
		"accepted, stored a bit later": {http.StatusAccepted, http.StatusAccepted, http.StatusOK, true},
		"created":                      {http.StatusAccepted, http.StatusCreated, http.StatusNotFound, true},
	} {
		var sent atomic.Bool
		host := hostileRegistry(t, map[string]func(w http.ResponseWriter, r *http.Request){
			"/blobs/": func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				switch r.Method {
				case http.MethodPost:
					w.Header().Set("Location", r.URL.Path+"x")
					w.WriteHeader(c.begin)
				case http.MethodPut:
					sent.Store(true)
					w.WriteHeader(c.end)
				default:
					status := http.StatusNotFound
					if sent.Load() {
						status = c.stored
					}
					w.WriteHeader(status)
				}
			}})
		ref, err := imageref.Parse(host + "/kolla/base")
		if err != nil {
			t.Fatal(err)
		}
		_, err = registrytest.Client(t, registry.Options{Retries: -1}).Repository(ref).Upload(t.Context(),
			registry.Blob{Digest: digest.FromString("x"), Size: 1, Open: func() (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader("x")), nil
			}}, nil, nil)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A registry that sends clients elsewhere gives its neighbours neither logins nor tokens,
// nor the addresses of what is pulled and pushed.
func TestOtherHostsGetNoCredentials(t *testing.T) {
	var mu sync.Mutex
	var leaked, requests []string
	thief := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		requests = append(requests, r.Method)
		for _, name := range []string{"Authorization", "Referer", "Cookie"} {
			if v := r.Header.Get(name); v != "" {
				leaked = append(leaked, r.Method+" with "+name+": "+v)
			}
		}
		w.WriteHeader(http.StatusCreated)
	}))
	elsewhere := "http://" + swapHost(thief)
	const config = `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%x","size":%d},"layers":[]}`, sha256.Sum256([]byte(config)), len(config))
	for _, challenge := range []string{`Basic realm="x"`, `Bearer realm="http://%s/token",service="x"`} {
		host := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
			w.Header().Set("Set-Cookie", "session=s3cret")
			switch {
			case r.URL.Path == "/token":
				fmt.Fprint(w, `{"token":"t0ken"}`)
			case r.Header.Get("Authorization") == "":
				w.Header().Set("WWW-Authenticate", strings.ReplaceAll(challenge, "%s", r.Host))
				w.WriteHeader(http.StatusUnauthorized)
			case r.Method == http.MethodPost:
				w.Header().Set("Location", elsewhere+"/upload")
				w.WriteHeader(http.StatusAccepted)
			case strings.Contains(r.URL.Path, "/manifests/t"):
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				fmt.Fprint(w, manifest)
			case r.URL.Path != "/v2/":
				http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
			}
		}))
		auths(t, map[string]map[string]string{host: {"username": "ada", "password": "s3cret"}})
		c := registrytest.Client(t, registry.Options{Retries: -1})
		ref, err := imageref.Parse(host + "/kolla/base:t")
		if err != nil {
			t.Fatal(err)
		}
		_, _, _ = c.Fetch(t.Context(), ref.String(), "") // its config is elsewhere
		blob := registry.Blob{Digest: digest.FromString("x"), Size: 1,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil }}
		_, _ = c.Repository(ref).Upload(t.Context(), blob, c.Repository(ref), nil)
		_, _ = c.Tags(t.Context(), ref.String())
	}
	mu.Lock()
	defer mu.Unlock()
	if len(leaked) > 0 {
		t.Errorf("another host got %q", leaked)
	}
	if !slices.Contains(requests, http.MethodGet) || !slices.Contains(requests, http.MethodPut) {
		t.Errorf("another host was asked %q: nothing was tested", requests)
	}
}

// TestRedirectsToOtherProtocols checks that a registry cannot lead to files and sockets, and
// that it is named.
func TestRedirectsToOtherProtocols(t *testing.T) {
	for _, target := range []string{"file:///etc/passwd", "unix:///run/docker.sock"} {
		host, _ := redirecting(t, func(*http.Request) string { return target })
		_, err := registrytest.Client(t, registry.Options{Retries: -1}).Head(t.Context(), host+"/kolla/base:t")
		if err == nil || !strings.Contains(err.Error(), "registry "+host+" leads to") {
			t.Errorf("%s: %v", target, err)
		}
	}
}

// TestDocumentErrorsNameTheRegistry checks that answers that are too slow, or violate HTTP, end
// with an error that names the registry.
func TestDocumentErrorsNameTheRegistry(t *testing.T) {
	raw := func(answer string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, answer)
		}
	}
	const chunked = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"chunk length": raw(chunked + "fffffffffffffffff\r\n"),
		"overhead":     raw(chunked + strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\na\r\n", 100)),
		"error body": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, strings.Repeat("x", 100<<10))
		},
		"slow": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(100 * time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := hostileRegistry(t, map[string]func(http.ResponseWriter, *http.Request){"/manifests/": answer})
			_, _, err := registrytest.Client(t, registry.Options{Retries: -1, Timeout: 3 * time.Second}).Fetch(t.Context(),
				host+"/kolla/base:t", "")
			if err == nil || !strings.Contains(err.Error(), host) {
				t.Errorf("got %v, expected an error that names %s", err, host)
			}
		})
	}
}

// TestDrip checks that a blob of which a registry sends a byte now and then ends with an error,
// also if each byte comes from its own connection.
func TestDrip(t *testing.T) {
	const size = 10 << 20 // larger than a document
	begin := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"x"`)
		from, status := 0, http.StatusOK
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); n == 1 {
			status = http.StatusPartialContent
		}
		w.Header().Set("Content-Length", fmt.Sprint(size-from))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "x")
		_ = http.NewResponseController(w).Flush()
	}
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"one connection": func(w http.ResponseWriter, r *http.Request) {
			begin(w, r)
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, "x")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		},
		"many connections": func(w http.ResponseWriter, r *http.Request) {
			begin(w, r)
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := hostileRegistry(t, map[string]func(http.ResponseWriter, *http.Request){"/blobs/": answer})
			ref, err := imageref.Parse(host + "/kolla/base")
			if err != nil {
				t.Fatal(err)
			}
			c := registrytest.Client(t, registry.Options{Retries: 1, BaseDelay: 20 * time.Millisecond,
				Timeout: 500 * time.Millisecond})
			body, err := c.Repository(ref).Blob(t.Context(), digest.FromString("x"), size)
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if n, err := io.Copy(io.Discard, body); err == nil {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
}
