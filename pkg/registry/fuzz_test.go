package registry

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// Any file with logins is read or rejected, and only entries of the registry are found.
func FuzzAuthFile(f *testing.F) {
	f.Add(`{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}},"credHelpers":{"h:1":"x"},"credsStore":"y"}`,
		"docker.io", "library/debian")
	f.Add(`{"auths":{"h:1/a":{"username":"u","password":"s3cret"},"h:1":{"identitytoken":"t"}}}`, "h:1", "a/b")
	f.Add(`{"auths":{"h":{"auth":"s3cret!"}}}`, "h", "a")
	f.Add(`{"auths":["s3cret"`, "h", "a")
	f.Fuzz(func(t *testing.T, text, registry, path string) {
		for _, legacy := range []bool{false, true} {
			file, err := parseAuthFile("file", []byte(text), legacy)
			if err != nil {
				continue
			}
			found, helper, ok := file.find(registry, path)
			if ok && helper == "" && found == (login{}) {
				t.Error("an empty login was found")
			}
			if ok && helper == "" {
				if _, whole := file.entries[registry]; !whole && !hasPrefixEntry(file, registry) {
					t.Errorf("a login of another registry was found for %q", registry)
				}
			}
		}
	})
}

func hasPrefixEntry(f authFile, registry string) bool {
	for name := range f.entries {
		if strings.HasPrefix(name, registry+"/") {
			return true
		}
	}
	return false
}

// Any registries.conf is read or rejected, and gives at least one source.
func FuzzRegistriesConf(f *testing.F) {
	f.Add("[[registry]]\nprefix='docker.io'\nlocation='m:1/x'\n[[registry.mirror]]\nlocation='n:2'", "debian:t")
	f.Add("[[registry]]\nprefix='*.example.org'\nlocation='m:1'", "a.example.org/b:t")
	f.Add("[[registry]]\nprefix=''", "a/b")
	f.Add("credential-helpers=['x']\n[registries.insecure]\nregistries=['a']\n[registries.block]\nregistries=['b']", "a/b")
	f.Fuzz(func(t *testing.T, text, name string) {
		content, err := parseRegistriesConf([]byte(text))
		if err != nil {
			return
		}
		ref, err := imageref.Parse(name)
		if err != nil {
			return
		}
		conf := registriesConf{registries: content.Registry}
		var insecure insecureList
		conf.eachLocation(insecure.add)
		insecure.contains(ref.Registry(), ref.Path())
		if sources, err := conf.sources(ref); err == nil && len(sources) == 0 {
			t.Errorf("%q: no source for %s", text, ref)
		}
	})
}

// Any headers of registries can be read.
func FuzzHeaders(f *testing.F) {
	f.Add(`</v2/a/tags/list?last=t&n=5>; rel="next"`, `Bearer realm="https://t/x",service="s",scope="repository:a:pull"`,
		"repository:a:pull,push")
	f.Add(`<>;next`, `Basic`, ":")
	f.Fuzz(func(t *testing.T, link, authenticate, scopes string) {
		_, _ = nextPage(http.Header{"Link": {link, link + ", " + link}})
		_, _ = (&host{}).challengeOf(&http.Response{StatusCode: http.StatusUnauthorized,
			Header: http.Header{"Www-Authenticate": {authenticate}}})
		if wanted := strings.Join(strings.Fields(scopes), " "); !covers(strings.Fields(scopes), wanted) {
			t.Errorf("scopes %q do not cover themselves", scopes)
		}
	})
}
