// Package regex compiles regular expressions of configurations and options, whose memory
// it bounds. It must not know what they match.
package regex

import (
	"errors"
	"regexp"
	"regexp/syntax"
)

// maxSize bounds the size of an expression after its repetitions were expanded. Package
// regexp allows some hundred megabytes, which x{1000} reaches with a few kilobytes of text.
const maxSize = 20_000

// maxCaptures bounds the positions of groups that matching keeps: those of all groups, for
// each instruction. They take 16 bytes each.
const maxCaptures = 1_000_000

// ErrTooLarge is the error for an expression that is too large.
var ErrTooLarge = errors.New("the regular expression is too large: its repetitions are expanded")

// Compile is regexp.Compile for expressions of a bounded size.
func Compile(expr string) (*regexp.Regexp, error) {
	parsed, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if n := size(parsed); n > maxSize || n*(1+parsed.MaxCap()) > maxCaptures {
		return nil, ErrTooLarge
	}
	return regexp.Compile(expr)
}

// size returns about how many instructions an expression has, at most maxSize+1. The parser
// bounds its depth.
func size(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n += size(sub)
		if n > maxSize {
			return maxSize + 1
		}
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, maxSize+1)
}
