package bundle

import (
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ocijson"
)

// Limits of a bundle. They bound the memory that reading one takes; manifests have
// the limits of package ocijson.
const (
	maxLayout   = 4 << 10
	maxIndex    = 32 << 20
	maxImages   = 50_000
	maxBlobs    = 250_000 // blobs in a bundle or referred to by it
	maxDirs     = 1000
	maxManifest = ocijson.MaxBytes
)

const dockerManifest = "manifest.json"

// FormatError reports that a file is not a bundle or is damaged.
type FormatError struct {
	Member string        // the file within the tar, "" if the error is about the whole
	Blob   digest.Digest // the blob, "" if the error is not about one
	Of     string        // the blob's role: "layer 3 of 7 of localhost:4000/kolla/nova-api:t"
	Detail string
	Advice string // a hint for the user, "" for none
	Err    error
}

func (e *FormatError) Error() string {
	var s string
	switch {
	case e.Blob != "" && e.Of != "":
		s = fmt.Sprintf("blob %s (%s): ", e.Blob, e.Of)
	case e.Blob != "":
		s = fmt.Sprintf("blob %s: ", e.Blob)
	case e.Member != "":
		s = fmt.Sprintf("file %q in it: ", e.Member)
	}
	s += e.Detail
	if e.Err != nil {
		if e.Detail != "" {
			s += ": "
		}
		s += e.Err.Error()
	}
	return s
}

// Hint returns a hint for the user.
func (e *FormatError) Hint() string { return e.Advice }

// Unwrap returns the cause.
func (e *FormatError) Unwrap() error { return e.Err }

const (
	adviceTruncated = "the file is truncated: copy it again; blobs that arrived complete are kept, so that loading it " +
		"again continues from there"
	adviceDamaged  = "the file is damaged: copy it again"
	adviceForeign  = "save does not write this: do not trust the file"
	adviceNoBundle = "a bundle is written by kolla-build save"
)
