package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/inifile"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/pkg/facts"
)

const (
	profilesSection = "profiles"
	userSuffix      = "-user"
)

var (
	sourceKeys  = []string{"type", "location", "reference", "enabled", "version", "sha256", "mirrors"}
	sourceTypes = []string{"local", "git", "url"}
	userKeys    = []string{"uid", "gid", "group"}
)

func isUser(sectionName string) bool {
	return len(sectionName) > len(userSuffix) && strings.HasSuffix(sectionName, userSuffix)
}

func isSource(sectionName string) bool {
	return sectionName != "DEFAULT" && sectionName != profilesSection && !isUser(sectionName)
}

// mergeDefaults takes what we come with: users, and the sources of the release
// that is built.
func (l *loader) mergeDefaults() {
	name, _ := l.r.string("openstack-release") // an error is reported where options are assigned
	release, known := facts.LookupRelease(name)
	if !known && name != "" {
		l.warnings = append(l.warnings, Warning{Option: "openstack-release",
			Message: fmt.Sprintf("openstack-release %s is not known: its sources are taken from the branch %s of the places that master uses", name, release.Branch),
			Hint:    suggest.DidYouMean(name, facts.Releases())})
	}
	for _, e := range slices.Concat(facts.Users(), release.Sources()) {
		s := l.section(e.Section, Origin{Kind: OriginDefault})
		switch {
		case e.Value != "":
			s.keys[e.Key] = []given{{text: e.Value, origin: Origin{Kind: OriginDefault}}}
		case e.Key == "type":
			delete(l.r.sections, normalSection(e.Section))
		default:
			delete(s.keys, e.Key)
		}
	}
}

// mergeSections collects the keys of all sections but DEFAULT: the defaults, the
// files in order, the environment.
func (l *loader) mergeSections() {
	for name, patterns := range l.in.Profiles {
		s := l.section(profilesSection, Origin{Kind: OriginDefault})
		s.keys[name] = []given{{text: strings.Join(patterns, ","), origin: Origin{Kind: OriginDefault}}}
	}
	l.mergeDefaults()
	for _, f := range l.files {
		for _, h := range f.Headers {
			if normalSection(h.Name) == "DEFAULT" {
				continue
			}
			s := l.section(h.Name, Origin{Kind: OriginFile, File: f.Path, Line: h.Line, Text: h.Text})
			if !s.inFile {
				s.inFile, s.head = true, h
				s.first = Origin{Kind: OriginFile, File: f.Path, Line: h.Line, Text: h.Text}
			}
		}
		for _, e := range f.Entries {
			if normalSection(e.Section) == "DEFAULT" {
				continue
			}
			s := l.section(e.Section, fileOrigin(e))
			s.keys[e.Key] = append(s.keys[e.Key], given{text: e.Value, origin: fileOrigin(e), entry: e})
		}
	}
	l.sectionEnv()
	for _, f := range l.files {
		l.checkSections(f)
	}
}

func (l *loader) section(name string, first Origin) *section {
	key := normalSection(name)
	s := l.r.sections[key]
	if s == nil {
		s = &section{name: name, first: first, keys: map[string][]given{}}
		l.r.sections[key] = s
	}
	return s
}

// sectionEnv takes oslo.config's OS_<SECTION>__<KEY> variables of sections that
// exist. Variables of other sections are other programs'.
func (l *loader) sectionEnv() {
	names := map[string]string{} // as in variables to as it is
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
		candidates := sourceKeys
		switch {
		case isUser(name):
			candidates = userKeys
		case name == profilesSection:
			candidates = slices.Sorted(maps.Keys(s.keys))
		}
		for _, c := range candidates {
			if strings.ToUpper(c) == key {
				s.keys[c] = append(s.keys[c], given{text: value, origin: Origin{Kind: OriginEnv, Text: variable + "=" + value}})
			}
		}
	}
}

// checkSections warns of the sections and keys in a file that mean nothing.
func (l *loader) checkSections(f *inifile.File) {
	told := map[string]bool{} // unknown sections
	for _, h := range f.Headers {
		name := normalSection(h.Name)
		if name == "DEFAULT" || name == profilesSection || isUser(name) || l.knownSource(name) || told[name] {
			continue
		}
		told[name] = true
		if len(l.r.sections[name].keys) == 0 {
			continue
		}
		w := Warning{File: f.Path, Line: h.Line, Column: 2, SourceLine: h.Text,
			Message: fmt.Sprintf("unknown section [%s]", h.Name)}
		if l.holdsOptions(name) {
			w.Hint = "options belong into [DEFAULT]"
		}
		if n := suggest.Nearest(h.Name, l.sectionNames()); n != "" {
			w.Hint = fmt.Sprintf("did you mean [%s]?", n)
		}
		l.misspelt = append(l.misspelt, w)
	}
	for _, e := range f.Entries {
		name := normalSection(e.Section)
		switch {
		case name == "DEFAULT" || told[name]:
		case name == profilesSection:
			if o := lookupKey(e.Key); o != nil {
				l.warnings = append(l.warnings, keyWarning(e,
					fmt.Sprintf("%s is an option of [DEFAULT]; here it makes a profile of that name", e.Key), ""))
			}
		case isUser(name) && !slices.Contains(userKeys, e.Key):
			l.unknownKey(e, userKeys)
		case isSource(name) && !slices.Contains(sourceKeys, e.Key):
			l.unknownKey(e, sourceKeys)
		}
	}
}

// knownSource reports whether a section describes a source: it is one of the
// defaults, or is named as a plugin or an addition, or has a source's keys.
func (l *loader) knownSource(name string) bool {
	s := l.r.sections[name]
	if strings.Contains(name, "-plugin-") || strings.Contains(name, "-additions-") {
		return true
	}
	for _, key := range sourceKeys {
		if len(s.keys[key]) > 0 {
			return true
		}
	}
	return false
}

func (l *loader) holdsOptions(name string) bool {
	for key := range l.r.sections[name].keys {
		if lookupKey(key) != nil {
			return true
		}
	}
	return false
}

func (l *loader) sectionNames() []string {
	names := []string{"DEFAULT"}
	for name, s := range l.r.sections {
		if !s.inFile || name == profilesSection {
			names = append(names, name)
		}
	}
	if l.r.sections[profilesSection] == nil {
		names = append(names, profilesSection)
	}
	slices.Sort(names)
	return names
}

// unknownKey warns of a key that its section does not have.
func (l *loader) unknownKey(e *inifile.Entry, known []string) {
	hint := ""
	name := normalSection(e.Section)
	switch o := lookupKey(e.Key); {
	case name == "DEFAULT" && e.Key == "type" && slices.Contains(Lookup("install-type").Choices, e.Value):
		hint = "did you mean \"install_type\"?"
	case name != "DEFAULT" && o != nil:
		hint = fmt.Sprintf("%s is an option of [DEFAULT]", o.Key())
	case name == "DEFAULT" && len(l.in.Profiles[e.Key]) > 0:
		hint = fmt.Sprintf("the profile %s belongs into [profiles]", e.Key)
	case suggest.Nearest(e.Key, known) != "":
		hint = suggest.DidYouMean(e.Key, known)
	case name == "DEFAULT" && slices.Contains(sourceKeys, e.Key):
		hint = fmt.Sprintf("%s belongs into the section of an image, such as [keystone-base]", e.Key)
	case name == "DEFAULT" && slices.Contains(userKeys, e.Key):
		hint = fmt.Sprintf("%s belongs into the section of a user, such as [nova-user]", e.Key)
	case name != "DEFAULT" && suggest.Nearest(e.Key, optionKeys()) != "":
		hint = fmt.Sprintf("did you mean the option %s of [DEFAULT]?", suggest.Nearest(e.Key, optionKeys()))
	}
	l.misspelt = append(l.misspelt, keyWarning(e, fmt.Sprintf("[%s] has no key %q", e.Section, e.Key), hint))
}

func keyWarning(e *inifile.Entry, message, hint string) Warning {
	return Warning{File: e.File, Line: e.Line, Column: e.KeyColumn, SourceLine: e.Text, Option: e.Key, Message: message, Hint: hint}
}

// sectionValue returns the expanded text of a section's key; "" if it has none.
func (l *loader) sectionValue(name, key string) string {
	text, _, err := l.r.key(name, key)
	if err != nil {
		l.fail(l.placedInSection(name, key, err))
	}
	return text
}

func (l *loader) placedInSection(name, key string, err error) error {
	var placed *Error
	if errors.As(err, &placed) {
		return err
	}
	return l.lastGiven(name, key).err(key, err.Error(), "")
}

// lastGiven returns what decides a section's key.
func (l *loader) lastGiven(name, key string) given {
	if s := l.r.sections[name]; s != nil {
		if all := s.keys[key]; len(all) > 0 {
			return all[len(all)-1]
		}
		return given{origin: s.first}
	}
	return given{origin: Origin{Kind: OriginDefault}}
}

// fillProfiles reads [profiles] and checks the profiles that were asked for.
func (l *loader) fillProfiles() {
	l.c.Profiles = map[string][]string{}
	if s := l.r.sections[profilesSection]; s != nil {
		for name := range s.keys {
			l.c.Profiles[name] = parseList(l.sectionValue(profilesSection, name))
		}
	}
	for _, name := range l.c.Profile {
		// Regular expressions take the profiles' place, so that none needs to
		// exist; but what reads as -p rofil x may have been meant as -profile x.
		if len(l.c.Profiles[name]) > 0 || len(l.c.Regex) > 0 && l.likeLongOption(name) == "" {
			continue
		}
		l.fail(l.unknownProfile(name))
	}
}

// likeLongOption returns the long option that may have been meant by the argument
// that gave the profile, "" if it was none like that.
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
		message = fmt.Sprintf("there is no profile %q, and no other", name)
	}
	parts := strings.Split(name, ",")
	switch {
	case len(parts) > 1 && !slices.ContainsFunc(parts, func(p string) bool { return len(l.c.Profiles[p]) == 0 }):
		hint = "repeat the option for several profiles: -p " + strings.Join(parts, " -p ")
	case l.likeLongOption(name) != "":
		hint = fmt.Sprintf("did you mean --%s?", l.likeLongOption(name))
	}
	return g.err("profile", message, hint)
}

// fillUsers reads the [<name>-user] sections.
func (l *loader) fillUsers() {
	l.c.Users = map[string]User{}
	for name, s := range l.r.sections {
		if !isUser(name) {
			continue
		}
		user := User{Group: strings.TrimSuffix(name, userSuffix), Origin: s.first}
		ids := []*int{&user.UID, &user.GID}
		for i, key := range userKeys[:2] {
			text := l.sectionValue(name, key)
			if text == "" {
				if i == 1 {
					user.GID = user.UID
					continue
				}
				*ids[i] = NoID
				l.warnings = append(l.warnings, warningAt(s.first, s.name, fmt.Sprintf("[%s] has no uid: templates see none", s.name), "give the section a uid and a gid"))
				continue
			}
			n, err := parseInt(text, 0)
			if err != nil {
				l.fail(l.lastGiven(name, key).err(key, err.Error(), ""))
			}
			*ids[i] = n
		}
		if group := l.sectionValue(name, "group"); group != "" {
			user.Group = group
		}
		l.c.Users[strings.TrimSuffix(name, userSuffix)] = user
	}
}
