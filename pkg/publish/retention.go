package publish

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/usererr"
)

// Retention specifies which older sets are kept. A nil Retention keeps all.
type Retention struct {
	count   int           // sets that are kept, 0 if age counts
	age     time.Duration // maximum age of a set, relative to this run's
	runTags []datedTag    // this run's tags that contain a date
}

// datedTag is a tag that contains a date. Tags of the same shape form a series: the text
// around the date and the form of the date are the same. A number after the date, as the
// second set of a day has, makes no difference.
type datedTag struct {
	tag   string
	shape string
	when  time.Time
	nth   int // a number after the date, as in 2026-11-22.2
}

func (d datedTag) compare(o datedTag) int {
	return cmp.Or(d.when.Compare(o.when), cmp.Compare(d.nth, o.nth), cmp.Compare(d.tag, o.tag))
}

var retainSyntax = regexp.MustCompile(`^([0-9]{1,6})([hdw]?)$`)

// CheckRetention returns an error if --retain is not written correctly.
func CheckRetention(text string) error {
	_, err := parseRetention(text)
	return err
}

func parseRetention(text string) (*Retention, error) {
	if text == "" {
		return nil, nil
	}
	m := retainSyntax.FindStringSubmatch(text)
	if m == nil {
		return nil, usererr.Errorf("such as --retain 14, --retain 30d or --retain 8w",
			"--retain %s: expected a number of sets, or an age", text)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n == 0 {
		return nil, usererr.Errorf("omit it to keep every set", "--retain %s: no set would be kept", text)
	}
	k := &Retention{}
	switch m[2] {
	case "":
		k.count = n
	case "h":
		k.age = time.Duration(n) * time.Hour
	case "d":
		k.age = time.Duration(n) * 24 * time.Hour
	case "w":
		k.age = time.Duration(n) * 7 * 24 * time.Hour
	}
	return k, nil
}

// ParseRetention reads --retain, nil if it is "". tags are the tags of this run; one of
// them must contain a date, which defines the series of sets. If --retain is an age,
// the date must not be in the future, because a wrong year would remove every set.
func ParseRetention(text string, tags []string, now time.Time) (*Retention, error) {
	k, err := parseRetention(text)
	if k == nil || err != nil {
		return nil, err
	}
	for _, tag := range tags {
		if d, ok := parseDated(tag); ok && !slices.Contains(k.runTags, d) {
			k.runTags = append(k.runTags, d)
		}
	}
	for _, d := range k.runTags {
		// The date may be from a time zone where the next day has begun.
		if k.age > 0 && d.when.After(now.Add(24*time.Hour)) {
			return nil, usererr.Errorf("is the date right? --retain 14 counts sets instead",
				"--retain %s: ages count from the date in tag %s, which is in the future", text, d.tag)
		}
	}
	if len(k.runTags) == 0 {
		return nil, usererr.Errorf("name each set by its day: --tag \"$(date +%F)\" --also-tag nightly",
			"--retain %s: no tag of this run contains a date, so there is no series of sets (%s)",
			text, strings.Join(slices.Compact(slices.Sorted(slices.Values(tags))), ", "))
	}
	return k, nil
}

// HasDate reports whether a tag contains a date.
func HasDate(tag string) bool {
	_, ok := parseDated(tag)
	return ok
}

// UndatedTag returns the tag or, if that has a date, the first of the others that has none; the
// tag if all have one. Images have it as their version label: a set can have many dated tags,
// and the label must not contain one that is removed while the image is still used.
func UndatedTag(tag string, alsoTags []string) string {
	if HasDate(tag) {
		for _, other := range alsoTags {
			if !HasDate(other) {
				return other
			}
		}
	}
	return tag
}

// dateSyntax finds a date with an optional time and an optional number after it.
var dateSyntax = regexp.MustCompile(
	`(?:^|[^0-9])([0-9]{4})([-._]?)([0-9]{2})([-._]?)([0-9]{2})` + // date
		`(?:([-._T]?)([0-9]{2})([-.:_]?)([0-9]{2})(?:([-.:_]?)([0-9]{2}))?(Z?))?` + // time
		`(?:([-.])([0-9]{1,3}))?(?:[^0-9]|$)`) // number

// parseDated reads a tag that contains a date, such as 2026-11-22, nightly-20261122
// or 2026.11.22-0300-debian. It must be a day of the calendar.
func parseDated(tag string) (datedTag, bool) {
	m := dateSyntax.FindStringSubmatchIndex(tag)
	if m == nil {
		return datedTag{}, false
	}
	part := func(i int) string {
		if m[2*i] < 0 {
			return ""
		}
		return tag[m[2*i]:m[2*i+1]]
	}
	num := func(i int) int {
		n, _ := strconv.Atoi(part(i)) // digits or ""
		return n
	}
	if part(2) != part(4) {
		return datedTag{}, false
	}
	month, day, hour, minute, second := time.Month(num(3)), num(5), num(7), num(9), num(11)
	date := time.Date(num(1), month, day, hour, minute, second, 0, time.UTC)
	if date.Year() < 1990 || date.Month() != month || date.Day() != day || hour > 23 || minute > 59 || second > 59 {
		return datedTag{}, false
	}
	// The shape is the tag with a "#" for each digit of the date, without a number after
	// it: 2026-11-22, 2026-11-22-2 and 2026-11-22.3 are sets of the same series.
	shape := []byte(tag)
	for _, i := range []int{1, 3, 5, 7, 9, 11} {
		if m[2*i] >= 0 {
			copy(shape[m[2*i]:m[2*i+1]], strings.Repeat("#", m[2*i+1]-m[2*i]))
		}
	}
	d := datedTag{tag: tag, when: date, nth: num(14), shape: string(shape)}
	if m[2*14] >= 0 {
		d.shape = string(shape[:m[2*13]]) + string(shape[m[2*14+1]:])
	}
	return d, true
}

// expired returns the tags to remove: the older ones of each of this run's series. A
// set consists of its tags in all repositories, so a tag is kept or removed in all of
// them.
func (k *Retention) expired(tags []string) map[string]bool {
	expired := map[string]bool{}
	for _, runTag := range k.runTags {
		series := map[string]datedTag{runTag.tag: runTag}
		for _, tag := range tags {
			if d, ok := parseDated(tag); ok && d.shape == runTag.shape {
				series[tag] = d
			}
		}
		newest := slices.SortedFunc(maps.Values(series), func(a, b datedTag) int { return b.compare(a) })
		for i, d := range newest {
			if k.count > 0 && i >= k.count || k.count == 0 && runTag.when.Sub(d.when) > k.age {
				expired[d.tag] = true
			}
		}
	}
	for _, runTag := range k.runTags {
		delete(expired, runTag.tag)
	}
	return expired
}
