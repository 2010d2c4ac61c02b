// Package profiles holds the default profiles: named lists of regular
// expressions that select images, as Kolla's kolla-build has them.
//
// They are data, in profiles.conf. Users' own profiles, in kolla-build.conf,
// are pkg/config's affair; this package knows nothing of them, nor of which
// images there are.
package profiles

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed profiles.conf
var conf string

// All returns the default profiles: from a profile's name to its expressions,
// in the file's order. The map and its slices are the caller's own. An error
// names the line, and is a mistake in the embedded data.
func All() (map[string][]string, error) {
	return parse(conf)
}

func parse(content string) (map[string][]string, error) {
	all := map[string][]string{}
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
		if all[name] != nil {
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
			all[name] = append(all[name], expression)
		}
	}
	return all, nil
}
