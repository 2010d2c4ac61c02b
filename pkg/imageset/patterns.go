package imageset

import (
	"time"

	"github.com/dlclark/regexp2"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/graph"
)

// Patterns are regular expressions that select images by name, in Go's syntax or
// Python's. They are not safe for concurrent use.
type Patterns struct {
	regexes *graph.Regexes
	slow    error // of the first match that took too long
}

// matchLimit bounds a match of a pattern that needs backtracking, which can take
// exponential time.
const matchLimit = time.Second

// CompilePatterns compiles patterns. Those that Go's regexp does not support, such as
// look-around and backreferences, are matched with backtracking.
func CompilePatterns(patterns []string) (*Patterns, error) {
	p := &Patterns{}
	var err error
	p.regexes, err = graph.CompileRegexes(patterns, p.compileBacktracking)
	return p, err
}

// Match reports whether any of the patterns matches a name anywhere, or whether there
// are no patterns. A match that takes too long is an error, because it is unknown
// whether the name matches.
func (p *Patterns) Match(name string) (bool, error) {
	matches := p.regexes.Match(name)
	return matches && p.slow == nil, p.slow
}

func (p *Patterns) compileBacktracking(pattern string) (func(string) bool, error) {
	re, err := regexp2.Compile(pattern, regexp2.None)
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = matchLimit
	return func(name string) bool {
		if p.slow != nil {
			return false
		}
		ok, err := re.MatchString(name)
		if err != nil {
			p.slow = usererr.Errorf("nested repetitions such as (a+)+ try every split; write the pattern without them",
				"regex %q: matching %s took longer than %v", pattern, name, matchLimit)
		}
		return ok
	}, nil
}
