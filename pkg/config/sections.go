package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/inifile"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/pkg/facts"
)

// Names of sections.
const (
	defaultSection  = "DEFAULT"
	olderSection    = "kolla-build" // of options, in Kolla's first releases
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

// holdsOptions reports whether the keys of a section are options.
func holdsOptions(sectionName string) bool {
	return sectionName == defaultSection || sectionName == olderSection
}

func isSource(sectionName string) bool {
	return !holdsOptions(sectionName) && sectionName != profilesSection && !isUser(sectionName)
}

// section is a section other than [DEFAULT], merged from all files. Names that differ
// in case are the same section.
type section struct {
	name   string // as first written
	first  Origin // the first place where a user wrote it, or a default
	keys   map[string][]given
	inFile bool // it is in a user's file
	absent bool // a user that Kolla's branch of the OpenStack release does not have
}

// hasDefaults reports whether the section is one of the built-in ones.
func (s *section) hasDefaults() bool {
	for _, values := range s.keys {
		for _, v := range values {
			if v.origin.Kind == OriginDefault {
				return true
			}
		}
	}
	return false
}

// mergeSections collects the keys of all sections but [DEFAULT], the strongest last:
// the defaults, the files in order, the environment.
func (l *loader) mergeSections() {
	for name, patterns := range l.in.Profiles {
		s := l.section(profilesSection, Origin{Kind: OriginDefault})
		s.keys[name] = []given{{text: strings.Join(patterns, ","), origin: Origin{Kind: OriginDefault}}}
	}
	l.mergeDefaults()
	for _, f := range l.files {
		l.mergeFile(f)
	}
	l.sectionEnv()
	for _, f := range l.files {
		l.checkSections(f)
	}
}

// mergeDefaults adds the default users and sources of the configured release.
func (l *loader) mergeDefaults() {
	name, _ := l.r.string("openstack-release") // an error is reported where options are assigned
	release, known := facts.LookupRelease(name)
	if !known && name != "" {
		l.warnings = append(l.warnings, Warning{Option: "openstack-release",
			Message: fmt.Sprintf("openstack-release %s is not known: base tags and sources are those of master, sources "+
				"from the branch %s", name, release.Branch),
			Hint: releaseHint(name)})
	}
	for _, e := range slices.Concat(release.Users(), release.Sources()) {
		s := l.section(e.Section, Origin{Kind: OriginDefault})
		switch {
		case e.Value != "":
			s.absent = s.absent && e.Key != "uid"
			s.keys[e.Key] = []given{{text: e.Value, origin: Origin{Kind: OriginDefault}}}
		case e.Key == "uid":
			s.absent = true
		case e.Key == "type":
			delete(l.r.sections, normalSection(e.Section))
		default:
			delete(s.keys, e.Key)
		}
	}
}

func (l *loader) mergeFile(f *inifile.File) {
	for _, h := range f.Headers {
		if holdsOptions(normalSection(h.Name)) {
			continue
		}
		origin := Origin{Kind: OriginFile, File: f.Path, Line: h.Line, Text: h.Text}
		if s := l.section(h.Name, origin); !s.inFile {
			s.inFile, s.first = true, origin
		}
	}
	for _, e := range f.Entries {
		if holdsOptions(normalSection(e.Section)) {
			continue
		}
		g := givenInFile(e)
		s := l.section(e.Section, g.origin)
		s.keys[e.Key] = append(s.keys[e.Key], g)
	}
}

// section returns the section of that name, and creates it if it does not exist.
func (l *loader) section(name string, first Origin) *section {
	key := normalSection(name)
	s := l.r.sections[key]
	if s == nil {
		s = &section{name: name, first: first, keys: map[string][]given{}}
		l.r.sections[key] = s
	}
	return s
}

// checkSections warns of sections and keys of a file that have no meaning.
func (l *loader) checkSections(f *inifile.File) {
	reported := map[string]bool{} // unknown sections
	for _, h := range f.Headers {
		name := normalSection(h.Name)
		if name == olderSection && !reported[name] {
			reported[name] = true
			l.warnings = append(l.warnings, Warning{File: f.Path, Line: h.Line, Column: 2, SourceLine: h.Text,
				Message: fmt.Sprintf("[%s] is read as [%s]", h.Name, defaultSection), Hint: "write [" + defaultSection + "]"})
		}
		if holdsOptions(name) || name == profilesSection || isUser(name) || l.knownSource(name) || reported[name] {
			continue
		}
		reported[name] = true
		if len(l.r.sections[name].keys) == 0 {
			continue
		}
		w := Warning{File: f.Path, Line: h.Line, Column: 2, SourceLine: h.Text,
			Message: fmt.Sprintf("unknown section [%s]", h.Name)}
		if l.hasOptionKeys(name) {
			w.Hint = "options belong in [DEFAULT]"
		}
		if len(l.misspelled) >= maxReported {
			// Comparing thousands of names with all others takes minutes.
		} else if n := suggest.Nearest(h.Name, l.sectionNames()); n != "" {
			w.Hint = fmt.Sprintf("did you mean [%s]?", n)
		}
		l.misspelled = append(l.misspelled, w)
	}
	for _, e := range f.Entries {
		name := normalSection(e.Section)
		switch {
		case holdsOptions(name) || reported[name]:
		case name == profilesSection:
			if o := lookupKey(e.Key); o != nil {
				l.warnings = append(l.warnings, keyWarning(e,
					fmt.Sprintf("%s is an option of [DEFAULT]; here it defines a profile", e.Key), ""))
			}
		case isUser(name) && !slices.Contains(userKeys, e.Key):
			l.unknownKey(e, userKeys)
		case isSource(name) && !slices.Contains(sourceKeys, e.Key):
			l.unknownKey(e, sourceKeys)
		}
	}
}

// knownSource reports whether a section describes a source: it has the name of a
// plugin or an addition, or a key of sources.
func (l *loader) knownSource(name string) bool {
	if strings.Contains(name, "-plugin-") || strings.Contains(name, "-additions-") {
		return true
	}
	for _, key := range sourceKeys {
		if len(l.r.sections[name].keys[key]) > 0 {
			return true
		}
	}
	return false
}

// hasOptionKeys reports whether a section has a key that is an option.
func (l *loader) hasOptionKeys(name string) bool {
	for key := range l.r.sections[name].keys {
		if lookupKey(key) != nil {
			return true
		}
	}
	return false
}

// sectionNames returns the names of known sections, for suggestions.
func (l *loader) sectionNames() []string {
	names := []string{defaultSection, profilesSection}
	for name, s := range l.r.sections {
		if !s.inFile && name != profilesSection {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// unknownKey warns of a key that its section does not have.
func (l *loader) unknownKey(e *inifile.Entry, known []string) {
	hint := ""
	inDefault := holdsOptions(normalSection(e.Section))
	option := lookupKey(e.Key)
	switch {
	case len(l.misspelled) >= maxReported:
	case !inDefault && option != nil:
		hint = fmt.Sprintf("%s is an option of [DEFAULT]", option.Key())
	case inDefault && len(l.in.Profiles[e.Key]) > 0:
		hint = fmt.Sprintf("the profile %s belongs in [profiles]", e.Key)
	case inDefault && ansibleNames[e.Key] != "":
		hint = fmt.Sprintf("did you mean %q? %s is a variable of kolla-ansible or kayobe", ansibleNames[e.Key], e.Key)
	case inDefault && negatedSwitch(e.Key) != nil:
		hint = fmt.Sprintf("write %s = false", negatedSwitch(e.Key).Key())
	case suggest.Nearest(e.Key, known) != "":
		hint = suggest.DidYouMean(e.Key, known)
	case inDefault && slices.Contains(sourceKeys, e.Key):
		hint = fmt.Sprintf("%s belongs in the section of an image, such as [keystone-base]", e.Key)
	case inDefault && slices.Contains(userKeys, e.Key):
		hint = fmt.Sprintf("%s belongs in the section of a user, such as [nova-user]", e.Key)
	case !inDefault && suggest.Nearest(e.Key, optionKeys()) != "":
		hint = fmt.Sprintf("did you mean the option %s of [DEFAULT]?", suggest.Nearest(e.Key, optionKeys()))
	}
	l.misspelled = append(l.misspelled, keyWarning(e, fmt.Sprintf("[%s] has no key %q", e.Section, e.Key), hint))
}

// negatedSwitch returns the switch that a key such as no_cache turns off on the command line,
// nil if there is none.
func negatedSwitch(key string) *Option {
	name, negated := strings.CutPrefix(key, "no")
	if o := lookupKey(strings.TrimLeft(name, "_-")); negated && o != nil && o.Kind == Bool {
		return o
	}
	return nil
}

// releaseHint suggests a release for an unknown name, such as a branch, a codename or a
// version.
func releaseHint(name string) string {
	// Kolla's newest branches still have the codename of the release before.
	for _, r := range slices.Backward(facts.Releases()) {
		release, _ := facts.LookupRelease(r)
		if strings.EqualFold(release.Codename, name) || strings.HasSuffix(name, r) && strings.ContainsAny(name, "/-") {
			return fmt.Sprintf("write %s", r)
		}
	}
	return cmp.Or(suggest.DidYouMean(name, facts.Releases()), "the known ones are "+strings.Join(facts.Releases(), ", "))
}

// ansibleNames are the keys that do what variables of kolla-ansible and kayobe do.
var ansibleNames = map[string]string{
	"docker_namespace": "namespace", "docker_registry": "registry", "docker_registry_insecure": "registry_insecure",
	"kolla_base_arch": "base_arch", "kolla_base_distro": "base", "kolla_base_distro_version": "base_tag",
	"kolla_build_args": "build_args", "kolla_build_blocks": "template_override",
	"kolla_build_customizations": "template_override", "kolla_container_engine": "engine",
	"kolla_docker_namespace": "namespace", "kolla_docker_registry": "registry",
	"kolla_docker_registry_insecure": "registry_insecure", "kolla_install_type": "install_type",
	"kolla_openstack_release": "openstack_release", "kolla_tag": "tag", "openstack_tag": "tag",
}

func keyWarning(e *inifile.Entry, message, hint string) Warning {
	return Warning{File: e.File, Line: e.Line, Column: e.KeyColumn, SourceLine: e.Text,
		Option: e.Key, Message: message, Hint: hint}
}

// sectionValue returns the expanded value of a section's key, "" for none. Errors are
// recorded.
func (l *loader) sectionValue(name, key string) string {
	text, _, err := l.r.key(name, key)
	var located *Error
	switch {
	case err == nil:
	case errors.As(err, &located):
		l.fail(err)
	default:
		l.fail(l.r.lastGiven(name, key).err(key, err.Error(), ""))
	}
	return text
}

// lastGiven returns the value that decides a section's key, as written.
func (r *resolver) lastGiven(name, key string) given {
	s := r.sections[name]
	if s == nil {
		return given{origin: Origin{Kind: OriginDefault}}
	}
	if values := s.keys[key]; len(values) > 0 {
		return values[len(values)-1]
	}
	return given{origin: s.first}
}
