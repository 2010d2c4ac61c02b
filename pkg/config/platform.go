package config

import (
	"maps"

	"github.com/kolla-build/kolla-build/pkg/facts"
)

// ForPlatform returns the configuration for one platform, OS/ARCH[/VARIANT], with arch
// as its ARCH. --platform is set to that platform, and base_arch and debian_arch are
// derived from it unless the user has set them, including where other values refer to
// them.
func (c *Config) ForPlatform(platform, arch string) *Config {
	out, r := *c, *c.resolver
	r.values, r.active = map[*Option]resolved{}, nil
	r.fixed = maps.Clone(r.fixed)
	if r.fixed == nil {
		r.fixed = map[*Option]any{}
	}
	fix := func(name string, field *string, value string) {
		*field = value
		r.fixed[Lookup(name)] = value
	}
	fix("platform", &out.Platform, platform)
	if base, debian, ok := facts.ArchNames(arch); ok && !c.IsSet("base-arch") {
		fix("base-arch", &out.BaseArch, base)
		if !c.IsSet("debian-arch") {
			fix("debian-arch", &out.DebianArch, debian)
		}
	}
	out.resolver = &r
	return &out
}
