package packages

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/kolla-build/kolla-build/internal/apt"
)

// parseDpkg returns the installed packages in dpkg's status file, or in one file
// of status.d, which images without dpkg have.
func parseDpkg(text []byte) ([]Package, error) {
	var out []Package
	more := false
	apt.Paragraphs(text, nil, func(p apt.Paragraph) {
		if p["package"] == "" || p["version"] == "" {
			return
		}
		if s := strings.Fields(p["status"]); len(s) == 3 {
			switch s[2] {
			case "config-files", "not-installed", "half-installed":
				return
			}
		}
		if len(out) >= maxInstalled {
			more = true
			return
		}
		out = append(out, Package{Deb, p["package"], p["version"], p["architecture"]})
	})
	if more {
		return nil, fmt.Errorf("more than %d packages", maxInstalled)
	}
	return out, nil
}

// parsePython returns the package described by the header of METADATA or PKG-INFO.
func parsePython(text []byte) []Package {
	p := Package{Type: Python}
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte{'\n'})
		if len(bytes.TrimSpace(line)) == 0 {
			break // end of the header
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
	return []Package{p}
}
