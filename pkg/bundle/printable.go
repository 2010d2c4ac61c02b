package bundle

import "github.com/kolla-build/kolla-build/internal/printable"

// Printable returns a text from a bundle, quoted unless a terminal can show it, in at most 300 bytes.
func Printable(s string) string { return printable.Bytes(printable.Quoted(s), 300) }
