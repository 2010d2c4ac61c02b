package render

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// referenceOf returns the full name of an image: [REGISTRY/]NAMESPACE/[PREFIX]NAME:TAG.
func referenceOf(c *config.Config, name string) string {
	return naming(c).Reference(name)
}

func naming(c *config.Config) imageref.Naming {
	return imageref.Naming{Registry: c.Registry, Namespace: c.Namespace, Prefix: c.ImageNamePrefix, Tag: c.Tag}
}

// BaseReference returns the name of the distribution's image, as in FROM lines of
// templates.
func BaseReference(c *config.Config) string { return c.BaseImage + ":" + c.BaseTag }

// variables returns the variables of all templates of a configuration, except for
// image_name. Upstream's create_dockerfiles has the same names and values. Those of earlier
// releases are included, for their trees. Users that do not exist in Kolla's branch
// of the release are included if templates use them, see mentions.
func variables(ctx context.Context, c *config.Config, version string, env map[string]string,
	mentions func(user string) bool) (map[string]any, error) {
	rpmSetup, err := rpmSetup(c)
	if err != nil {
		return nil, err
	}
	release, _ := facts.LookupRelease(c.OpenstackRelease)
	distroRelease := release.DistroRelease(c.Base, c.BaseTag)
	pretty := distroRelease.PrettyName
	if !c.IsSet("base-tag") && c.BaseTag == release.BaseTag(c.Base) {
		pretty = release.DefaultPrettyName(c.Base)
	}
	vars := map[string]any{
		"base_distro":                c.Base,
		"base_image":                 c.BaseImage,
		"base_distro_tag":            c.BaseTag,
		"base_release":               distroRelease.Name,
		"base_arch":                  c.BaseArch,
		"repos_yaml":                 c.ReposYAML,
		"use_dumb_init":              c.UseDumbInit,
		"base_package_type":          c.BasePackageType,
		"debian_arch":                debianArch(c),
		"docker_healthchecks":        c.DockerHealthchecks,
		"supported_distro_name":      pretty,
		"image_prefix":               c.ImageNamePrefix,
		"namespace":                  naming(c).Base(),
		"openstack_release":          c.OpenstackRelease,
		"openstack_release_codename": c.OpenstackReleaseCodename,
		"openstack_branch":           c.OpenstackBranch,
		"openstack_branch_slashed":   c.OpenstackBranchSlashed,
		"tag":                        c.Tag,
		"maintainer":                 c.Maintainer,
		"kolla_version":              version,
		"users":                      users(c, mentions),
		"distro_package_manager":     c.DistroPackageManager,
		"rpm_setup":                  rpmSetup,
		"clean_package_cache":        c.CleanPackageCache,
		"patches_path":               noneIfEmpty(c.PatchesPath),

		"install_type":             c.InstallType,
		"install_metatype":         installMetatype(c.InstallType),
		"infra_image_prefix":       c.ImageNamePrefix,
		"distro_python_version":    distroRelease.Python,
		"supported_distro_release": pretty,
		"build_date":               buildDate(env),
	}
	for name, file := range map[string]string{"include_header": c.IncludeHeader, "include_footer": c.IncludeFooter} {
		content := ""
		if file != "" {
			if content, err = readTextFile(ctx, file); err != nil {
				option := strings.ReplaceAll(name, "_", "-")
				return nil, c.UsageIfUnreadable(option, fmt.Errorf("%s: %w", option, err))
			}
		}
		vars[name] = content
	}
	return vars, nil
}

// buildDate returns the day of SOURCE_DATE_EPOCH or, without it, today. Templates of
// releases until 2026.1 put it into the label build-date, which is not part of an
// image's key.
func buildDate(env map[string]string) string {
	day := time.Now()
	if seconds, err := strconv.ParseInt(env["SOURCE_DATE_EPOCH"], 10, 64); err == nil {
		day = time.Unix(seconds, 0)
	}
	return day.UTC().Format("20060102")
}

// debianArch is derived from the architecture: upstream uses --debian-arch only for the
// names of sources.
func debianArch(c *config.Config) string {
	if name, ok := facts.DebianArchOf(c.BaseArch); ok {
		return name
	}
	return c.BaseArch
}

func noneIfEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func users(c *config.Config, mentions func(string) bool) map[string]any {
	out := make(map[string]any, len(c.Users))
	for name, u := range c.Users {
		if u.Absent && !mentions(name) {
			continue
		}
		out[name] = map[string]any{"uid": noneIfNoID(u.UID), "gid": noneIfNoID(u.GID), "group": noneIfEmpty(u.Group)}
	}
	return out
}

func noneIfNoID(id int) any {
	if id == config.NoID {
		return nil
	}
	return id
}

// installMetatype returns the variable that releases until Yoga derive from the install
// type.
func installMetatype(installType string) string {
	if installType == "binary" {
		return "rdo"
	}
	return "mixed"
}

// rpmSetup returns the Dockerfile lines for the items of rpm_setup_config: packages and
// repository files, by path or URL.
func rpmSetup(c *config.Config) ([]string, error) {
	out := []string{}
	for _, item := range c.RPMSetupConfig {
		switch {
		case strings.HasSuffix(item, ".rpm"):
			out = append(out, "RUN dnf -y install "+item)
		case strings.HasSuffix(item, ".repo") && strings.HasPrefix(item, "http"):
			out = append(out, "RUN curl -L "+item+" -o /etc/yum.repos.d/"+path.Base(item))
		case strings.HasSuffix(item, ".repo"):
			out = append(out, "COPY "+item+" /etc/yum.repos.d/")
		case item == "":
			out = append(out, "")
		default:
			return nil, c.Mistake("rpm_setup_config", "write paths or URLs that end in .rpm or .repo",
				fmt.Sprintf("%q is neither an .rpm nor a .repo file", item))
		}
	}
	return out, nil
}
