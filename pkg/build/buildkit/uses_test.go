package buildkit

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Options for building are in the steps, and in neither key nor config.
func TestNamespaceAndEpochAreInTheLLBAlone(t *testing.T) {
	d := Dockerfile{Name: "base", Reference: "kolla/base:t", Path: "f",
		Content: []byte("FROM debian:trixie\nRUN --mount=type=cache,id=apt,target=/var/cache/apt apt-get install -y a\n")}
	plain := convert(t, converter(), d)
	c := converter()
	c.opts.CacheNamespace, c.opts.Epoch, c.opts.NoCache, c.opts.PackageCache = "refresh-1",
		time.Unix(1234, 0), true, "debian"
	building := convert(t, c, d)
	keyed := converter()
	keyed.opts = c.opts
	keyed.opts.ForKeys = true
	if convert(t, keyed, d).Key != plain.Key || string(building.Config) != string(plain.Config) {
		t.Error("it is in the key or in the image's config")
	}
	step := execs(t, building.LLB)[0]
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
	if a, b := id(plain), id(building); a == b || !strings.Contains(b, "refresh-1") {
		t.Errorf("the cache mount is %q, and %q in a namespace", a, b)
	}
	if len(plain.Base) == 0 {
		t.Error("the definition lacks the config of its base image")
	}
}
