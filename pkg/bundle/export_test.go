package bundle

// For tests in package bundle_test.
const (
	MaxManifestEntry = maxManifestEntry
	MaxKey           = maxKey
	CheckField       = checkField
)
