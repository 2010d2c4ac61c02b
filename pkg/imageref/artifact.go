package imageref

import "regexp"

var artifactTag = regexp.MustCompile(`^sha256-([0-9a-f]{64})(\.[a-z]+)?$`)

// IsArtifactTag reports whether a tag names an artifact of another image in the same
// repository: a list of referrers (OCI), or a signature, attestation or SBOM (cosign).
func IsArtifactTag(tag string) bool { return artifactTag.MatchString(tag) }

// ArtifactSubject returns the hexadecimal SHA-256 digest of the manifest that an artifact
// tag belongs to, "" for another tag.
func ArtifactSubject(tag string) string {
	m := artifactTag.FindStringSubmatch(tag)
	if m == nil {
		return ""
	}
	return m[1]
}
