package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/distribution/reference"

	"github.com/kolla-build/kolla-build/internal/printable"
)

// api is a daemon, used through Docker's API or Podman's own (libpod). Podman's version
// of Docker's API would treat a name without a host as an image of Docker Hub.
type api struct {
	client  *http.Client
	base    string // of URLs
	address string // for messages

	mu     sync.Mutex
	prefix string // of paths, with the version of the API; set by about
	podman bool
}

func (a *api) addr() string { return a.address }

func (a *api) close() { a.client.CloseIdleConnections() }

func (a *api) about(ctx context.Context) (about, error) {
	res, err := a.do(ctx, http.MethodGet, "/_ping", nil, nil)
	if err != nil {
		return about{}, err
	}
	res.Body.Close()
	out := about{api: res.Header.Get("Api-Version")}
	prefix := ""
	for _, header := range []string{"Libpod-Api-Version", "Api-Version"} {
		if v := res.Header.Get(header); v != "" && !versionPattern.MatchString(v) {
			return about{}, fmt.Errorf("the version of its API is invalid: %s",
				printable.Quoted(printable.Bytes(v, maxVersion)))
		}
	}
	if v := res.Header.Get("Libpod-Api-Version"); v != "" {
		out.podman, out.api, prefix = true, v, "/v"+v+"/libpod"
	} else if out.api != "" {
		prefix = "/v" + out.api
	}
	a.mu.Lock()
	a.prefix, a.podman = prefix, out.podman
	a.mu.Unlock()
	var v struct{ Version string }
	if err := a.get(ctx, "/version", nil, &v); err != nil {
		return about{}, err
	}
	out.version, _, _ = strings.Cut(v.Version, "+") // without the suffix of a distribution
	out.version = printable.Bytes(oneLine(out.version), maxVersion)
	return out, nil
}

// versionPattern matches versions of an API, which become a part of paths.
var versionPattern = regexp.MustCompile(`^[0-9]{1,4}(\.[0-9]{1,6}){0,3}(-[0-9A-Za-z.]{1,20})?$`)

// maxVersion is the length of a version in messages.
const maxVersion = 60

func (a *api) list(ctx context.Context) ([]listedImage, error) {
	path := a.path("/images/json")
	res, err := a.do(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	images, err := readList(res.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer to %s: %w", path, err)
	}
	return images, nil
}

func (a *api) inspect(ctx context.Context, name string) (*imageInfo, error) {
	var info struct {
		ID     string `json:"Id"`
		RootFS struct{ Layers []string }
	}
	err := a.get(ctx, a.path("/images/"+name+"/json"), nil, &info)
	var answer *answerError
	if errors.As(err, &answer) && answer.status == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &imageInfo{id: hexOf(info.ID), layers: info.RootFS.Layers}, nil
}

func (a *api) load(ctx context.Context, archive io.Reader) error {
	res, err := a.do(ctx, http.MethodPost, a.path("/images/load"), url.Values{"quiet": {"1"}}, archive)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	// The answer is a stream of messages. Errors are among them, after status 200.
	dec := newDecoder(res.Body)
	for {
		var line struct {
			Error       string `json:"error"`
			ErrorDetail struct {
				Message string `json:"message"`
			} `json:"errorDetail"`
		}
		err := dec.decode(&line)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading the answer of the engine: %w", err)
		case line.ErrorDetail.Message != "":
			return newAnswerError(0, line.ErrorDetail.Message)
		case line.Error != "":
			return newAnswerError(0, line.Error)
		}
	}
}

func (a *api) tag(ctx context.Context, id, ref string) error {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return err
	}
	tag := "latest"
	if t, ok := named.(reference.Tagged); ok {
		tag = t.Tag()
	}
	repo := strings.TrimSuffix(ref, ":"+tag)
	res, err := a.do(ctx, http.MethodPost, a.path("/images/"+id+"/tag"), url.Values{"repo": {repo}, "tag": {tag}}, nil)
	if err == nil {
		res.Body.Close()
	}
	return err
}

func (a *api) save(ctx context.Context, ref string) (io.ReadCloser, error) {
	q := url.Values{}
	if a.podman {
		q.Set("format", "docker-archive")
	}
	res, err := a.do(ctx, http.MethodGet, a.path("/images/"+ref+"/get"), q, nil)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

func (a *api) path(p string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.prefix + p
}

func (a *api) get(ctx context.Context, path string, q url.Values, into any) error {
	res, err := a.do(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := newDecoder(res.Body).decode(into); err != nil {
		return fmt.Errorf("reading the answer to %s: %w", path, err)
	}
	return nil
}

// do sends a request. An answer that is not a success is an *answerError.
func (a *api) do(ctx context.Context, method, path string, q url.Values, body io.Reader) (*http.Response, error) {
	u := a.base + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-tar")
	}
	res, err := a.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var ue *url.Error // its URL has the placeholder host of a socket
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, err
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxError))
	var failure struct{ Message string }
	if json.Unmarshal(text, &failure) != nil || failure.Message == "" {
		failure.Message = strings.TrimSpace(string(text))
	}
	if failure.Message == "" {
		failure.Message = res.Status
	}
	return nil, newAnswerError(res.StatusCode, failure.Message)
}

func hexOf(id string) string { return strings.TrimPrefix(id, "sha256:") }
