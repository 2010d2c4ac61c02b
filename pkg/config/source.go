package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/suggest"
)

// fillSources reads the sections of sources.
func (l *loader) fillSources() {
	l.c.Sources = map[string]Source{}
	for name, section := range l.r.sections {
		if !isSource(name) || !l.knownSource(name) {
			continue
		}
		raw := func(key string) string { return l.r.lastGiven(name, key).text }
		source := Source{Name: section.name, Mirrors: parseList(raw("mirrors")), Type: raw("type"), Location: raw("location"),
			Reference: raw("reference"),
			Version:   raw("version"), Enabled: true, Origin: section.first}
		if text := l.sectionValue(name, "enabled"); text != "" {
			enabled, err := parseBool(text)
			if err != nil {
				l.fail(l.r.lastGiven(name, "enabled").err("enabled", err.Error(), boolHint))
			}
			source.Enabled = enabled
		}
		sums, err := parseDict(l.sectionValue(name, "sha256"))
		if err != nil {
			l.fail(l.r.lastGiven(name, "sha256").err("sha256", err.Error(), "write amd64:DIGEST,arm64:DIGEST"))
		}
		if len(sums) > 0 {
			source.SHA256 = sums
		}
		l.c.Sources[name] = source
		if !section.inFile {
			continue
		}
		// The user's values are expanded now, so that mistakes are reported early.
		for _, key := range []string{"location", "reference", "version", "mirrors"} {
			l.sectionValue(name, key)
		}
		kind := l.sectionValue(name, "type")
		if kind != "" && !slices.Contains(sourceTypes, kind) {
			l.fail(l.r.lastGiven(name, "type").err("type",
				fmt.Sprintf("%q is not one of %s", kind, strings.Join(sourceTypes, ", ")), suggest.DidYouMean(kind, sourceTypes)))
		}
		if given := l.r.lastGiven(name, "location"); kind == "" && given.entry != nil && given.entry.Value != "" {
			l.warnings = append(l.warnings, warningAt(given.origin, "location",
				fmt.Sprintf("[%s] has a location and no type, so it describes no source", name), "add type = url, git or local"))
		}
		l.checkDigests(name, sums)
	}
}

var (
	digest  = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
	sumKeys = []string{"amd64", "arm64"}
)

func (l *loader) checkDigests(name string, sums map[string]string) {
	for _, arch := range slices.Sorted(maps.Keys(sums)) {
		if !digest.MatchString(sums[arch]) {
			l.fail(l.r.lastGiven(name, "sha256").err("sha256",
				fmt.Sprintf("the digest of %s is not 64 hexadecimal digits", arch), "sha256sum FILE prints it"))
		}
		if !slices.Contains(sumKeys, arch) {
			l.fail(l.r.lastGiven(name, "sha256").err("sha256",
				fmt.Sprintf("%q is not one of %s", arch, strings.Join(sumKeys, ", ")), suggest.DidYouMean(arch, sumKeys)))
		}
	}
}

// ExpandSource returns the source of a section with $name and ${name} replaced in its
// type, location, reference, version and mirrors. Values are taken from vars, then from
// the section itself, then from the options; an unknown name is an *Error. If there is
// no such section, the result is a Source that is not enabled.
func (c *Config) ExpandSource(name string, vars map[string]string) (Source, error) {
	name = normalSection(name)
	source, ok := c.Sources[name]
	if !ok {
		return Source{Name: name}, nil
	}
	r := *c.resolver // a copy, which has its own list of active names
	r.vars, r.active, r.lookUps = vars, nil, 0
	if len(vars) > 0 {
		// Values of options can depend on vars.
		r.values = map[*Option]resolved{}
	}
	for key, field := range map[string]*string{"type": &source.Type, "location": &source.Location,
		"reference": &source.Reference, "version": &source.Version} {
		text, _, err := r.key(name, key)
		if err != nil {
			return Source{}, err
		}
		*field = text
	}
	text, _, err := r.key(name, "mirrors")
	if err != nil {
		return Source{}, err
	}
	source.Mirrors = parseList(text)
	return source, nil
}

// CheckSources returns a warning for each section of a user's file that describes the
// source of an image that does not exist. images are the names of all images. With
// --strict, callers treat the warnings as errors.
func (c *Config) CheckSources(images []string) []Warning {
	known := map[string]bool{}
	for _, name := range images {
		known[name] = true
	}
	var warnings []Warning
	for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
		s := c.resolver.sections[name]
		image := name
		for _, infix := range []string{"-plugin-", "-additions-"} {
			image, _, _ = strings.Cut(image, infix)
		}
		// The sample configuration lists every default source, and no tree has all
		// of their images.
		if !s.inFile || s.hasDefaults() || known[image] {
			continue
		}
		w := Warning{File: s.first.File, Line: s.first.Line, Column: 2, SourceLine: s.first.Text, Option: s.name,
			Message: fmt.Sprintf("[%s] describes a source, but there is no image %q", s.name, image)}
		if right := sourceSection(name, known); right != "" {
			w.Hint = fmt.Sprintf("did you mean [%s]?", right)
		} else if len(warnings) < maxReported {
			if n := suggest.Nearest(image, images); n != "" {
				w.Hint = fmt.Sprintf("did you mean [%s]?", n+strings.TrimPrefix(name, image))
			}
		}
		warnings = append(warnings, w)
	}
	return sumUp(warnings)
}

// sourceSection returns the name of the section for a plugin or an addition of a known image
// that a section with plural and singular confused was meant to be, "" for other names.
func sourceSection(name string, known map[string]bool) string {
	for _, kind := range []string{"-plugin", "-additions"} {
		if image, ok := strings.CutSuffix(name, kind); ok && known[image] {
			return name + "-NAME"
		}
	}
	for wrong, right := range map[string]string{"-plugins-": "-plugin-", "-addition-": "-additions-"} {
		if image, rest, ok := strings.Cut(name, wrong); ok && known[image] {
			return image + right + rest
		}
	}
	return ""
}
