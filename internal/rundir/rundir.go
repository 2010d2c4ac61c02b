// Package rundir owns the names of the directories of runs: the time at which a run started,
// and a number if others started in the same second. It must not know what the directories
// contain.
package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"time"
)

const layout = "2006-01-02T150405"

// pattern matches the time, with a Z for UTC, and the number.
var pattern = regexp.MustCompile(`^(\d{4}-\d\d-\d\dT\d{6}Z?)(-\d+)?$`)

// Name returns the name for the first run that starts at a time, in the zone of the time.
func Name(started time.Time) string { return started.Format(layout) }

// NameUTC is Name in UTC, marked with a Z.
func NameUTC(started time.Time) string { return started.UTC().Format(layout) + "Z" }

// Create calls create with a name from Name or NameUTC, then with a number appended, until
// the error is not fs.ErrExist.
func Create(name string, create func(name string) error) error {
	base := name
	for i := 2; ; i++ {
		if err := create(name); !errors.Is(err, fs.ErrExist) {
			return err
		}
		name = fmt.Sprintf("%s-%d", base, i)
	}
}

// IsName reports whether a directory has a name of a run, from Name. Other directories must
// not be removed.
func IsName(name string) bool { return pattern.MatchString(name) && !strings.Contains(name, "Z") }

// IsNameUTC is IsName for names from NameUTC.
func IsNameUTC(name string) bool { return pattern.MatchString(name) && strings.Contains(name, "Z") }

// Compare orders names by time; the tenth run of a second follows the second one.
func Compare(a, b string) int { return strings.Compare(sortKey(a), sortKey(b)) }

func sortKey(name string) string {
	m := pattern.FindStringSubmatch(name)
	if m == nil {
		return name
	}
	return fmt.Sprintf("%s %9s", m[1], strings.TrimPrefix(m[2], "-"))
}
