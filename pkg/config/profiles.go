package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/kolla-build/kolla-build/internal/suggest"
)

// fillProfiles reads [profiles] and checks the profiles that are requested.
func (l *loader) fillProfiles() {
	l.c.Profiles = map[string][]string{}
	if s := l.r.sections[profilesSection]; s != nil {
		for name := range s.keys {
			l.c.Profiles[name] = parseList(l.sectionValue(profilesSection, name))
		}
	}
	for _, name := range l.c.Profile {
		// Regular expressions take precedence over profiles, which then need not
		// exist. But "-p rofil x" may be a typing mistake of "-profile x".
		if len(l.c.Profiles[name]) > 0 || len(l.c.Regex) > 0 && l.likeLongOption(name) == "" {
			continue
		}
		l.fail(l.unknownProfile(name))
	}
}

// likeLongOption returns the long option that the user may have meant by the argument
// with the profile, "" for none.
func (l *loader) likeLongOption(profile string) string {
	for _, g := range l.flags[Lookup("profile")] {
		if g.text == profile && g.origin.Text == "-p"+profile {
			return g.likeLongOption()
		}
	}
	return ""
}

func (l *loader) unknownProfile(name string) error {
	g := given{origin: l.c.Origin("profile")}
	for _, candidate := range l.r.given[Lookup("profile")] {
		if candidate.text == name {
			g = candidate
		}
	}
	names := l.c.ProfileNames()
	hint := suggest.DidYouMean(name, names)
	message := fmt.Sprintf("there is no profile %q; there are %s", name, strings.Join(names, ", "))
	if _, exists := l.c.Profiles[name]; exists {
		message, hint = fmt.Sprintf("the profile %q is empty", name), "give it regular expressions, with commas between them"
	} else if len(names) == 0 {
		message = fmt.Sprintf("there is no profile %q, and no other one", name)
	}
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	switch {
	case len(parts) > 1 && !slices.ContainsFunc(parts, func(p string) bool { return len(l.c.Profiles[p]) == 0 }):
		hint = "repeat the option for several profiles: -p " + strings.Join(parts, " -p ")
		if g.entry != nil {
			hint = "write the key once for each profile: profile = " + strings.Join(parts, ", profile = ")
		}
	case strings.HasPrefix(name, "[") || strings.HasPrefix(strings.TrimSpace(name), "- "):
		hint = "write one profile, and the key again for each further one"
	case l.likeLongOption(name) != "":
		hint = fmt.Sprintf("did you mean --%s?", l.likeLongOption(name))
	case hint == "" && !strings.ContainsAny(name, "=:[]# \t\r\n"):
		hint = fmt.Sprintf("define it in the section [profiles] of kolla-build.conf: %s = REGEX,REGEX", name)
	}
	return g.err("profile", message, hint)
}
