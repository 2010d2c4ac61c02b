package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// badReferences are digests, tags and identifiers of uploads that are malformed, or that do
// not exist.
var badReferences = []string{
	"", "x", ":", "sha256:", "sha256", "sha256:x", "sha256:../../x", "sha256+b64:x",
	"sha256+b64u.unknown:abcdef", "multi:sha256:abc",
	"sha256:" + strings.Repeat("G", 64), "sha256:" + strings.Repeat("A", 64), "SHA256:" + strings.Repeat("0", 64),
	"sha256:" + strings.Repeat("0", 63), "sha256:" + strings.Repeat("0", 64), "sha256:" + strings.Repeat("0", 65),
	"sha512:" + strings.Repeat("a", 128), "sha512:" + strings.Repeat("a", 64), "sha384:" + strings.Repeat("a", 96),
	"sha1:" + strings.Repeat("a", 40), "md5:d41d8cd98f00b204e9800998ecf8427e", "blake3:" + strings.Repeat("a", 64),
	"a+b.c_d-e:F=", "../../x", "..", ".", "_current", "-x", "a b", "a\nb", "\x00", "\xff", "\u202e",
	"6c0d8f0a-0000-4000-8000-000000000000",
	strings.Repeat("t", 128), strings.Repeat("t", 129), strings.Repeat("t", 300), strings.Repeat("t", 5000),
	"sha256:" + strings.Repeat("0", 5000), strings.Repeat("a", 300) + ":" + strings.Repeat("0", 64),
}

// clientError checks that an answer has no status of a server's error, and that an error has a
// code of the specification.
func clientError(t *testing.T, what string, resp *http.Response, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= 500 {
		t.Errorf("%s: status %d: %s", what, resp.StatusCode, body)
		return
	}
	var answer struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if resp.StatusCode >= 400 && json.Unmarshal(body, &answer) == nil &&
		(len(answer.Errors) == 0 || answer.Errors[0].Code == "UNKNOWN") {
		t.Errorf("%s: status %d has no code of the specification: %s", what, resp.StatusCode, body)
	}
}

// TestMalformedRequests sends every method to every endpoint, with references, queries and
// headers that no client should send.
func TestMalformedRequests(t *testing.T) {
	s := registrytest.Embedded(t, server.Options{})
	base := "http://" + s.Addr().String()
	d := pushImage(t, s.Host())
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	send := func(method, opaque string, header map[string]string, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = opaque
		for k, v := range header {
			req.Header.Set(k, v)
		}
		resp, err := client.Do(req)
		clientError(t, fmt.Sprintf("%s %.200s %v", method, opaque, header), resp, err)
	}
	names := []string{"kolla/base", "kolla/none", "Kolla/base", "_a", strings.Repeat("a", 255),
		strings.Repeat("a/", 127) + "b",
		"kolla/../base", "kolla//base", "kolla/base/manifests", "%00"}
	methods := []string{"GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"}
	if testing.Short() {
		methods = methods[:2]
	}
	for _, method := range methods {
		for i, ref := range badReferences {
			escaped := url.PathEscape(ref)
			query := url.QueryEscape(ref)
			name, uploads := names[i%len(names)], "/v2/kolla/base/blobs/uploads/"
			for _, path := range []string{
				"/v2/kolla/base/manifests/" + escaped, "/v2/kolla/base/blobs/" + escaped, "/v2/kolla/base/referrers/" + escaped,
				uploads + escaped, uploads + escaped + "?_state=" + query, uploads + "?digest=" + query,
				uploads + "?mount=" + query + "&from=kolla/base", uploads + "?mount=" + d.String() + "&from=" + query,
				uploads + "?digest-algorithm=" + query,
				"/v2/kolla/base/tags/list?n=" + query, "/v2/kolla/base/tags/list?n=1&last=" + query,
				"/v2/kolla/base/referrers/" + d.String() + "?artifactType=" + query + "&last=" + query,
				"/v2/_catalog?n=" + query, "/v2/_catalog?n=1&last=" + query,
				"/v2/" + escaped + "/tags/list", "/v2/" + escaped + "/blobs/uploads/",
				"/v2/" + name + "/manifests/" + escaped, "/v2/" + name + "/blobs/" + escaped,
				"/v2/" + name + "/tags/list?last=" + query,
			} {
				if method != "DELETE" || !strings.HasSuffix(path, "/blobs/"+d.String()) {
					send(method, path, nil, "")
				}
			}
		}
		for _, value := range []string{
			"bytes=0-0", "bytes=-1", "bytes=5-2", "bytes=0-,5-9,1-1", "bytes=99999999999999999999-", "0-0",
			"5-5", "-1--1", "x-y", "",
			"9223372036854775807-9223372036854775808", "9223372036854775806-9223372036854775807",
			"text/plain", "*/*;q=x", strings.Repeat("a,", 5000), "gzip", "\"etag\"", "Thu, 01 Jan 1970 00:00:00 GMT",
			"Basic !", "Bearer x", "evil.example",
		} {
			for _, header := range []string{"Range", "Content-Range", "Content-Type", "Accept",
				"Accept-Encoding", "Content-Encoding",
				"Authorization", "If-None-Match", "If-Range", "X-Forwarded-Host", "Docker-Content-Digest"} {
				h := map[string]string{header: value}
				for _, path := range []string{"/v2/kolla/base/manifests/u",
					"/v2/kolla/base/blobs/" + digest.FromString("n").String(), "/v2/kolla/base/tags/list"} {
					send(method, path, h, "x")
				}
				if method == "PATCH" || method == "PUT" {
					u, err := url.Parse(startUpload(t, base, "kolla/base"))
					if err != nil {
						t.Fatal(err)
					}
					send(method, u.RequestURI()+"&digest="+d.String(), h, "x")
				}
			}
		}
	}
	registrytest.MustPull(t, s.Host(), "HOST/kolla/base:t", d)
}

// TestMalformedManifests puts manifests of each type whose references are wrong in each way.
func TestMalformedManifests(t *testing.T) {
	s := registrytest.Embedded(t, server.Options{})
	base := "http://" + s.Addr().String()
	d := pushImage(t, s.Host())
	target := base + "/v2/kolla/base/manifests/u"
	type object = map[string]any
	var references []object
	for _, ref := range badReferences {
		references = append(references, object{"digest": ref})
	}
	for _, address := range []any{"", "x", "ftp://a/b", "http://a/#b", "file:///etc/passwd", "http://[::1", "\x00",
		"//a/b", "https://a/b"} {
		for _, mediaType := range []types.MediaType{types.OCIUncompressedLayer, types.OCILayer, types.OCIRestrictedLayer,
			types.DockerForeignLayer, types.DockerLayer, types.OCIManifestSchema1, types.DockerManifestSchema2} {
			references = append(references, object{"digest": d.String(), "mediaType": mediaType, "urls": []any{address}})
			references = append(references, object{"digest": digest.FromString("n").String(), "mediaType": mediaType,
				"urls": []any{address, address}})
		}
	}
	for _, v := range []any{nil, 7, "x", -1, 1 << 62, 1.5, []any{}, object{}, true} {
		for _, field := range []string{"digest", "size", "mediaType", "urls", "annotations", "platform"} {
			r := object{"digest": d.String(), "mediaType": types.OCIManifestSchema1, "size": 1}
			r[field] = v
			references = append(references, r)
		}
	}
	mediaTypes := []types.MediaType{types.OCIManifestSchema1, types.OCIImageIndex, types.DockerManifestSchema2,
		types.DockerManifestList}
	if testing.Short() {
		mediaTypes = mediaTypes[:1]
	}
	for _, mediaType := range mediaTypes {
		for _, field := range []string{"config", "layers", "manifests", "subject", "blobs"} {
			for _, ref := range references {
				m := object{"schemaVersion": 2, "mediaType": mediaType}
				if mediaType.IsImage() {
					m["config"], m["layers"] = object{"digest": d.String(), "mediaType": types.OCIConfigJSON, "size": 1}, []object{}
				}
				m[field] = ref
				if field == "layers" || field == "manifests" || field == "blobs" {
					m[field] = []object{ref}
				}
				raw, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, target, bytes.NewReader(raw))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", string(mediaType))
				resp, err := http.DefaultClient.Do(req)
				clientError(t, string(raw[:min(len(raw), 400)]), resp, err)
			}
		}
	}
	config := func(digest string) object { return object{"digest": digest, "size": 1} }
	for want, m := range map[string]object{
		"DIGEST_INVALID":        {"config": config("md5:d41d8cd98f00b204e9800998ecf8427e"), "layers": []object{}},
		"MANIFEST_BLOB_UNKNOWN": {"config": config(digest.FromString("n").String()), "layers": []object{}},
		"MANIFEST_INVALID": {"config": config(d.String()), "layers": []object{
			{"digest": d.String(), "mediaType": types.OCIUncompressedLayer, "urls": []string{"ftp://a/b"}}}},
	} {
		m["schemaVersion"], m["mediaType"] = 2, types.OCIManifestSchema1
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		header := map[string]string{"Content-Type": string(types.OCIManifestSchema1)}
		if status, text := request(t, http.MethodPut, target, bytes.NewReader(raw), header); status < 400 || status > 404 ||
			!strings.Contains(text, want) {
			t.Errorf("%s: status %d, %s", want, status, text)
		}
	}
	registrytest.MustPull(t, s.Host(), "HOST/kolla/base:t", d)
}
