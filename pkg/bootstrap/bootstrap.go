package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/pkg/store"
)

// Options say what to bootstrap.
type Options struct {
	Distro string // "debian" or "ubuntu"
	Suite  string // such as "trixie" or "noble"

	// Name is the image's name in the store; "" is DISTRO:SUITE.
	Name string
	// Arch is the architecture as Debian names it; "" is this machine's.
	Arch string
	// Mirror is the archive's URL, the directory that holds dists/. "" takes
	// the one that apt on this host uses, if the host runs the same Distro.
	// A user and password in it are used and do not go into the image.
	Mirror string
	// SecurityMirror is the archive of SUITE-security. "" takes the host's
	// where Mirror is the host's, else Mirror if it has that suite.
	SecurityMirror string
	// Components of the archive; none means main for Debian, main and
	// universe for Ubuntu, as their official images have.
	Components []string
	// Keyring is the file of keys that the archive is signed with; "" is the
	// distribution's on this host.
	Keyring string
	// Packages are installed beside the minimal ones.
	Packages []string
	// AptOptions are lines for apt's configuration while bootstrapping only,
	// such as `Acquire::Check-Valid-Until "false";` for a mirror that stands still.
	AptOptions []string
	// Progress gets a line of text for each thing that happens; nil is nobody.
	Progress io.Writer
	// Root is the host's file system, for its apt configuration and keyrings;
	// "" is "/".
	Root string
}

// debianArch names architectures of Go as Debian does.
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

// Error is a reason why an image cannot be bootstrapped, with what to do.
type Error struct {
	Detail string
	Hint   string
	Err    error
}

func (e *Error) Error() string {
	s := e.Detail
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Bootstrap makes a minimal image from a package mirror and puts it into the
// store under its name. It takes as long as downloading and unpacking some 150
// packages does. Problems of the user's are *Error or *MirrorError.
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
		return none, &Error{Detail: "mmdebstrap is not installed", Hint: "apt-get install mmdebstrap"}
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
		opts.say("using %s %s", withoutUser(s.uri), s.suite)
	}
	created := a.release.date
	opts.say("the release file of %s is of %s", opts.Suite, created.UTC().Format(time.RFC3339))

	build := debianImage{opts: opts, archive: a, keyring: keyring}
	d, err := writeSingleLayer(ctx, st, build.config(), func(w io.Writer) error { return build.write(ctx, w) })
	if err != nil {
		return none, err
	}
	entry := store.Entry{Name: opts.Name, Digest: d, Kind: store.KindBase, Created: created,
		Origin: "bootstrap " + withoutUser(a.sources[0].uri) + " " + opts.Suite}
	if err := st.Put(entry); err != nil {
		return none, err
	}
	entry, _, err = st.Lookup(opts.Name)
	opts.say("%s is %s, %s", entry.Name, entry.Digest, store.Bytes(entry.Size))
	return entry, err
}

// complete fills in defaults and refuses what makes no sense.
func (o *Options) complete() error {
	if o.Distro != "debian" && o.Distro != "ubuntu" {
		return &Error{Detail: fmt.Sprintf("distribution %q cannot be bootstrapped", o.Distro),
			Hint: "debian and ubuntu can; for others give an image, an OCI layout or a root file system as --base-image"}
	}
	if o.Suite == "" {
		return &Error{Detail: "no suite is given", Hint: "known ones are " + strings.Join(knownSuites[o.Distro], ", ")}
	}
	if strings.ContainsAny(o.Suite, "/ \t\n'\"\\") || strings.HasPrefix(o.Suite, "-") || strings.HasPrefix(o.Suite, ".") {
		return &Error{Detail: fmt.Sprintf("%q is no name of a suite", o.Suite)}
	}
	for _, p := range o.Packages {
		if strings.HasPrefix(p, "-") || strings.ContainsAny(p, " \t\n'\"\\") {
			return &Error{Detail: fmt.Sprintf("%q is no name of a package", p)}
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
		if *m != "" && !slices.ContainsFunc(mirrorSchemes, func(s string) bool { return strings.HasPrefix(*m, s+":/") }) {
			return &Error{Detail: fmt.Sprintf("mirror %q is no URL", *m), Hint: "such as http://HOST/debian; " + strings.Join(mirrorSchemes, ", ") + " are known"}
		}
	}
	return nil
}

func (o *Options) say(format string, args ...any) {
	if o.Progress != nil {
		fmt.Fprintf(o.Progress, format+"\n", args...)
	}
}

// MirrorError says that a package mirror cannot be reached or does not answer
// as one.
type MirrorError struct {
	URL  string // without user and password
	Host string // host and port that were tried, "" for a directory
	Err  error
}

func (e *MirrorError) Error() string {
	s := "package mirror " + e.URL
	if e.Host != "" {
		s += " (" + e.Host + ")"
	}
	return s + " cannot be reached: " + e.Err.Error() + " (give one that can with --mirror URL)"
}

func (e *MirrorError) Unwrap() error { return e.Err }

// errAbsent is the answer of a mirror that works and has no such suite.
var errAbsent = errors.New("not there")
