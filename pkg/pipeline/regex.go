package pipeline

import (
	"fmt"
	"time"

	"github.com/dlclark/regexp2"
)

// backtracking compiles the patterns that Python's re knows and Go's regexp does
// not: look-around, such as ^(?!nova), and references back. They need a matcher
// that can take exponential time, so each match has a limit.
type backtracking struct {
	err error // the first match that took too long
}

const backtrackingLimit = time.Second

func (b *backtracking) compile(pattern string) (func(string) bool, error) {
	re, err := regexp2.Compile(pattern, regexp2.None)
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = backtrackingLimit
	return func(name string) bool {
		if b.err != nil {
			return false
		}
		ok, err := re.MatchString(name)
		if err != nil {
			b.err = &HintError{fmt.Errorf("regex %q: matching %s took longer than %v", pattern, name, backtrackingLimit),
				"nested repetitions such as (a+)+ try every split; write it without"}
		}
		return ok
	}, nil
}
