package apt

import (
	"path"
	"slices"
	"strings"
)

// Source is an entry of apt's lists of package sources: each of its suites at
// each of its URIs.
type Source struct {
	URIs          []string
	Suites        []string // a suite, or a directory that ends in "/"
	Components    []string
	Architectures []string // none means all
	SignedBy      string   // path of a keyring; "" means apt's own
}

// IsSourcesFile reports whether apt reads a file as a list of package sources.
// name is slash-separated and relative to the root directory.
func IsSourcesFile(name string) bool {
	ext := path.Ext(name)
	return name == "etc/apt/sources.list" ||
		path.Dir(name) == "etc/apt/sources.list.d" && (ext == ".list" || ext == ".sources")
}

// ParseSources returns the binary package sources in the text of a file, whose
// extension decides on its format. Disabled and malformed entries are left out.
func ParseSources(name, text string) []Source {
	if path.Ext(name) == ".sources" {
		return parseDeb822(text)
	}
	return parseOneLine(text)
}

// parseOneLine reads lines of the form "deb [option=value …] URI SUITE COMPONENT…".
func parseOneLine(text string) []Source {
	var out []Source
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || rest == "" || !strings.ContainsAny(rest[:1], " \t[") {
			continue
		}
		var s Source
		if rest = strings.TrimSpace(rest); strings.HasPrefix(rest, "[") {
			options, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				continue
			}
			rest = after
			for _, option := range strings.Fields(options) {
				switch key, value, _ := strings.Cut(option, "="); strings.ToLower(key) {
				case "arch":
					s.Architectures = strings.Split(value, ",")
				case "signed-by":
					s.SignedBy, _, _ = strings.Cut(value, ",")
				}
			}
		}
		if f := strings.Fields(rest); len(f) >= 2 {
			s.URIs, s.Suites, s.Components = f[:1], f[1:2], f[2:]
			out = append(out, s)
		}
	}
	return out
}

// parseDeb822 reads paragraphs with the fields Types, URIs, Suites and so on.
func parseDeb822(text string) []Source {
	var out []Source
	Paragraphs([]byte(text), []string{"types", "uris", "suites", "components", "architectures"}, func(p Paragraph) {
		enabled := !slices.Contains([]string{"no", "false", "0"}, strings.ToLower(p["enabled"]))
		if !enabled || !slices.Contains(strings.Fields(p["types"]), "deb") {
			return
		}
		s := Source{URIs: strings.Fields(p["uris"]), Suites: strings.Fields(p["suites"]),
			Components: strings.Fields(p["components"]), Architectures: strings.Fields(p["architectures"])}
		// Signed-By may contain the key itself, on several lines.
		if f := strings.Fields(p["signed-by"]); len(f) > 0 && strings.HasPrefix(f[0], "/") {
			s.SignedBy = f[0]
		}
		if len(s.URIs) > 0 && len(s.Suites) > 0 {
			out = append(out, s)
		}
	})
	return out
}
