package config

import (
	"fmt"
	"strings"

	"github.com/kolla-build/kolla-build/internal/units"
)

// unknownName is the error for a $name that does not exist.
type unknownName struct{ name string }

func (e *unknownName) Error() string {
	return fmt.Sprintf("$%s: there is no option %q", e.name, e.name)
}

// Limits for values that refer to others, which a few lines can multiply: the length of a value in
// bytes, and how often values are looked up for a configuration.
const (
	maxExpanded = 1 << 20
	maxLookUps  = 200_000
)

// expand replaces $name and ${name} by their values. $$ and \$ are a dollar sign, and
// so is a dollar sign before anything else. Names consist of letters, underscores,
// digits and dots, and begin with a letter or an underscore. Inserted values are not
// expanded again.
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
		if b.Len()+len(value) > maxExpanded {
			return "", fmt.Errorf("with the values that it refers to, this one is larger than %s", units.Bytes(maxExpanded))
		}
		b.WriteString(value)
		s = rest
	}
}

// nameLength returns the number of bytes at the beginning of s that are a name.
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

// dashedNames returns the names in ${…} that are options spelled with dashes, which oslo.config
// does not accept in a reference.
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
