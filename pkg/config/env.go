package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/suggest"
)

// envValue returns the value of an option in the environment.
func (l *loader) envValue(o *Option) ([]given, bool) {
	for _, name := range o.EnvNames() {
		value, ok := l.env[name]
		// An empty variable that other programs also read counts as not set.
		if !ok || value == "" && slices.Contains(o.Env, name) {
			continue
		}
		origin := Origin{Kind: OriginEnv, Text: name + "=" + value}
		if o.Kind != Multi {
			return []given{{text: value, origin: origin}}, true
		}
		var values []given
		for _, item := range parseList(value) {
			values = append(values, given{text: item, origin: origin})
		}
		return values, true
	}
	return nil, false
}

// imageEnv are variables with the names of options that Kolla's images set for their containers.
var imageEnv = []string{"KOLLA_INSTALL_TYPE", "KOLLA_BASE_ARCH"}

// unknownEnv warns of variables with our prefix that set no option, and of KOLLA_<OPTION>, which
// Kolla's tool does not read either.
func (l *loader) unknownEnv() {
	var known []string
	for _, o := range table {
		if !o.CommandLineOnly {
			known = append(known, o.EnvNames()[0])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.env)) {
		if strings.HasPrefix(name, "KOLLA_BUILD_") && !slices.Contains(known, name) {
			l.warnings = append(l.warnings, Warning{
				Message: fmt.Sprintf("the environment variable %s sets no option", name),
				Hint:    suggest.DidYouMean(name, known)})
			continue
		}
		rest, found := strings.CutPrefix(name, "KOLLA_")
		if own := "KOLLA_BUILD_" + rest; found && slices.Contains(known, own) && !slices.Contains(imageEnv, name) {
			l.warnings = append(l.warnings, Warning{
				Message: fmt.Sprintf("the environment variable %s sets no option", name),
				Hint:    fmt.Sprintf("did you mean %q?", own)})
		}
	}
}

// sectionEnv reads oslo.config's variables OS_<SECTION>__<KEY> of sections that
// exist. Those of other sections belong to other programs.
func (l *loader) sectionEnv() {
	names := map[string]string{} // upper case to the name of the section
	for name := range l.r.sections {
		names[strings.ToUpper(name)] = name
	}
	for variable, value := range l.env {
		group, key, found := strings.Cut(strings.TrimPrefix(variable, "OS_"), "__")
		name, known := names[group]
		if !found || !known || !strings.HasPrefix(variable, "OS_") {
			continue
		}
		s := l.r.sections[name]
		keys := sourceKeys
		switch {
		case isUser(name):
			keys = userKeys
		case name == profilesSection:
			keys = slices.Collect(maps.Keys(s.keys))
		}
		for _, k := range keys {
			if strings.ToUpper(k) == key {
				s.keys[k] = append(s.keys[k], given{text: value, origin: Origin{Kind: OriginEnv, Text: variable + "=" + value}})
			}
		}
	}
}
