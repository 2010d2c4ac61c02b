// Package profiles owns the default profiles of Kolla's kolla-build: named lists of
// regular expressions that select images.
//
// They are data, in profiles.conf. It must not know the users' own profiles in
// kolla-build.conf (see pkg/config), or the images of a tree.
package profiles

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed profiles.conf
var conf string

// All returns the default profiles: a map from names to expressions, in the file's
// order. The caller may modify it. An error is a mistake in the embedded data and names
// the line.
func All() (map[string][]string, error) {
	return parse(conf)
}

func parse(content string) (map[string][]string, error) {
	profiles := map[string][]string{}
	for number, line := range strings.Split(content, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fail := func(format string, args ...any) error {
			return fmt.Errorf("profiles.conf:%d: %w", number+1, fmt.Errorf(format, args...))
		}
		name, list, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return nil, fail("%q is not NAME = EXPRESSION, ...", line)
		}
		if profiles[name] != nil {
			return nil, fail("there are two profiles %s", name)
		}
		for expression := range strings.SplitSeq(list, ",") {
			expression = strings.TrimSpace(expression)
			if expression == "" {
				return nil, fail("profile %s has an empty expression, which would match every image", name)
			}
			if _, err := regexp.Compile(expression); err != nil {
				return nil, fail("profile %s: %w", name, err)
			}
			profiles[name] = append(profiles[name], expression)
		}
	}
	return profiles, nil
}
