package parts

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/opencontainers/go-digest"
)

// checksum is that of a payload, with the name of its algorithm. It finds damage; the digests in
// the stream protect against changes that someone makes on purpose. See
// docs/decisions/022-checksums-of-parts.md.
type checksum string

// algorithm returns how the payloads of a version are hashed.
func algorithm(version int) (name string, h hash.Hash) {
	if version == 1 {
		return "sha256", sha256.New()
	}
	return "xxh64", xxhash.New()
}

// newHash returns a hash of payloads.
func newHash(version int) hash.Hash {
	_, h := algorithm(version)
	return h
}

// newChecksum returns the checksum of a payload that was hashed.
func newChecksum(version int, sum []byte) checksum {
	name, _ := algorithm(version)
	return checksum(name + ":" + hex.EncodeToString(sum))
}

func (c checksum) valid(version int) bool {
	name, h := algorithm(version)
	digits, ok := strings.CutPrefix(string(c), name+":")
	b, err := hex.DecodeString(digits)
	return ok && err == nil && len(b) == h.Size() && strings.ToLower(digits) == digits
}

// setDigest returns the digest of a set: that of lines with the checksums of its data parts.
func setDigest(sums []checksum) digest.Digest {
	set := digest.Canonical.Digester()
	for _, sum := range sums {
		_, _ = io.WriteString(set.Hash(), string(sum)+"\n") // a hash does not fail
	}
	return set.Digest()
}
