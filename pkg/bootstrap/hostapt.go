package bootstrap

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/kolla-build/kolla-build/internal/apt"
	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// hostMirrors are the archives that apt on a host uses for the host's release.
type hostMirrors struct{ main, security, keyring string }

// hostArchive finds the archives that apt on this host uses, if the host runs the
// wanted distribution.
func hostArchive(opts *Options) (hostMirrors, bool) {
	var m hostMirrors
	distro, codename := hostRelease(opts.Root)
	if distro != opts.Distro {
		return m, false
	}
	// The sources of a host may name a class of releases instead of a codename.
	suites := []string{codename, "stable", "oldstable", "testing", "unstable", "sid"}
	for _, s := range hostSources(opts.Root) {
		if !slices.Contains(s.Components, "main") {
			continue
		}
		for _, suite := range s.Suites {
			base, isSecurity := strings.CutSuffix(suite, "-security")
			if base == "" || !slices.Contains(suites, base) {
				continue
			}
			if isSecurity && m.security == "" {
				m.security = s.URIs[0]
			}
			if !isSecurity && m.main == "" {
				m.main, m.keyring = s.URIs[0], s.SignedBy
			}
		}
	}
	return m, m.main != ""
}

// hostSources reads the package sources of apt in its order. Unreadable files are
// ignored: this only finds a default, and the caller reports if none was found.
func hostSources(root string) []apt.Source {
	names, _ := fs.Glob(os.DirFS(root), "etc/apt/sources.list.d/*")
	sort.Strings(names)
	var out []apt.Source
	for _, rel := range append([]string{"etc/apt/sources.list"}, names...) {
		if !apt.IsSourcesFile(rel) {
			continue
		}
		n := filepath.Join(root, rel)
		b, err := readHostFile(n)
		if err != nil {
			continue
		}
		for _, s := range apt.ParseSources(n, string(b)) {
			if s.URIs = usableURIs(root, s.URIs); len(s.URIs) > 0 {
				out = append(out, s)
			}
		}
	}
	return out
}

// usableURIs replaces mirror+file:PATH, which Debian's cloud images use, with the first
// mirror in that file, and drops URIs whose scheme is not in mirrorSchemes.
func usableURIs(root string, uris []string) []string {
	var out []string
	for _, u := range uris {
		if path, ok := strings.CutPrefix(u, "mirror+file:"); ok {
			u = firstMirror(filepath.Join(root, filepath.Clean("/"+path)))
		}
		if isMirrorURL(u) {
			out = append(out, strings.TrimRight(u, "/"))
		}
	}
	return out
}

// readHostFile reads a file of the host's, which others may have replaced by a named pipe.
func readHostFile(name string) ([]byte, error) { return inputfile.ReadRegular(name, 1<<20) }

// firstMirror returns the first mirror in a mirror list of apt, or "".
func firstMirror(file string) string {
	b, err := readHostFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(f[0], "#") {
			return f[0]
		}
	}
	return ""
}

// hostRelease returns the distribution and release in the os-release file below root,
// such as "debian" and "bookworm".
func hostRelease(root string) (distro, codename string) {
	for _, n := range []string{"etc/os-release", "usr/lib/os-release"} {
		b, err := readHostFile(filepath.Join(root, n))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			v = strings.Trim(v, `"'`)
			switch k {
			case "ID":
				distro = v
			case "VERSION_CODENAME":
				codename = v
			}
		}
		return distro, codename
	}
	return "", ""
}
