package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/apt"
	"github.com/kolla-build/kolla-build/internal/httpget"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/usererr"
)

// mirrorSchemes are the schemes of archives that both apt and this package read.
var mirrorSchemes = []string{"http", "https", "file", "copy"}

func isMirrorURL(u string) bool {
	return slices.ContainsFunc(mirrorSchemes, func(s string) bool { return strings.HasPrefix(u, s+":/") })
}

// CheckMirror returns an error for what is no URL of a mirror. "" is the default mirror.
func CheckMirror(mirror string) error {
	// apt reads lines of the form "deb [OPTIONS] URI SUITE COMPONENT…".
	if mirror == "" || isMirrorURL(mirror) && !strings.ContainsAny(mirror, " \t\r\n[]") {
		return nil
	}
	return usererr.Errorf("such as http://HOST/debian; the schemes are "+strings.Join(mirrorSchemes, ", "),
		"mirror %q is not a URL", redact.URL(mirror))
}

// knownSuites are for suggestions only: any suite of a mirror works.
var knownSuites = map[string][]string{
	"debian": {"bullseye", "bookworm", "trixie", "forky", "sid"},
	"ubuntu": {"focal", "jammy", "noble", "questing", "resolute"},
}

// archive is where the packages of an image come from.
type archive struct {
	sources []packageSource // the suite itself first
	release release         // of the suite itself
	keyring string          // from the configuration of the host; may be ""
}

type packageSource struct {
	uri   string // may contain credentials
	suite string
}

// release is the content of the release file of a suite. Its signature is verified
// by apt before anything is unpacked.
type release struct {
	date       time.Time
	arches     []string
	components []string
}

// errNoSuite reports that a mirror works and does not have the suite.
var errNoSuite = errors.New("no such suite")

// findArchive decides on mirrors and suites, and reads the release file of the suite.
func findArchive(ctx context.Context, opts *Options) (archive, error) {
	var a archive
	mirror, security := opts.Mirror, opts.SecurityMirror
	if mirror == "" {
		host, ok := hostArchive(opts)
		if !ok {
			distro, _ := hostRelease(opts.Root)
			if distro == "" {
				distro = "unknown distribution"
			}
			return a, usererr.Errorf("set one with --base-mirror URL: the directory that contains dists/"+opts.Suite,
				"no package mirror of %s is known: apt on this host (%s) has none", opts.Distro, distro)
		}
		mirror, a.keyring = host.main, host.keyring
		if security == "" {
			security = host.security
		}
	}
	r, err := readRelease(ctx, mirror, opts.Suite)
	if errors.Is(err, errNoSuite) {
		return a, unknownSuite(ctx, opts, mirror)
	}
	if err != nil {
		return a, err
	}
	if len(r.arches) > 0 && !slices.Contains(r.arches, opts.Arch) {
		return a, usererr.Errorf("it has "+strings.Join(r.arches, ", "), "%s %s has no architecture %q",
			redact.URL(mirror), opts.Suite, opts.Arch)
	}
	for _, c := range opts.Components {
		if len(r.components) > 0 && !slices.Contains(r.components, c) {
			return a, usererr.Errorf("it has "+strings.Join(r.components, ", "), "%s %s has no component %q",
				redact.URL(mirror), opts.Suite, c)
		}
	}
	a.release = r
	a.sources = []packageSource{{mirror, opts.Suite}}
	if security == "" {
		security = mirror
	}
	for _, s := range []packageSource{{mirror, opts.Suite + "-updates"}, {security, opts.Suite + "-security"}} {
		switch _, err := readRelease(ctx, s.uri, s.suite); {
		case errors.Is(err, errNoSuite):
			opts.say("%s has no %s: continuing without it", redact.URL(s.uri), s.suite)
		case err != nil:
			return a, err
		default:
			a.sources = append(a.sources, s)
		}
	}
	return a, nil
}

// unknownSuite returns the error for a suite that a mirror does not have, with the
// suites that it has.
func unknownSuite(ctx context.Context, opts *Options, mirror string) error {
	var available []string
	for _, s := range knownSuites[opts.Distro] {
		if _, err := readRelease(ctx, mirror, s); err == nil {
			available = append(available, s)
		}
	}
	hint := "it has " + strings.Join(available, ", ")
	if near := suggest.DidYouMean(opts.Suite, available); near != "" {
		hint += "; " + near
	}
	if len(available) == 0 {
		hint = "it has no other known suite of " + opts.Distro +
			" either: --base-mirror URL is the directory that contains dists/"
	}
	return usererr.Errorf(hint, "%s has no suite %q", redact.URL(mirror), opts.Suite)
}

// maxRelease limits the size of a release file. Real ones have 200 kB.
const maxRelease = 16 << 20

// readRelease reads the release file of a suite. The error is errNoSuite if the mirror
// does not have the suite, and a *MirrorError if it cannot be reached.
func readRelease(ctx context.Context, mirror, suite string) (release, error) {
	for _, file := range []string{"InRelease", "Release"} {
		b, err := readFromMirror(ctx, mirror, "dists/"+suite+"/"+file)
		if errors.Is(err, errNoSuite) {
			continue
		}
		if err != nil {
			return release{}, err
		}
		return parseRelease(mirror, suite, string(b))
	}
	return release{}, errNoSuite
}

// parseRelease reads a release file. In its signed form, the paragraph with the date
// is between others.
func parseRelease(mirror, suite, text string) (release, error) {
	var found release
	apt.Paragraphs([]byte(text), []string{"architectures", "components"}, func(p apt.Paragraph) {
		for _, layout := range []string{"Mon, 2 Jan 2006 15:04:05 MST", time.RFC1123Z, time.RFC1123} {
			if t, err := time.Parse(layout, p["date"]); err == nil && found.date.IsZero() {
				found = release{
					date:       t.UTC(),
					arches:     strings.Fields(p["architectures"]),
					components: lastElements(p["components"]),
				}
			}
		}
	})
	if found.date.IsZero() {
		return found, usererr.Errorf("it is not a package archive, or a proxy answered in its place",
			"%s/dists/%s has a release file without a date", redact.URL(mirror), suite)
	}
	return found, nil
}

// lastElements returns the last element of each component, because Debian's security
// archive used to have "updates/main" for "main".
func lastElements(s string) []string {
	f := strings.Fields(s)
	for i := range f {
		f[i] = f[i][strings.LastIndexByte(f[i], '/')+1:]
	}
	return f
}

// MirrorError reports that a package mirror cannot be reached.
type MirrorError struct {
	URL  string // without credentials
	Host string // "host NAME, port N", or "" for a directory
	Err  error
}

// Error implements error.
func (e *MirrorError) Error() string {
	s := "package mirror " + e.URL
	if e.Host != "" {
		s += " (" + e.Host + ")"
	}
	return s + " cannot be reached: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *MirrorError) Unwrap() error { return e.Err }

// Hint returns a hint for the user.
func (e *MirrorError) Hint() string {
	if retry.OfProxy(e.Err) {
		return retry.ProxyHint
	}
	return "use another mirror with --base-mirror URL"
}

// mirrorClient reads release files.
var mirrorClient = httpget.Client{Stall: 30 * time.Second, Retry: retry.Policy{Retries: 2, MaxElapsed: time.Minute}}

// readFromMirror reads a file of a mirror. A file that does not exist is errNoSuite.
func readFromMirror(ctx context.Context, mirror, path string) ([]byte, error) {
	u, err := url.Parse(mirror + "/" + path)
	if err != nil {
		return nil, fmt.Errorf("mirror %q is not a URL", redact.URL(mirror))
	}
	if u.Scheme == "file" || u.Scheme == "copy" {
		b, err := inputfile.ReadRegular(filepath.Clean(u.Path), maxRelease)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !isDir(strings.TrimSuffix(u.Path, path)):
			return nil, &MirrorError{URL: mirror, Err: errors.New("no such directory")}
		case errors.Is(err, fs.ErrNotExist):
			return nil, errNoSuite
		case err != nil:
			return nil, &MirrorError{URL: mirror, Err: err}
		}
		return b, nil
	}
	resp, err := mirrorClient.Get(ctx, u.String(), httpget.Validators{}, maxRelease)
	switch {
	case errors.Is(err, httpget.ErrNotFound):
		return nil, errNoSuite
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, &MirrorError{URL: redact.URL(mirror), Host: hostAndPort(u), Err: err}
	}
	return resp.Body, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func hostAndPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return "host " + u.Hostname() + ", port " + port
}

// withoutLogin removes the credentials from the URL of a mirror, for the image.
func withoutLogin(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return s
	}
	u.User = nil
	return u.String()
}
