package untar

import "strings"

// Format is a format of compressed data.
type Format int

// Plain is everything that does not begin like one of the other formats.
const (
	Plain Format = iota
	Gzip
	Zstd
	Bzip2
	XZ
)

// MagicSize is the number of bytes by which FormatOf recognizes a format.
const MagicSize = 6

// FormatOf returns the format of data from its first bytes.
func FormatOf(head []byte) Format {
	switch s := string(head[:min(len(head), MagicSize)]); {
	case strings.HasPrefix(s, "\x1f\x8b"):
		return Gzip
	// pzstd writes a skippable frame first; there are 16 kinds of them (RFC 8878, section 3.1.2).
	case strings.HasPrefix(s, "\x28\xb5\x2f\xfd"), len(s) >= 4 && s[0]&0xf0 == 0x50 && s[1:4] == "\x2a\x4d\x18":
		return Zstd
	case strings.HasPrefix(s, "BZh"):
		return Bzip2
	case strings.HasPrefix(s, "\xfd7zXZ\x00"):
		return XZ
	}
	return Plain
}
