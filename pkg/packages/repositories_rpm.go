package packages

import (
	"regexp"
	"strconv"
	"strings"
)

// rpmArches are rpm's names of Debian's architectures.
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
		repo := Repository{Type: RPM, Name: id, Arch: arch, Priority: 99, Disabled: isOff(s["enabled"])}
		for _, u := range listItems(s["baseurl"]) {
			if u = expandVariables(u, vars); !strings.HasPrefix(u, "file:") {
				repo.URLs = append(repo.URLs, strings.TrimRight(u, "/"))
			}
		}
		if len(repo.URLs) == 0 {
			repo.List = expandVariables(strings.TrimSpace(s["metalink"]), vars)
			if repo.List == "" {
				repo.List = expandVariables(strings.TrimSpace(s["mirrorlist"]), vars)
			}
		}
		if len(repo.URLs) == 0 && repo.List == "" {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(s["priority"])); err == nil {
			repo.Priority = n
		}
		for _, from := range []map[string]string{main, s} {
			repo.Exclude = append(repo.Exclude, listItems(from["exclude"])...)
			repo.Exclude = append(repo.Exclude, listItems(from["excludepkgs"])...)
		}
		repo.Include = listItems(s["includepkgs"])
		out = append(out, repo)
	}
	return out
}

// dnfVariables returns the variables of .repo files: dnf's own and those in the image.
func (c *Contents) dnfVariables(arch string) map[string]string {
	vars := map[string]string{"basearch": arch, "arch": arch}
	for _, f := range []string{"usr/lib/os-release", "etc/os-release"} {
		for line := range strings.Lines(c.Files[f]) {
			if k, v, _ := strings.Cut(strings.TrimSpace(line), "="); k == "VERSION_ID" {
				// Enterprise Linux names a release by its major version.
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

func expandVariables(s string, vars map[string]string) string {
	return dnfVariable.ReplaceAllStringFunc(s, func(ref string) string {
		if v, ok := vars[strings.Trim(ref, "${}")]; ok {
			return v
		}
		return ref
	})
}

// listItems splits a list like dnf, at commas and white space.
func listItems(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}

func isOff(s string) bool {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "0", "no", "false", "off":
		return true
	}
	return false
}

// iniSections reads an ini file like dnf: a line that begins with white space
// continues the value of the line before.
func iniSections(text string) map[string]map[string]string {
	lines := map[string]map[string][]string{}
	section, key := "", ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == ' ' || line[0] == '\t':
			if key != "" {
				lines[section][key] = append(lines[section][key], strings.TrimSpace(line))
			}
		case line[0] == '[':
			section, key = strings.Trim(line, "[]"), ""
			if lines[section] == nil {
				lines[section] = map[string][]string{}
			}
		default:
			k, v, ok := strings.Cut(line, "=")
			if !ok || lines[section] == nil {
				continue
			}
			key = strings.TrimSpace(k)
			lines[section][key] = []string{strings.TrimSpace(v)}
		}
	}
	out := map[string]map[string]string{}
	for section, keys := range lines {
		out[section] = map[string]string{}
		for key, values := range keys {
			out[section][key] = strings.Join(values, "\n")
		}
	}
	return out
}

// iniOrder returns the names of the sections of an ini file, in their order.
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
