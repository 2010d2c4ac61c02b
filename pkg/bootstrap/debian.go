package bootstrap

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// debianImage makes the layer and the configuration of a bootstrapped image.
type debianImage struct {
	opts    Options
	archive archive
	keyring string // on the host
}

// Labels of bootstrapped images. Child images inherit them, so they describe only the
// origin of the base image.
const (
	labelDistro = "io.kolla-build.base.distro"
	labelSuite  = "io.kolla-build.base.suite"
	labelMirror = "io.kolla-build.base.mirror"
)

func (b debianImage) config() func() ocispec.Image {
	return func() ocispec.Image {
		arch, variant := goArch(b.opts.Arch)
		created := b.archive.release.date
		return ocispec.Image{
			Created:  &created,
			Platform: ocispec.Platform{OS: "linux", Architecture: arch, Variant: variant},
			Config: ocispec.ImageConfig{
				Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
				Cmd: []string{"bash"},
				Labels: map[string]string{
					labelDistro: b.opts.Distro, labelSuite: b.opts.Suite, labelMirror: withoutLogin(b.archive.sources[0].uri),
				},
			},
			History: []ocispec.History{{Created: &created,
				CreatedBy: "mmdebstrap --variant=minbase " + b.opts.Suite + " " + withoutLogin(b.archive.sources[0].uri)}},
		}
	}
}

// write runs mmdebstrap and writes the layer: its files, except those of the host and
// of apt's working state, and our configuration.
func (b debianImage) write(ctx context.Context, w io.Writer) error {
	key, err := inputfile.ReadRegular(b.keyring, maxRelease)
	if err != nil {
		return fmt.Errorf("reading the keyring: %w", err)
	}
	p := newRepacker(w)
	p.skip = b.isLeftOut
	if err := b.run(ctx, func(r io.Reader) error { return p.copy(ctx, r) }); err != nil {
		return err
	}
	if err := p.addDir("dev/", b.archive.release.date); err != nil {
		return err
	}
	for _, f := range b.files(p, key) {
		if err := p.add(f.name, f.mode, b.archive.release.date, []byte(f.content)); err != nil {
			return err
		}
	}
	return p.tw.Close()
}

// isLeftOut reports whether a file does not become part of the layer.
func (b debianImage) isLeftOut(name string) bool {
	switch name {
	case "etc/resolv.conf", "etc/hostname", // of the host
		"etc/apt/sources.list", "etc/apt/apt.conf.d/99mmdebstrap", // of the bootstrap only
		"usr/sbin/policy-rc.d",
		"var/cache/ldconfig/aux-cache", "var/log/dpkg.log", "var/log/alternatives.log", "var/log/bootstrap.log":
		return true
	}
	for _, f := range staticFiles {
		if f.name == name {
			return true
		}
	}
	return isDocumentation(name) || strings.HasPrefix(name, "var/lib/apt/lists/") ||
		strings.HasPrefix(name, "var/cache/apt/") ||
		strings.HasPrefix(name, "var/log/apt/") || strings.HasPrefix(name, "dev/") || name == b.sourcesFile()
}

// documentation are the directories of files that images do not need. Packages that are
// installed later leave them out, too.
var documentation = []string{"usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/groff", "usr/share/lintian",
	"usr/share/locale"}

// isDocumentation reports whether a file is documentation or a translation. Licenses are
// neither, nor are links of a package to the directory of another one with its license.
func isDocumentation(name string) bool {
	return path.Base(name) != "copyright" && path.Dir(name) != "usr/share/doc" &&
		slices.ContainsFunc(documentation, func(dir string) bool { return strings.HasPrefix(name, dir+"/") })
}

// dpkgExcludes returns dpkg's configuration for isDocumentation. Because of the rule for
// copyright files, dpkg also keeps directories and links in usr/share/doc.
func dpkgExcludes() string {
	var text strings.Builder
	for _, dir := range documentation {
		fmt.Fprintf(&text, "path-exclude /%s/*\n", dir)
	}
	return text.String() + "path-include /usr/share/doc/*/copyright\n"
}

type file struct {
	name    string
	mode    int64
	content string
}

// staticFiles make a minimal system a base for images.
var staticFiles = []file{
	{"etc/apt/apt.conf.d/90kolla-build", 0o644, `// Settings for building images.
// Downloaded packages stay in /var/cache/apt/archives: a build mounts a cache
// there. Without such a mount, run apt-get clean at the end of a RUN.
APT::Keep-Downloaded-Packages "true";
Binary::apt::APT::Keep-Downloaded-Packages "true";
// Descriptions in other languages cost time and space in every build.
Acquire::Languages "none";
Acquire::GzipIndexes "true";
// So that "apt-get purge --auto-remove" removes everything that an install added.
APT::AutoRemove::SuggestsImportant "false";
`},
	{"etc/dpkg/dpkg.cfg.d/00kolla-build", 0o644,
		`# The result of an interrupted build is discarded, so files need not be flushed.
force-unsafe-io
# Images need no documentation and no translations. Licenses are kept.
` + dpkgExcludes()},
	{"usr/sbin/policy-rc.d", 0o755, `#!/bin/sh
# No service starts while packages are installed into an image.
exit 101
`},
}

func (b debianImage) files(p *repacker, key []byte) []file {
	signedBy := ""
	var out []file
	for _, f := range keyrings[b.opts.Distro].files {
		if b.opts.Keyring == "" && p.seen[strings.TrimPrefix(f, "/")] != 0 {
			signedBy = f
			break
		}
	}
	if signedBy == "" {
		// The image does not have these keys. apt decides by the extension: .asc is
		// text.
		ext := ".gpg"
		if strings.HasPrefix(string(key), "-----BEGIN PGP") {
			ext = ".asc"
		}
		signedBy = "/etc/apt/keyrings/kolla-build-base" + ext
		out = append(out, file{signedBy[1:], 0o644, string(key)})
	}
	out = append(out, file{b.sourcesFile(), 0o644, b.sourcesText(signedBy)})
	return append(out, staticFiles...)
}

// oneLineSuites are the releases whose official images have the sources of apt in the
// old format; templates edit them there.
var oneLineSuites = []string{"stretch", "buster", "bullseye", "xenial", "bionic", "focal", "jammy"}

func (b debianImage) oneLine() bool {
	return slices.Contains(oneLineSuites, b.opts.Suite)
}

func (b debianImage) sourcesFile() string {
	if b.oneLine() {
		return "etc/apt/sources.list"
	}
	return path.Join("etc/apt/sources.list.d", b.opts.Distro+".sources")
}

func (b debianImage) sourcesText(signedBy string) string {
	var s strings.Builder
	components := strings.Join(b.opts.Components, " ")
	if b.oneLine() {
		for _, src := range b.archive.sources {
			fmt.Fprintf(&s, "deb [signed-by=%s] %s %s %s\n", signedBy, withoutLogin(src.uri), src.suite, components)
		}
		return s.String()
	}
	// A paragraph per archive, with its suites on one line.
	var uris []string
	suites := map[string][]string{}
	for _, src := range b.archive.sources {
		u := withoutLogin(src.uri)
		if suites[u] == nil {
			uris = append(uris, u)
		}
		suites[u] = append(suites[u], src.suite)
	}
	for i, u := range uris {
		if i > 0 {
			s.WriteByte('\n')
		}
		fmt.Fprintf(&s, "Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n", u,
			strings.Join(suites[u], " "), components, signedBy)
	}
	return s.String()
}

// command returns mmdebstrap with its arguments. The sources come from standard input
// ("-"), because all users of a machine can read arguments.
func (b debianImage) command() []string {
	args := []string{
		"mmdebstrap", "--mode=auto", "--variant=minbase", "--format=tar", "--architectures=" + b.opts.Arch,
		"--skip=output/dev", // containers have their own
		`--aptopt=Acquire::Languages "none"`,
		// A dropped connection must not fail the whole run.
		`--aptopt=Acquire::Retries "3"`,
	}
	for _, o := range b.opts.AptOptions {
		args = append(args, "--aptopt="+o)
	}
	if len(b.opts.Packages) > 0 {
		args = append(args, "--include="+strings.Join(b.opts.Packages, ","))
	}
	return append(args, b.opts.Suite, "-", "-")
}

// aptSources returns the package sources for the bootstrap.
func (b debianImage) aptSources() string {
	var s strings.Builder
	for _, src := range b.archive.sources {
		// Without signed-by, apt would accept any key that this host trusts.
		fmt.Fprintf(&s, "deb [signed-by=%s] %s %s %s\n", b.keyring, src.uri, src.suite, strings.Join(b.opts.Components, " "))
	}
	return s.String()
}
