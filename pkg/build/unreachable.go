package build

import (
	"fmt"
	"strings"
)

// unreachable is a repository of packages that could not be reached or verified. Package
// managers warn of it and go on, and then do not find packages.
type unreachable struct {
	family family
	place  string // its URL
	text   string // what is shown
	hint   string
}

// unreachablePattern is the kind of causes that are repositories.
var unreachablePattern = &causePattern{rank: rankResource, first: true}

// read reports whether a line says that a repository could not be reached or verified. One of apt that is
// reached later is forgotten.
func (u *unreachable) read(line string) bool {
	if rest, ok := cutPrefixes(line, "W: ", "Warning: "); ok && u.family == "" {
		if _, problem, found := strings.Cut(rest, "GPG error: "); found {
			place, reason, _ := strings.Cut(problem, ": ")
			place = strings.TrimSuffix(place, " InRelease")
			*u = unreachable{
				aptFamily, place, fmt.Sprintf("the repository %s could not be verified: %s", place, reason), keyHint,
			}
			return true
		}
	}
	if rest, ok := cutPrefixes(line, "W: Failed to fetch ", "Warning: Failed to fetch "); ok {
		if u.family == "" {
			place, reason, _ := strings.Cut(rest, " ")
			place, _, _ = strings.Cut(place, "/dists/")
			*u = unreachable{
				aptFamily, place, fmt.Sprintf("the repository %s could not be reached: %s", place, strings.TrimSpace(reason)),
				networkHint,
			}
		}
		return true
	}
	if rest, ok := cutPrefixes(line, "WARNING: Retrying (Retry(total=0,"); ok { // the last attempt of pip
		_, reason, _ := strings.Cut(rest, " after connection broken by ")
		reason, path, _ := strings.Cut(reason, "': ")
		if i := strings.LastIndex(reason, ">: "); i >= 0 {
			reason = reason[i+len(">: "):]
		}
		*u = unreachable{pipFamily, path,
			fmt.Sprintf("the package index could not be reached for %s: %s", path, strings.Trim(reason, "')")), networkHint}
		return true
	}
	if rest, ok := cutPrefixes(line, "Get:", "Hit:"); ok && u.family == aptFamily {
		if fields := strings.Fields(rest); len(fields) > 1 && strings.HasPrefix(u.place, strings.TrimSuffix(fields[1], "/")) {
			*u = unreachable{}
		}
	}
	return false
}

func cutPrefixes(line string, prefixes ...string) (string, bool) {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(line, p); ok {
			return rest, true
		}
	}
	return "", false
}
