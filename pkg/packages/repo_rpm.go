package packages

import (
	"regexp"
	"strconv"
	"strings"
)

// rpmArches are the names that rpm has for Debian's architectures.
var rpmArches = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// rpmRepositories reads a .repo file.
func (c *Contents) rpmRepositories(text, arch string) []Repository {
	if a, ok := rpmArches[arch]; ok {
		arch = a
	}
	vars := c.dnfVariables(arch)
	main := iniSections(c.Files["etc/dnf/dnf.conf"])["main"]
	var out []Repository
	sections := iniSections(text)
	for _, id := range iniOrder(text) {
		s := sections[id]
		if id == "main" {
			continue
		}
		r := Repository{Type: RPM, Name: id, Arch: arch, Priority: 99, Disabled: off(s["enabled"])}
		for _, u := range words(s["baseurl"]) {
			if u = expand(u, vars); !strings.HasPrefix(u, "file:") {
				r.URLs = append(r.URLs, strings.TrimRight(u, "/"))
			}
		}
		if len(r.URLs) == 0 {
			r.List = expand(strings.TrimSpace(s["metalink"]), vars)
			if r.List == "" {
				r.List = expand(strings.TrimSpace(s["mirrorlist"]), vars)
			}
		}
		if len(r.URLs) == 0 && r.List == "" {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(s["priority"])); err == nil {
			r.Priority = n
		}
		for _, from := range []map[string]string{main, s} {
			r.Exclude = append(r.Exclude, words(from["exclude"])...)
			r.Exclude = append(r.Exclude, words(from["excludepkgs"])...)
		}
		r.Include = words(s["includepkgs"])
		out = append(out, r)
	}
	return out
}

// dnfVariables are the variables of .repo files: dnf's own, and the image's.
func (c *Contents) dnfVariables(arch string) map[string]string {
	vars := map[string]string{"basearch": arch, "arch": arch}
	for _, f := range []string{"usr/lib/os-release", "etc/os-release"} {
		for line := range strings.Lines(c.Files[f]) {
			if k, v, _ := strings.Cut(strings.TrimSpace(line), "="); k == "VERSION_ID" {
				// Enterprise Linux calls a release by its major number.
				vars["releasever"], _, _ = strings.Cut(strings.Trim(v, `"'`), ".")
			}
		}
	}
	for name, text := range c.Files {
		for _, dir := range []string{"etc/yum/vars/", "etc/dnf/vars/"} {
			if v, ok := strings.CutPrefix(name, dir); ok {
				line, _, _ := strings.Cut(text, "\n")
				vars[v] = strings.TrimSpace(line)
			}
		}
	}
	return vars
}

var dnfVariable = regexp.MustCompile(`\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?`)

func expand(s string, vars map[string]string) string {
	return dnfVariable.ReplaceAllStringFunc(s, func(ref string) string {
		if v, ok := vars[strings.Trim(ref, "${}")]; ok {
			return v
		}
		return ref
	})
}

// words splits a list as dnf does: at commas and white space.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}

func off(s string) bool {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "0", "no", "false", "off":
		return true
	}
	return false
}

// iniSections reads an ini file as dnf does: a line that begins with white
// space goes on with the value before it.
func iniSections(text string) map[string]map[string]string {
	out := map[string]map[string]string{}
	section, last := "", ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				out[section][last] += "\n" + strings.TrimSpace(line)
			}
		case line[0] == '[':
			section, last = strings.Trim(line, "[]"), ""
			if out[section] == nil {
				out[section] = map[string]string{}
			}
		default:
			k, v, ok := strings.Cut(line, "=")
			if !ok || out[section] == nil {
				continue
			}
			last = strings.TrimSpace(k)
			out[section][last] = strings.TrimSpace(v)
		}
	}
	return out
}

// iniOrder returns the names of an ini file's sections as they come.
func iniOrder(text string) []string {
	var out []string
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") && !seen[line] {
			seen[line] = true
			out = append(out, strings.Trim(line, "[]"))
		}
	}
	return out
}
