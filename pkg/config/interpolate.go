package config

import (
	"fmt"
	"strings"
)

// unknownName is the error for a $name that names nothing.
type unknownName struct{ name string }

func (e *unknownName) Error() string {
	return fmt.Sprintf("$%s: there is no option %q", e.name, e.name)
}

// expand puts values in for $name and ${name}; $$ and \$ stand for a dollar sign,
// and a dollar sign before anything else for itself. Names begin with a letter or
// an underscore and go on with these, digits and dots. Values that are put in are
// not looked at again.
func expand(s string, lookup func(name string) (string, error)) (string, error) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	s = strings.ReplaceAll(s, `\$`, "$$")
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, rest := "", ""
		switch {
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			s = after[1:]
			continue
		case strings.HasPrefix(after, "{"):
			n := nameLength(after[1:])
			if n > 0 && strings.HasPrefix(after[1+n:], "}") {
				name, rest = after[1:1+n], after[n+2:]
			}
		default:
			n := nameLength(after)
			name, rest = after[:n], after[n:]
		}
		if name == "" {
			b.WriteByte('$')
			s = after
			continue
		}
		value, err := lookup(name)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
		s = rest
	}
}

// nameLength returns how many bytes at the beginning of s are a name.
func nameLength(s string) int {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if letter || i > 0 && (c == '.' || c >= '0' && c <= '9') {
			continue
		}
		return i
	}
	return len(s)
}

// dashedNames returns the names in ${…} that would be options' if they were
// written with underscores: oslo.config leaves them as they stand.
func dashedNames(s string) []string {
	var names []string
	for {
		_, after, found := strings.Cut(s, "${")
		if !found {
			return names
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed {
			return names
		}
		if strings.Contains(name, "-") && Lookup(name) != nil {
			names = append(names, name)
		}
		s = rest
	}
}
