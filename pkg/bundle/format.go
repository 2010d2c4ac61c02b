package bundle

import (
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ocijson"
)

// Limits of a bundle. They bound the memory that reading one takes.
const (
	MaxLayout        = 4 << 10          // bytes of oci-layout, and of the signature
	MaxIndex         = 32 << 20         // bytes of index.json, manifest.json and delta.json
	MaxManifest      = 64 << 20         // bytes of kolla-bundle.json
	MaxImageManifest = ocijson.MaxBytes // bytes of the manifest, index or config of an image
	MaxImages        = 50_000           // images in the index
	MaxBlobs         = 250_000          // blobs in a bundle or referred to by it
	MaxFiles         = MaxBlobs + 16    // files of a bundle
)

// FormatError reports that a file is not a bundle or is damaged.
type FormatError struct {
	Member string        // the file within the tar, "" if the error is about the whole
	Blob   digest.Digest // the blob, "" if the error is not about one
	Of     string        // the blob's role: "layer 3 of 7 of localhost:4000/kolla/nova-api:t"
	Detail string
	Advice string // a hint for the user, "" for none
	Err    error
}

// Error implements error.
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

// Hints about a bundle that cannot be read.
const (
	AdviceTruncated = "the file is truncated: copy it again"
	AdviceDamaged   = "the file is damaged: copy it again"
	AdviceForged    = "save does not write this: do not trust the file"
	AdviceNoBundle  = "a bundle is written by kolla-build save"
)

// AdviceSparse is the hint for archives that tar wrote with holes for zeros.
const AdviceSparse = "pack it again without the option -S (--sparse) of tar"

// AdviceForeignArchive is the hint for archives of other tools that are damaged.
const AdviceForeignArchive = "no tool writes this: the file is damaged or was changed"

// Progress is called with the bytes that were written or read so far; total is 0 while it
// is not known. It is called often, possibly from several goroutines, and must not block.
type Progress func(done, total int64)
