package syntax

import (
	"strings"

	"golang.org/x/text/unicode/runenames"
)

// runeNamed finds a character by its Unicode name, in any case. It searches all:
// \N{...} is rare in templates.
func runeNamed(name string) (rune, bool) {
	name = strings.ToUpper(name)
	for r := rune(' '); r <= 0x1FBFF; r++ {
		if n := runenames.Name(r); n == name && !strings.HasPrefix(n, "<") {
			return r, true
		}
	}
	return 0, false
}
