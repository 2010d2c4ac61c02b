package config

import "maps"

// archNames are the names of an architecture in Kolla's templates, which are
// those of the kernel, and in Debian, by the name that OCI platforms have.
var archNames = map[string][2]string{
	"amd64":   {"x86_64", "amd64"},
	"arm64":   {"aarch64", "arm64"},
	"386":     {"i686", "i386"},
	"arm":     {"armv7l", "armhf"},
	"ppc64le": {"ppc64le", "ppc64el"},
	"riscv64": {"riscv64", "riscv64"},
	"s390x":   {"s390x", "s390x"},
}

// ArchNames returns what Kolla (base_arch) and Debian (debian_arch) call an
// architecture of OCI platforms, such as arm64.
func ArchNames(arch string) (baseArch, debianArch string, ok bool) {
	n, ok := archNames[arch]
	return n[0], n[1], ok
}

// DebianArchOf returns Debian's name of an architecture that Kolla calls baseArch.
func DebianArchOf(baseArch string) (string, bool) {
	for _, n := range archNames {
		if n[0] == baseArch {
			return n[1], true
		}
	}
	return "", false
}

// ForPlatform returns the configuration for one platform: its --platform is that,
// and base_arch and debian_arch follow from it where the user has not set them,
// also in values of other options and sections that refer to them. platform is
// OS/ARCH[/VARIANT], arch its ARCH.
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
	if base, debian, ok := ArchNames(arch); ok && !c.IsSet("base-arch") {
		fix("base-arch", &out.BaseArch, base)
		if !c.IsSet("debian-arch") {
			fix("debian-arch", &out.DebianArch, debian)
		}
	}
	out.resolver = &r
	return &out
}
