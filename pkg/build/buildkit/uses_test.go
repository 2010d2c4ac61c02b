package buildkit

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDownloads(t *testing.T) {
	d := Dockerfile{Content: []byte(`FROM scratch
ARG V=1
ADD https://host/a.tar.gz /a
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://host/pinned /b
ADD https://host/$V/c file /c
ADD https://host/repo.git#stable /d
ADD git@host:x/y.git /e
ADD https://host/repo.git#0123456789012345678901234567890123456789 /f
COPY https /g
`)}
	want := "[{https://host/a.tar.gz false } {https://host/repo.git true stable} {git@host:x/y.git true }]"
	if got := fmt.Sprint(d.Downloads()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What only builds are told is in their steps, and in neither key nor config.
func TestNamespaceAndEpochAreInTheLLBAlone(t *testing.T) {
	d := Dockerfile{Name: "base", Reference: "kolla/base:t", Path: "f", Content: []byte("FROM debian:trixie\nRUN --mount=type=cache,id=apt,target=/var/cache/apt apt-get install -y a\n")}
	plain := convert(t, converter(), d)
	c := converter()
	c.opts.CacheNamespace, c.opts.Epoch, c.opts.NoCache, c.opts.PackageCache = "refresh-1", time.Unix(1234, 0), true, "debian"
	told := convert(t, c, d)
	keyed := converter()
	keyed.opts = c.opts
	keyed.opts.ForKeys = true
	if convert(t, keyed, d).Key != plain.Key || string(told.Config) != string(plain.Config) {
		t.Error("it is in the key or in the image's config")
	}
	step := execs(t, told.LLB)[0]
	if !slices.Contains(step.Meta.Env, "SOURCE_DATE_EPOCH=1234") {
		t.Errorf("the step's environment is %q", step.Meta.Env)
	}
	id := func(def *Definition) string {
		for _, m := range execs(t, def.LLB)[0].Mounts {
			if m.CacheOpt != nil {
				return m.CacheOpt.ID
			}
		}
		return ""
	}
	if a, b := id(plain), id(told); a == b || !strings.Contains(b, "refresh-1") {
		t.Errorf("the cache mount is %q, and %q in a namespace", a, b)
	}
	if len(plain.Base) == 0 {
		t.Error("the definition does not say what its base's config is")
	}
}
