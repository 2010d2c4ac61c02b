package imageref

import (
	"fmt"
	"regexp"
	"strings"
)

// maxTag is the greatest length of a tag in bytes.
const maxTag = 128

var (
	tagPattern     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	tagRunePattern = regexp.MustCompile(`^[A-Za-z0-9._-]$`)
)

// CheckTag checks a tag. The error is an *Error that names the first character that
// is not allowed, and suggests a tag that is.
func CheckTag(tag string) error {
	if tagPattern.MatchString(tag) {
		return nil
	}
	e := &Error{Part: "tag", Value: tag}
	switch {
	case tag == "":
		e.Problem = "it is empty"
		return e
	case len(tag) > maxTag:
		e.Problem = fmt.Sprintf("it has %d characters, %d are allowed", len(tag), maxTag)
		return e
	case strings.ContainsAny(tag[:1], ".-"):
		e.Problem = fmt.Sprintf("it may not begin with %q", tag[:1])
	default:
		position := 0
		for _, r := range tag {
			position++
			if !tagRunePattern.MatchString(string(r)) {
				e.Problem = fmt.Sprintf("character %q at position %d is not allowed (letters, digits, '_', '.' and '-' are)", r,
					position)
				break
			}
		}
	}
	fixed := strings.TrimLeft(strings.Map(func(r rune) rune {
		if tagRunePattern.MatchString(string(r)) {
			return r
		}
		return '-'
	}, tag), ".-")
	if tagPattern.MatchString(fixed) {
		e.Suggestion = fixed
	}
	return e
}
