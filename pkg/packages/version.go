package packages

import (
	"cmp"
	"strings"
)

// CompareVersions compares two versions as the package manager of that type
// does: negative if a is older than b. Python's are compared as rpm's, which is
// enough to sort them.
func CompareVersions(typ, a, b string) int {
	if typ == Deb {
		return compareDeb(a, b)
	}
	return compareRPM(a, b)
}

// compareDeb is deb-version(7): epoch, upstream version, revision.
func compareDeb(a, b string) int {
	ea, a := cutEpoch(a)
	eb, b := cutEpoch(b)
	ua, ra := cutRevision(a)
	ub, rb := cutRevision(b)
	return cmp.Or(compareDigits(ea, eb), compareDebPart(ua, ub), compareDebPart(ra, rb))
}

func cutEpoch(v string) (epoch, rest string) {
	if e, rest, ok := strings.Cut(v, ":"); ok {
		return e, rest
	}
	return "0", v
}

func cutRevision(v string) (upstream, revision string) {
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return v[:i], v[i+1:]
	}
	return v, ""
}

// compareDebPart compares by turns what is no digit, with "~" before the end
// and letters before the rest, and numbers.
func compareDebPart(a, b string) int {
	for a != "" || b != "" {
		for (a != "" && !isDigit(a[0])) || (b != "" && !isDigit(b[0])) {
			if c := cmp.Compare(debOrder(a), debOrder(b)); c != 0 {
				return c
			}
			a, b = tail(a), tail(b)
		}
		na, nb := digits(a), digits(b)
		if c := compareDigits(na, nb); c != 0 {
			return c
		}
		a, b = a[len(na):], b[len(nb):]
	}
	return 0
}

func debOrder(s string) int {
	switch {
	case s == "" || isDigit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case isLetter(s[0]):
		return int(s[0])
	}
	return int(s[0]) + 256
}

func tail(s string) string {
	if s == "" {
		return s
	}
	return s[1:]
}

// compareRPM compares [EPOCH:]VERSION[-RELEASE] as rpm does. A side without a
// release matches any, as in rpm's dependencies.
func compareRPM(a, b string) int {
	ea, a := cutEpoch(a)
	eb, b := cutEpoch(b)
	va, ra := cutRevision(a)
	vb, rb := cutRevision(b)
	if ra == "" || rb == "" {
		ra, rb = "", ""
	}
	return cmp.Or(compareDigits(ea, eb), compareRPMPart(va, vb), compareRPMPart(ra, rb))
}

// compareRPMPart is rpmvercmp: segments of digits or letters, whatever is
// between them; "~" sorts before the end, "^" after it and before more.
func compareRPMPart(a, b string) int {
	if a == b {
		return 0
	}
	for a != "" || b != "" {
		a, b = skipSeparators(a), skipSeparators(b)
		if ta, tb := strings.HasPrefix(a, "~"), strings.HasPrefix(b, "~"); ta || tb {
			if !ta {
				return 1
			}
			if !tb {
				return -1
			}
			a, b = a[1:], b[1:]
			continue
		}
		if ca, cb := strings.HasPrefix(a, "^"), strings.HasPrefix(b, "^"); ca || cb {
			switch {
			case a == "":
				return -1
			case b == "":
				return 1
			case !ca:
				return 1
			case !cb:
				return -1
			}
			a, b = a[1:], b[1:]
			continue
		}
		if a == "" || b == "" {
			break
		}
		var sa, sb string
		if isDigit(a[0]) {
			if sa, sb = digits(a), digits(b); sb == "" {
				return 1 // numbers are newer than letters
			}
			if c := compareDigits(sa, sb); c != 0 {
				return c
			}
		} else {
			if sa, sb = letters(a), letters(b); sb == "" {
				return -1
			}
			if c := cmp.Compare(sa, sb); c != 0 {
				return c
			}
		}
		a, b = a[len(sa):], b[len(sb):]
	}
	return cmp.Compare(len(a), len(b))
}

func skipSeparators(s string) string {
	return strings.TrimLeftFunc(s, func(r rune) bool {
		return !(r < 0x80 && (isDigit(byte(r)) || isLetter(byte(r)))) && r != '~' && r != '^'
	})
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func digits(s string) string  { return prefix(s, isDigit) }
func letters(s string) string { return prefix(s, isLetter) }

func prefix(s string, in func(byte) bool) string {
	for i := range len(s) {
		if !in(s[i]) {
			return s[:i]
		}
	}
	return s
}

// compareDigits compares numbers of any length.
func compareDigits(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}
