package packages

import (
	"bytes"
	"slices"
	"strings"
)

// paragraphs calls each with the paragraphs of a deb822 text: field names in
// lower case, values with their first line alone unless the field is in whole,
// whose lines are joined by newlines.
func paragraphs(text []byte, whole []string, each func(map[string]string)) {
	cur, last := map[string]string{}, ""
	flush := func() {
		if len(cur) > 0 {
			each(cur)
		}
		cur, last = map[string]string{}, ""
	}
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte{'\n'})
		line = bytes.TrimRight(line, " \t\r")
		switch {
		case len(line) == 0:
			flush()
		case line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				cur[last] += "\n" + strings.TrimSpace(string(line))
			}
		default:
			name, value, ok := bytes.Cut(line, []byte{':'})
			if !ok {
				last = ""
				continue
			}
			key := strings.ToLower(string(name))
			cur[key] = strings.TrimSpace(string(value))
			last = ""
			if slices.Contains(whole, key) {
				last = key
			}
		}
	}
	flush()
}

// parseDpkg reads dpkg's status file, or one paragraph of status.d as images
// without dpkg have them, and returns the packages whose files are there.
func parseDpkg(text []byte) []Package {
	var out []Package
	paragraphs(text, nil, func(p map[string]string) {
		if p["package"] == "" || p["version"] == "" {
			return
		}
		if s := strings.Fields(p["status"]); len(s) == 3 && (s[2] == "config-files" || s[2] == "not-installed" || s[2] == "half-installed") {
			return
		}
		out = append(out, Package{Deb, p["package"], p["version"], p["architecture"]})
	})
	return out
}

// parsePython reads the head of METADATA or PKG-INFO.
func parsePython(text []byte) []Package {
	var p Package
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte{'\n'})
		if len(bytes.TrimSpace(line)) == 0 {
			break // the description follows
		}
		name, value, _ := strings.Cut(string(line), ":")
		switch value = strings.TrimSpace(value); name {
		case "Name":
			p.Name = normalName(value)
		case "Version":
			p.Version = value
		}
	}
	if p.Name == "" || p.Version == "" {
		return nil
	}
	p.Type = Python
	return []Package{p}
}
