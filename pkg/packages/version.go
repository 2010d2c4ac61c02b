package packages

import (
	"cmp"
	"strings"

	rpm "github.com/knqyf263/go-rpm-version"
	deb "pault.ag/go/debian/version"
)

// maxVersionLength is the longest version, in bytes, that is compared as one. Real
// versions are far shorter; a longer one comes from a hostile image.
const maxVersionLength = 256

// CompareVersions compares two versions as the package manager of that type
// does: it returns a negative number if a is older than b, and a positive one if
// it is newer. Versions of Python packages are compared as rpm's, which is
// enough to sort them. Versions that are not valid are compared as text.
func CompareVersions(typ, a, b string) int {
	if a == b {
		return 0
	}
	if len(a) > maxVersionLength || len(b) > maxVersionLength {
		return cmp.Compare(a, b)
	}
	if typ == Deb {
		return compareDeb(a, b)
	}
	return compareRPM(a, b)
}

func compareDeb(a, b string) int {
	va, errA := deb.Parse(a)
	vb, errB := deb.Parse(b)
	if errA != nil || errB != nil {
		return cmp.Compare(a, b)
	}
	return cmp.Compare(deb.Compare(va, vb), 0)
}

// compareRPM compares [EPOCH:]VERSION[-RELEASE]. A version without a release
// equals the same version with any release, as in rpm's dependencies.
func compareRPM(a, b string) int {
	if !strings.Contains(a, "-") || !strings.Contains(b, "-") {
		a, _, _ = strings.Cut(a, "-")
		b, _, _ = strings.Cut(b, "-")
	}
	return rpm.NewVersion(a).Compare(rpm.NewVersion(b))
}
