package buildkit

// DefaultCompatibility is the BuildKit compatibility version that images are built
// with: that of BuildKit 0.31 and later. A newer builder then exports the same images.
// Raising it changes digests, so keys contain every value but this one.
const DefaultCompatibility = 30
