package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"
)

// mirrorSchemes are the kinds of archives that both apt and this package read.
var mirrorSchemes = []string{"http", "https", "file", "copy"}

// knownSuites are for suggestions only: any suite that a mirror has will do.
var knownSuites = map[string][]string{
	"debian": {"bullseye", "bookworm", "trixie", "forky", "sid"},
	"ubuntu": {"focal", "jammy", "noble", "questing", "resolute"},
}

// archive is where the packages of an image come from.
type archive struct {
	sources []packageSource // the suite itself first
	release release         // of the suite itself
	keyring string          // as the host's configuration names it, may be ""
}

type packageSource struct {
	uri   string // may hold user and password
	suite string
}

// release is what the signed file of a suite says. The signature is apt's to
// check, before anything is unpacked.
type release struct {
	date       time.Time
	arches     []string
	components []string
}

// findArchive decides on mirrors and suites, and reads the suite's release file.
func findArchive(ctx context.Context, opts *Options) (archive, error) {
	var a archive
	security := opts.SecurityMirror
	main := opts.Mirror
	if main == "" {
		host, ok := hostArchive(opts)
		if !ok {
			distro, _ := hostRelease(opts.Root)
			return a, &Error{
				Detail: fmt.Sprintf("no package mirror of %s is known: apt on this host (%s) has none", opts.Distro, orUnknown(distro)),
				Hint:   "give one with --mirror URL: the directory that holds dists/" + opts.Suite,
			}
		}
		main, a.keyring = host.main, host.keyring
		if security == "" {
			security = host.security
		}
	}
	r, err := readRelease(ctx, main, opts.Suite)
	if errors.Is(err, errAbsent) {
		return a, unknownSuite(ctx, opts, main)
	}
	if err != nil {
		return a, err
	}
	if len(r.arches) > 0 && !slices.Contains(r.arches, opts.Arch) {
		return a, &Error{Detail: fmt.Sprintf("%s %s has no architecture %q", withoutUser(main), opts.Suite, opts.Arch),
			Hint: "it has " + strings.Join(r.arches, ", ")}
	}
	for _, c := range opts.Components {
		if len(r.components) > 0 && !slices.Contains(r.components, c) {
			return a, &Error{Detail: fmt.Sprintf("%s %s has no component %q", withoutUser(main), opts.Suite, c),
				Hint: "it has " + strings.Join(r.components, ", ")}
		}
	}
	a.release = r
	a.sources = []packageSource{{main, opts.Suite}}
	if security == "" {
		security = main
	}
	for _, s := range []packageSource{{main, opts.Suite + "-updates"}, {security, opts.Suite + "-security"}} {
		switch _, err := readRelease(ctx, s.uri, s.suite); {
		case errors.Is(err, errAbsent):
			opts.say("%s has no %s: going on without it", withoutUser(s.uri), s.suite)
		case err != nil:
			return a, err
		default:
			a.sources = append(a.sources, s)
		}
	}
	return a, nil
}

func orUnknown(s string) string {
	if s == "" {
		return "of an unknown distribution"
	}
	return s
}

type hostMirrors struct{ main, security, keyring string }

// hostArchive finds the mirrors that apt on this host uses for its own release.
func hostArchive(opts *Options) (hostMirrors, bool) {
	var m hostMirrors
	distro, codename := hostRelease(opts.Root)
	if distro != opts.Distro {
		return m, false
	}
	// A host that follows a class rather than a release names it so.
	own := []string{codename, "stable", "oldstable", "testing", "unstable", "sid"}
	for _, s := range hostSources(opts.Root) {
		if !slices.Contains(s.components, "main") {
			continue
		}
		for _, suite := range s.suites {
			base, isSecurity := strings.CutSuffix(suite, "-security")
			if base == "" || !slices.Contains(own, base) {
				continue
			}
			if isSecurity && m.security == "" {
				m.security = s.uris[0]
			}
			if !isSecurity && m.main == "" {
				m.main, m.keyring = s.uris[0], s.signedBy
			}
		}
	}
	return m, m.main != ""
}

// unknownSuite names suites that the user may have meant.
func unknownSuite(ctx context.Context, opts *Options, mirror string) error {
	var here []string
	for _, s := range knownSuites[opts.Distro] {
		if _, err := readRelease(ctx, mirror, s); err == nil {
			here = append(here, s)
		}
	}
	e := &Error{Detail: fmt.Sprintf("%s has no suite %q", withoutUser(mirror), opts.Suite)}
	sort.SliceStable(here, func(i, j int) bool { return distance(here[i], opts.Suite) < distance(here[j], opts.Suite) })
	switch {
	case len(here) == 0:
		e.Hint = "nor any other of " + opts.Distro + " that is known; --mirror URL is the directory that holds dists/"
	case distance(here[0], opts.Suite) <= 1+len(opts.Suite)/3:
		e.Hint = fmt.Sprintf("did you mean %q? It has %s", here[0], strings.Join(here, ", "))
	default:
		e.Hint = "it has " + strings.Join(here, ", ")
	}
	return e
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// maxRelease bounds the release file; real ones have 200 kB.
const maxRelease = 16 << 20

// readRelease reads the release file of a suite: errAbsent if the mirror
// answers and has none, *MirrorError if it does not answer.
func readRelease(ctx context.Context, mirror, suite string) (release, error) {
	for _, file := range []string{"InRelease", "Release"} {
		b, err := fetch(ctx, mirror, "dists/"+suite+"/"+file)
		if errors.Is(err, errAbsent) {
			continue
		}
		if err != nil {
			return release{}, err
		}
		return parseRelease(mirror, suite, string(b))
	}
	return release{}, errAbsent
}

func parseRelease(mirror, suite, text string) (release, error) {
	// The clear-signed form has a header and blank lines around the paragraph;
	// the paragraph is the one that has a date.
	for _, p := range paragraphs(text) {
		date := p["date"]
		if date == "" {
			continue
		}
		for _, layout := range []string{"Mon, 2 Jan 2006 15:04:05 MST", time.RFC1123Z, time.RFC1123} {
			if t, err := time.Parse(layout, date); err == nil {
				return release{date: t.UTC(), arches: strings.Fields(p["architectures"]), components: lastParts(p["components"])}, nil
			}
		}
	}
	return release{}, &Error{Detail: fmt.Sprintf("%s/dists/%s has a release file without a date", withoutUser(mirror), suite),
		Hint: "it is no package archive, or something between answers in its place"}
}

// lastParts takes "updates/main" for "main", as the security archive once wrote it.
func lastParts(s string) []string {
	f := strings.Fields(s)
	for i := range f {
		f[i] = f[i][strings.LastIndexByte(f[i], '/')+1:]
	}
	return f
}

func fetch(ctx context.Context, mirror, path string) ([]byte, error) {
	u, err := url.Parse(mirror + "/" + path)
	if err != nil {
		return nil, &Error{Detail: fmt.Sprintf("mirror %q is no URL", withoutUser(mirror))}
	}
	if u.Scheme == "file" || u.Scheme == "copy" {
		b, err := os.ReadFile(filepath.Clean(u.Path))
		switch {
		case errors.Is(err, fs.ErrNotExist) && !isDir(strings.TrimSuffix(u.Path, path)):
			return nil, &MirrorError{URL: mirror, Err: errors.New("there is no such directory")}
		case errors.Is(err, fs.ErrNotExist):
			return nil, errAbsent
		case err != nil:
			return nil, &MirrorError{URL: mirror, Err: err}
		}
		return b, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, &Error{Detail: fmt.Sprintf("mirror %q is no URL", withoutUser(mirror))}
	}
	unreachable := func(err error) error {
		// The client's error repeats the URL, and with it a password.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return &MirrorError{URL: withoutUser(mirror), Host: hostPort(u), Err: err}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, unreachable(err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden:
		// Object stores answer 403 for what is not there.
		return nil, errAbsent
	default:
		return nil, unreachable(fmt.Errorf("it answers %s for %s", resp.Status, path))
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxRelease))
	if err != nil {
		return nil, unreachable(err)
	}
	return b, nil
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return "host " + u.Hostname() + ", port " + port
}

// withoutUser takes user and password out of a URL, for people and images.
func withoutUser(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return s
	}
	u.User = nil
	return u.String()
}
