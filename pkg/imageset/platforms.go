package imageset

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/facts"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Platforms returns the platforms of --platform in their order, each once. Without it,
// that is the architecture of the configuration.
func Platforms(cfg *config.Config) ([]ocispecs.Platform, error) {
	if cfg.Platform == "" {
		return []ocispecs.Platform{{OS: "linux", Architecture: cfg.DebianArch}}, nil
	}
	var out []ocispecs.Platform
	for text := range strings.SplitSeq(cfg.Platform, ",") {
		text = strings.TrimSpace(text)
		p, err := platforms.Parse(text)
		_, _, known := facts.ArchNames(p.Architecture)
		switch {
		case err != nil || !strings.Contains(text, "/") || !known:
			if near := nearPlatform(text); near != "" {
				return nil, cfg.Mistake("platform", "did you mean "+near+"?", fmt.Sprintf("%q is not a platform", text))
			}
			return nil, cfg.Mistake("platform", "write OS/ARCH, several separated by commas: --platform linux/amd64,linux/arm64",
				fmt.Sprintf("%q is not a platform", text))
		case p.OS != "linux":
			return nil, cfg.Mistake("platform", "write linux/"+p.Architecture, "OpenStack's images are Linux images")
		}
		if p = platforms.Normalize(p); !slices.ContainsFunc(out,
			func(o ocispecs.Platform) bool { return platforms.Format(o) == platforms.Format(p) }) {
			out = append(out, p)
		}
	}
	for _, name := range []string{"base-arch", "debian-arch"} {
		if len(out) > 1 && cfg.IsSet(name) {
			return nil, cfg.Mistake("platform", "omit --"+name+", which follows from the platform",
				fmt.Sprintf("--%s cannot be right for all of them", name))
		}
	}
	return out, nil
}

// nearPlatform returns the platform that a wrong one may mean, such as linux/arm64 for arm64 or
// aarch64, "" if there is none.
func nearPlatform(text string) string {
	arch := platforms.Normalize(ocispecs.Platform{OS: "linux", Architecture: text[strings.LastIndexByte(text, '/')+1:]}).
		Architecture
	for _, known := range []string{"amd64", "arm64"} {
		if arch == known || suggest.Nearest(arch, []string{known}) != "" {
			return "linux/" + known
		}
	}
	return ""
}

// ForPlatform returns the configuration for one of its platforms. Without
// --platform it is the configuration itself.
func ForPlatform(cfg *config.Config, p ocispecs.Platform) *config.Config {
	if cfg.Platform == "" {
		return cfg
	}
	return cfg.ForPlatform(platforms.Format(p), p.Architecture)
}
