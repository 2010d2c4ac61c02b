package imageref

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/internal/regex"
)

// Rename is a substitution in the notation of sed -E: s/PATTERN/REPLACEMENT/FLAGS. Any
// character can take the place of the slash.
type Rename struct {
	text    string
	pattern *regexp.Regexp
	parts   []replacement
	global  bool
	nth     int // the first match to replace, from 1
}

// replacement is a part of the replacement: a text or, if group is not negative, the
// text that matched a group of the pattern; group 0 is the whole match.
type replacement struct {
	text  string
	group int
}

// maxRename is the largest length of a substitution, in bytes.
const maxRename = 4096

// ParseRename parses a substitution. Patterns are regular expressions of Go; & and \1 to
// \9 in the replacement stand for the match and its groups. The flags are g, i and a
// number.
func ParseRename(text string) (Rename, error) {
	invalid := func(problem string) (Rename, error) {
		return Rename{}, &Error{Part: "substitution", Value: text, Problem: problem}
	}
	if len(text) > maxRename {
		return invalid(fmt.Sprintf("it has more than %d bytes", maxRename))
	}
	if len(text) < 2 || text[0] != 's' {
		return invalid("expected s/PATTERN/REPLACEMENT/")
	}
	delimiter := text[1]
	if delimiter == '\\' || delimiter == '\n' || delimiter >= 0x80 {
		return invalid("the delimiter is not allowed")
	}
	fields := splitFields(text[2:], delimiter)
	if len(fields) != 3 {
		return invalid(fmt.Sprintf("expected s%[1]cPATTERN%[1]cREPLACEMENT%[1]c", delimiter))
	}
	rename := Rename{text: text, nth: 1}
	pattern := fields[0]
	if pattern == "" {
		return invalid("the pattern is empty")
	}
	if number := strings.Trim(fields[2], "giI"); number != "" {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || !strings.Contains(fields[2], number) {
			return invalid(fmt.Sprintf("unknown flags %q: g, i and a number are known", fields[2]))
		}
		rename.nth = n
	}
	rename.global = strings.Contains(fields[2], "g")
	if strings.ContainsAny(fields[2], "iI") {
		pattern = "(?i)" + pattern
	}
	var err error
	if rename.pattern, err = regex.Compile(pattern); err != nil {
		return invalid(err.Error())
	}
	if rename.parts, err = parseReplacement(fields[1], rename.pattern.NumSubexp()); err != nil {
		return invalid(err.Error())
	}
	return rename, nil
}

// splitFields splits at the delimiter; one with a backslash before it belongs to a field.
func splitFields(text string, delimiter byte) []string {
	fields, field := []string{}, []byte{}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && text[i+1] == delimiter:
			field = append(field, delimiter)
			i++
		case c == '\\' && i+1 < len(text):
			field = append(field, c, text[i+1])
			i++
		case c == delimiter:
			fields, field = append(fields, string(field)), nil
		default:
			field = append(field, c)
		}
	}
	return append(fields, string(field))
}

func parseReplacement(text string, groups int) ([]replacement, error) {
	var parts []replacement
	literal := []byte{}
	flush := func() {
		parts = append(parts, replacement{text: string(literal), group: -1})
		literal = nil
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '&':
			flush()
			parts = append(parts, replacement{group: 0})
		case c == '\\' && i+1 < len(text):
			i++
			if n := int(text[i] - '0'); text[i] >= '0' && text[i] <= '9' {
				if n > groups {
					return nil, fmt.Errorf("\\%d: the pattern has no such group", n)
				}
				flush()
				parts = append(parts, replacement{group: n})
				continue
			}
			literal = append(literal, text[i])
		case c == '\\':
			return nil, fmt.Errorf("the replacement ends with a backslash")
		default:
			literal = append(literal, c)
		}
	}
	flush()
	return parts, nil
}

// String returns the substitution as it was written.
func (r Rename) String() string { return r.text }

// Apply applies the substitution to the part of a name after its registry, PATH:TAG,
// without "library/". The result must be a valid name.
func (r Rename) Apply(ref Ref) (Ref, error) {
	name := ref.Familiar()
	host := ""
	if ref.registry != DockerHub {
		host = ref.registry + "/"
		name = strings.TrimPrefix(name, host)
	}
	changed := r.replace(name)
	if changed == name {
		return ref, nil
	}
	out, err := ParseTag(host + changed)
	if err != nil {
		return Ref{}, fmt.Errorf("%s makes %q of %q: %w", r, changed, name, err)
	}
	if out.registry != ref.registry {
		return Ref{}, fmt.Errorf("%s turns %q into %q: it cannot set a registry", r, changed, name)
	}
	return out, nil
}

func (r Rename) replace(text string) string {
	var out strings.Builder
	last := 0
	for i, m := range r.pattern.FindAllStringSubmatchIndex(text, -1) {
		if i+1 < r.nth || i+1 > r.nth && !r.global {
			continue
		}
		out.WriteString(text[last:m[0]])
		for _, p := range r.parts {
			switch {
			case p.group < 0:
				out.WriteString(p.text)
			case m[2*p.group] >= 0:
				out.WriteString(text[m[2*p.group]:m[2*p.group+1]])
			}
		}
		last = m[1]
	}
	out.WriteString(text[last:])
	return out.String()
}
