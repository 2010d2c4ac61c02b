package bootstrap

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Options configure a bootstrap.
type Options struct {
	Distro string // "debian" or "ubuntu"
	Suite  string // such as "trixie" or "noble"

	// Name is the name of the image in the store; "" means DISTRO:SUITE.
	Name string
	// Arch is the Debian name of the architecture; "" means that of this machine.
	Arch string
	// Mirror is the URL of the archive: the directory that contains dists/. ""
	// means that of apt on this host, if it runs the same Distro. Credentials in it
	// are used but do not become part of the image.
	Mirror string
	// SecurityMirror is the archive of SUITE-security. "" means that of the host if
	// Mirror is also the host's, and otherwise Mirror, if it has that suite.
	SecurityMirror string
	// Components of the archive; none means those of the official images: main for
	// Debian, main and universe for Ubuntu.
	Components []string
	// Keyring is the file with the keys of the archive; "" means the file of the
	// distribution on this host.
	Keyring string
	// Packages are installed in addition to the minimal ones.
	Packages []string
	// AptOptions are lines of apt's configuration for the bootstrap only, such as
	// `Acquire::Check-Valid-Until "false";` for a mirror that is no longer updated.
	AptOptions []string
	// Progress receives a line of text for each step; may be nil.
	Progress io.Writer
	// Root is the file system of the host with its apt configuration and keyrings;
	// "" means "/".
	Root string
}

// debianArch has the Debian names of Go's architectures.
var debianArch = map[string]string{
	"amd64": "amd64", "arm64": "arm64", "386": "i386", "arm": "armhf", "ppc64le": "ppc64el",
	"s390x": "s390x", "riscv64": "riscv64", "mips64le": "mips64el", "loong64": "loong64",
}

func goArch(deb string) (arch, variant string) {
	for g, d := range debianArch {
		if d == deb {
			if g == "arm" {
				return g, "v7"
			}
			return g, ""
		}
	}
	return deb, ""
}

// Bootstrap makes a minimal image from a package mirror and puts it into the store
// under its name. It downloads and unpacks about 150 packages. If a mirror cannot be
// reached, the error is a *MirrorError.
func Bootstrap(ctx context.Context, st *store.Store, opts Options) (store.Entry, error) {
	e, err := bootstrap(ctx, st, opts)
	if err != nil {
		return e, fmt.Errorf("bootstrapping %s:%s: %w", opts.Distro, opts.Suite, err)
	}
	return e, nil
}

func bootstrap(ctx context.Context, st *store.Store, opts Options) (store.Entry, error) {
	var none store.Entry
	if err := opts.complete(); err != nil {
		return none, err
	}
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		return none, usererr.Errorf("apt-get install mmdebstrap", "mmdebstrap is not installed")
	}
	if err := checkSpace(st.Dir()); err != nil {
		return none, err
	}
	a, err := findArchive(ctx, &opts)
	if err != nil {
		return none, err
	}
	keyring, err := findKeyring(opts, a)
	if err != nil {
		return none, err
	}
	for _, s := range a.sources {
		opts.say("using %s %s", redact.URL(s.uri), s.suite)
	}
	created := a.release.date
	opts.say("the release file of %s is from %s", opts.Suite, created.UTC().Format(time.RFC3339))

	build := debianImage{opts: opts, archive: a, keyring: keyring}
	d, err := writeSingleLayer(ctx, st, build.config(), func(w io.Writer) error { return build.write(ctx, w) })
	if err != nil {
		return none, err
	}
	entry := store.Entry{Name: opts.Name, Digest: d, Kind: store.KindBase, Created: created,
		Origin: "bootstrap " + withoutLogin(a.sources[0].uri) + " " + opts.Suite}
	if err := st.Put(entry); err != nil {
		return none, err
	}
	entry, _, err = st.Lookup(opts.Name)
	opts.say("%s is %s, %s", entry.Name, entry.Digest, units.Bytes(entry.Size))
	return entry, err
}

// complete sets defaults and refuses invalid options.
func (o *Options) complete() error {
	if o.Distro != "debian" && o.Distro != "ubuntu" {
		return usererr.Errorf(
			"debian and ubuntu can; for others, use an image, an OCI layout or a root file system as --base-image",
			"distribution %q cannot be bootstrapped", o.Distro)
	}
	if o.Suite == "" {
		return usererr.Errorf("such as "+strings.Join(knownSuites[o.Distro], ", "), "no suite")
	}
	if strings.ContainsAny(o.Suite, "/ \t\n'\"\\") || strings.HasPrefix(o.Suite, "-") || strings.HasPrefix(o.Suite, ".") {
		return fmt.Errorf("%q is not the name of a suite", o.Suite)
	}
	for _, c := range o.Components {
		if c == "" || strings.ContainsAny(c, " \t\r\n[]") {
			return fmt.Errorf("%q is not the name of a component", c)
		}
	}
	for _, p := range o.Packages {
		if strings.HasPrefix(p, "-") || strings.ContainsAny(p, " \t\n'\"\\") {
			return fmt.Errorf("%q is not the name of a package", p)
		}
	}
	if o.Name == "" {
		o.Name = o.Distro + ":" + o.Suite
	}
	if o.Arch == "" {
		o.Arch = debianArch[runtime.GOARCH]
	}
	if o.Root == "" {
		o.Root = "/"
	}
	if len(o.Components) == 0 {
		o.Components = []string{"main"}
		if o.Distro == "ubuntu" {
			o.Components = []string{"main", "universe"}
		}
	}
	for _, m := range []*string{&o.Mirror, &o.SecurityMirror} {
		*m = strings.TrimRight(*m, "/")
		if err := CheckMirror(*m); err != nil {
			return err
		}
	}
	return nil
}

func (o *Options) say(format string, args ...any) {
	if o.Progress != nil {
		fmt.Fprintf(o.Progress, format+"\n", args...)
	}
}
