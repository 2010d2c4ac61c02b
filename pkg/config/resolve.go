package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/suggest"
)

// resolver computes the values of options and of sections' keys. Values can refer to
// each other in any order, so each is computed when it is needed.
type resolver struct {
	given    map[*Option][]given // values of each option, the strongest last
	sections map[string]*section
	vars     map[string]string // ExpandSource: values that take precedence over options
	env      map[string]string
	hostArch string
	program  string // the path of the program, or ""
	root     bool

	values map[*Option]resolved
	fixed  map[*Option]any // values that take precedence over given ones, as for one of several platforms
	active []string        // names of the values being computed, to detect cycles

	lookUps int // references that were followed
}

type resolved struct {
	value any
	err   error
}

// value returns the option's value in the type of its field.
func (r *resolver) value(o *Option) (any, error) {
	if v, ok := r.fixed[o]; ok {
		return v, nil
	}
	if v, ok := r.values[o]; ok {
		return v.value, v.err
	}
	if err := r.enter(o.Key()); err != nil {
		return nil, err
	}
	defer r.leave()
	v, err := r.compute(o)
	r.values[o] = resolved{v, err}
	return v, err
}

func (r *resolver) compute(o *Option) (any, error) {
	values := r.given[o]
	if len(values) > 0 && o.Kind != Multi {
		values = values[len(values)-1:]
	}
	var texts []string
	for _, g := range values {
		if o.Kind == Multi && g.text == "" && g.origin.Kind == OriginFile {
			continue // an empty item, as in the sample configuration, does not count
		}
		text, err := expand(g.text, r.in(""))
		if err != nil {
			return nil, r.fault(g, o.Name, err)
		}
		texts = append(texts, text)
	}
	if r.isUnset(o, values, texts) {
		v, err := r.fallback(o)
		if err != nil {
			return nil, err
		}
		return v, nil
	}
	v, err := o.convert(texts)
	if err != nil {
		return nil, values[len(values)-1].badValue(o, texts[len(texts)-1], err)
	}
	if b, ok := v.(bool); ok && values[0].negated {
		return !b, nil
	}
	return v, nil
}

// isUnset reports whether the default applies. Where the default follows from
// something else, an empty value means the default, and so does the tag "latest" of
// the distribution's own image. An empty number in a file means the default, as in
// oslo.config; on the command line it is a mistake.
func (r *resolver) isUnset(o *Option, values []given, texts []string) bool {
	if len(texts) == 0 {
		return true
	}
	last := texts[len(texts)-1]
	if o.derive != nil && o.Kind == String && last == "" {
		return true
	}
	if (o.Kind == Int || o.Kind == Size) && strings.TrimSpace(last) == "" &&
		values[len(values)-1].origin.Kind != OriginFlag {
		return true
	}
	image := r.given[Lookup("base-image")]
	return o.Name == "base-tag" && last == "latest" && (len(image) == 0 || image[len(image)-1].text == "")
}

func (r *resolver) fallback(o *Option) (any, error) {
	text := o.Default
	if o.derive != nil {
		var err error
		if text, err = o.derive(r); err != nil {
			return nil, err
		}
	}
	text, err := expand(text, r.in(""))
	if err != nil {
		return nil, &Error{Option: o.Name, Message: o.Name + ": " + err.Error()}
	}
	if text == "" {
		return o.convert(nil)
	}
	return o.convert([]string{text})
}

// string returns the value of a string option, for the defaults that follow from it.
func (r *resolver) string(name string) (string, error) {
	v, err := r.value(Lookup(name))
	if err != nil {
		return "", err
	}
	s, _ := v.(string)
	return s, nil
}

// in returns the function that looks up $names in values of that section, "" for
// DEFAULT.
func (r *resolver) in(sectionName string) func(string) (string, error) {
	return func(name string) (string, error) {
		if r.lookUps++; r.lookUps > maxLookUps {
			return "", fmt.Errorf("values refer to others more than %d times", maxLookUps)
		}
		if v, ok := r.vars[name]; ok {
			return v, nil
		}
		if v, ok, err := r.key(sectionName, name); ok || err != nil {
			return v, err
		}
		if group, option, dotted := strings.Cut(name, "."); dotted {
			if normalSection(group) == "DEFAULT" {
				name = option
			} else if v, ok, err := r.key(normalSection(group), option); ok || err != nil {
				return v, err
			}
		}
		o := lookupKey(name)
		if o == nil || strings.Contains(name, "-") {
			return "", &unknownName{name}
		}
		v, err := r.value(o)
		if err != nil {
			return "", err
		}
		return format(v), nil
	}
}

// key returns the expanded value of a section's key, and whether there is one.
func (r *resolver) key(sectionName, key string) (string, bool, error) {
	s := r.sections[sectionName]
	if s == nil {
		return "", false, nil
	}
	values := s.keys[key]
	if len(values) == 0 {
		// A key of a source or a user without a value is empty, not unknown.
		known := slices.Contains(sourceKeys, key) && isSource(sectionName) ||
			slices.Contains(userKeys, key) && isUser(sectionName)
		if known && key == "enabled" {
			return format(true), true, nil
		}
		return "", known, nil
	}
	if err := r.enter(s.name + "." + key); err != nil {
		return "", false, err
	}
	defer r.leave()
	g := values[len(values)-1]
	text, err := expand(g.text, r.in(sectionName))
	if err != nil {
		return "", false, r.fault(g, key, err)
	}
	if enabled, err := parseBool(text); err == nil && key == "enabled" {
		text = format(enabled)
	}
	return text, true, nil
}

func (r *resolver) enter(name string) error {
	if at := slices.Index(r.active, name); at >= 0 {
		cycle := append(slices.Clone(r.active[at:]), name)
		return fmt.Errorf("this value refers to itself: %s", strings.Join(cycle, " refers to "))
	}
	r.active = append(r.active, name)
	return nil
}

func (r *resolver) leave() { r.active = r.active[:len(r.active)-1] }

// fault adds the place of a value to an error in its expansion. An error that already
// has a place, because another value is wrong, is returned unchanged.
func (r *resolver) fault(g given, name string, err error) error {
	var located *Error
	if errors.As(err, &located) {
		return err
	}
	hint := ""
	var unknown *unknownName
	if errors.As(err, &unknown) {
		hint = r.unknownHint(unknown.name)
	}
	return g.err(name, err.Error(), hint)
}

// unknownHint returns the hint for a name that a value refers to, but no option has.
func (r *resolver) unknownHint(name string) string {
	if r.env[name] != "" {
		return "values refer to options, not to the environment: write the value itself, and $$ for a dollar sign"
	}
	if before, _, dotted := strings.Cut(name, "."); dotted {
		return fmt.Sprintf("write ${%s} if the name ends before the dot", before)
	}
	if s := suggest.Nearest(name, interpolationNames()); s != "" {
		return fmt.Sprintf("did you mean ${%s}?", s)
	}
	return "write $$ for a dollar sign"
}

// badValue returns the error for a value that the option cannot have.
func (g given) badValue(o *Option, value string, err error) error {
	hint := ""
	switch {
	case g.entry != nil && (strings.Contains(value, " #") || strings.Contains(value, " ;")):
		hint = "a comment must be on its own line"
	case o.Choices != nil:
		hint = suggest.DidYouMean(value, o.Choices)
		if other, ok := otherNames[value]; ok && slices.Contains(o.Choices, other) {
			hint = fmt.Sprintf("did you mean %q?", other)
		}
	case o.Kind == Bool:
		hint = boolHint
	case o.Kind == Size:
		hint = "write bytes, or a number with a unit: 500M, 20G, 1.5TiB"
	case o.Kind == Dict:
		hint = dictHint(value)
	}
	if n := g.likeLongOption(); n != "" {
		hint = fmt.Sprintf("did you mean --%s?", n)
	}
	return g.err(o.Name, err.Error(), hint)
}

const boolHint = "write true, yes, on or 1, or false, no, off or 0"

// otherNames are names of values in other tools or older releases.
var otherNames = map[string]string{
	"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64", "aarch64": "arm64", "x86_64": "amd64",
	"rockylinux": "rocky", "rhel": "rocky", "almalinux": "rocky", "oracle": "oraclelinux", "ol": "oraclelinux",
	"rdo": "binary", "rhos": "binary", "rpm": "binary", "deb": "binary", "pip": "source", "src": "source",
}

// likeLongOption returns the long option that the user may have meant by one dash and
// several letters, as in -registy, "" for none.
func (g given) likeLongOption() string {
	typed, _, _ := strings.Cut(g.origin.Text, "=")
	if g.origin.Kind != OriginFlag || len(typed) < 3 || typed[0] != '-' ||
		typed[1] == '-' || strings.Contains(typed, " ") {
		return ""
	}
	return suggest.Nearest(strings.TrimLeft(typed, "-"), flagNames())
}

// err returns an error with the place of the value.
func (g given) err(name, message, hint string) *Error {
	e := &Error{Option: name, Message: message, Hint: hint}
	switch g.origin.Kind {
	case OriginFile:
		e.File, e.Line = g.origin.File, g.origin.Line
		e.Message = name + ": " + message
		if g.entry != nil {
			e.Column, e.SourceLine = g.entry.ValueColumn, g.entry.Text
		}
	default:
		e.SourceLine = g.origin.Text
		e.Message = g.origin.String() + ": " + message
	}
	return e
}

func interpolationNames() []string {
	var names []string
	for _, o := range table {
		names = append(names, o.Key())
	}
	return names
}

func flagNames() []string {
	var names []string
	for _, o := range table {
		if !o.Positional {
			names = append(names, o.Name)
			names = append(names, o.Aliases...)
		}
	}
	return names
}
