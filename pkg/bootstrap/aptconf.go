package bootstrap

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// aptSource is one source of packages in a host's apt configuration.
type aptSource struct {
	uris       []string
	suites     []string
	components []string
	signedBy   string // a file, "" if apt's own keys do
}

// hostSources reads apt's configuration below root, sources.list first and then
// sources.list.d in its order. What cannot be read or understood is left out:
// it is a search for a default, and the caller says so when nothing is found.
func hostSources(root string) []aptSource {
	dir := filepath.Join(root, "etc/apt")
	var out []aptSource
	if b, err := os.ReadFile(filepath.Join(dir, "sources.list")); err == nil {
		out = append(out, parseOneLine(string(b))...)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "sources.list.d", "*"))
	sort.Strings(names)
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			continue
		}
		switch filepath.Ext(n) {
		case ".list":
			out = append(out, parseOneLine(string(b))...)
		case ".sources":
			out = append(out, parseDeb822(string(b))...)
		}
	}
	for i := range out {
		out[i].uris = resolveMirrorFiles(root, out[i].uris)
	}
	return slices.DeleteFunc(out, func(s aptSource) bool { return len(s.uris) == 0 })
}

// parseOneLine reads the form "deb [option=value …] URI SUITE COMPONENT…".
func parseOneLine(text string) []aptSource {
	var out []aptSource
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '\t' && rest[0] != '[' {
			continue
		}
		rest = strings.TrimSpace(rest)
		var s aptSource
		if strings.HasPrefix(rest, "[") {
			opts, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				continue
			}
			rest = after
			for _, o := range strings.Fields(opts) {
				if v, ok := strings.CutPrefix(strings.ToLower(o), "signed-by="); ok {
					s.signedBy, _, _ = strings.Cut(o[len(o)-len(v):], ",")
				}
			}
		}
		f := strings.Fields(rest)
		if len(f) < 2 {
			continue
		}
		s.uris, s.suites, s.components = f[:1], f[1:2], f[2:]
		out = append(out, s)
	}
	return out
}

// parseDeb822 reads the form of paragraphs with fields.
func parseDeb822(text string) []aptSource {
	var out []aptSource
	for _, p := range paragraphs(text) {
		if !slices.Contains(strings.Fields(p["types"]), "deb") {
			continue
		}
		if no := strings.ToLower(p["enabled"]); no == "no" || no == "false" || no == "0" {
			continue
		}
		s := aptSource{uris: strings.Fields(p["uris"]), suites: strings.Fields(p["suites"]), components: strings.Fields(p["components"])}
		// Signed-By may hold the key itself, over several lines.
		if f := strings.Fields(p["signed-by"]); len(f) > 0 && strings.HasPrefix(f[0], "/") {
			s.signedBy = f[0]
		}
		out = append(out, s)
	}
	return out
}

// paragraphs splits deb822 text into its paragraphs, with field names in lower
// case. Lines of a value are joined with spaces.
func paragraphs(text string) []map[string]string {
	var out []map[string]string
	cur, last := map[string]string{}, ""
	flush := func() {
		if len(cur) > 0 {
			out = append(out, cur)
		}
		cur, last = map[string]string{}, ""
	}
	sc := bufio.NewScanner(strings.NewReader(text))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := strings.TrimRight(sc.Text(), " \t\r")
		switch {
		case line == "":
			flush()
		case line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				cur[last] = strings.TrimSpace(cur[last] + " " + strings.TrimSpace(line))
			}
		default:
			name, value, ok := strings.Cut(line, ":")
			if !ok {
				continue
			}
			last = strings.ToLower(strings.TrimSpace(name))
			cur[last] = strings.TrimSpace(value)
		}
	}
	flush()
	return out
}

// resolveMirrorFiles replaces mirror+file:PATH, which cloud images of Debian
// use, by the first mirror that the file names, and drops what is no archive
// that can be read over the network or from a directory.
func resolveMirrorFiles(root string, uris []string) []string {
	var out []string
	for _, u := range uris {
		if path, ok := strings.CutPrefix(u, "mirror+file:"); ok {
			u = ""
			if b, err := os.ReadFile(filepath.Join(root, filepath.Clean("/"+path))); err == nil {
				for line := range strings.Lines(string(b)) {
					if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(f[0], "#") {
						u = f[0]
						break
					}
				}
			}
		}
		if slices.ContainsFunc(mirrorSchemes, func(s string) bool { return strings.HasPrefix(u, s+":/") }) {
			out = append(out, strings.TrimRight(u, "/"))
		}
	}
	return out
}

// hostRelease returns the distribution and release that root holds, from its
// os-release: "debian", "bookworm".
func hostRelease(root string) (distro, codename string) {
	for _, n := range []string{"etc/os-release", "usr/lib/os-release"} {
		b, err := os.ReadFile(filepath.Join(root, n))
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
