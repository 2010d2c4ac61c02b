package bundle

import (
	"strings"

	"github.com/kolla-build/kolla-build/internal/usererr"
)

// Printable returns a text from a bundle, quoted unless a terminal can show it, in at most 300 bytes.
func Printable(s string) string {
	s = usererr.Printable(s)
	if len(s) > 300 {
		return strings.ToValidUTF8(s[:300], "")
	}
	return s
}
