package delta

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

// A delta is one zstd frame of:
//
//	magic
//	header      its length as a varint, then JSON
//	operations  until the end operation, after which nothing follows
//
// An operation begins with a varint: its kind in the two lowest bits, and the number of
// bytes that it produces. Copies and differences have a signed varint next: their
// offset in the base's tar, relative to the end of the previous copy or difference.
// Inserts and differences have their bytes next; those of a difference are added to
// those of the base.
const magic = "kolla-build byte delta 1\n"

const (
	opEnd        = 0
	opCopy       = 1
	opInsert     = 2
	opDifference = 3
)

const (
	maxHeader = 4 << 10
	maxName   = 512      // bytes of the name or version of a compressor
	maxDigest = 256      // bytes of a digest
	maxRun    = 64 << 10 // bytes of one insert or difference

	// maxTar bounds the tar that a delta may expand to. A tar of more than smallTar bytes may
	// have maxRatio times the bytes of its layer. Make carries layers with larger ones whole.
	maxTar   = 256 << 30
	smallTar = 16 << 20
	maxRatio = 200
)

// Header describes a delta.
type Header struct {
	Target     Layer  `json:"target"`
	Base       Layer  `json:"base"`
	Compressor string `json:"compressor"` // settings of package compress, or "none"
	// Version is the version of Compressor, which affects the compressed bytes.
	Version string `json:"version,omitempty"`
}

// Layer is a compressed layer and its tar.
type Layer struct {
	Digest  digest.Digest `json:"digest"`
	Size    int64         `json:"size"`
	DiffID  digest.Digest `json:"diff_id"`
	TarSize int64         `json:"tar_size"`
}

// FormatError reports that a delta is damaged, or not one.
type FormatError struct {
	Operation int64 // position of the operation, 1-based; 0 if the error is not about one
	At        int64 // byte of the target's tar
	Detail    string
	Err       error
	Limit     bool // it exceeds a limit, and need not be damaged
}

// Error implements error.
func (e *FormatError) Error() string {
	s := "byte delta: "
	if e.Operation > 0 {
		s = fmt.Sprintf("byte delta, operation %d at byte %d of the tar: ", e.Operation, e.At)
	}
	s += e.Detail
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *FormatError) Unwrap() error { return e.Err }

// Hint returns a hint for the user.
func (e *FormatError) Hint() string {
	if e.Limit {
		return "save does not write this: save it again with this release, or do not trust the file"
	}
	return "the file is damaged: copy it again"
}

func (l Layer) check(kind string) error {
	for _, d := range []digest.Digest{l.Digest, l.DiffID} {
		if len(d) > maxDigest {
			return &FormatError{Detail: fmt.Sprintf("header: a digest of %d bytes of the %s", len(d), kind)}
		}
		if err := d.Validate(); err != nil {
			return &FormatError{Detail: fmt.Sprintf("header: digest %q of the %s", d, kind), Err: err}
		}
	}
	if l.Size < 0 || l.TarSize < 0 || l.TarSize > maxTar || l.expands() {
		return &FormatError{Detail: fmt.Sprintf("header: the %s has %d bytes, and its tar %d", kind, l.Size, l.TarSize),
			Limit: true}
	}
	return nil
}

// expands reports whether the tar is larger than that of any layer for which a delta is made.
func (l Layer) expands() bool { return l.TarSize > smallTar && l.TarSize/maxRatio > l.Size }

func writeHeader(w io.Writer, h Header) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	out := binary.AppendUvarint([]byte(magic), uint64(len(b)))
	_, err = w.Write(append(out, b...))
	return err
}

func readHeader(r *bufio.Reader) (Header, error) {
	var h Header
	fail := func(detail string, err error) (Header, error) {
		return Header{}, &FormatError{Detail: detail, Err: noEOF(err)}
	}
	start := make([]byte, len(magic))
	if _, err := io.ReadFull(r, start); err != nil {
		return fail("it ends before its header", err)
	}
	if string(start) != magic {
		return fail("it does not begin as one", nil)
	}
	n, err := binary.ReadUvarint(r)
	if err != nil || n > maxHeader {
		return fail("the length of its header", err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return fail("it ends within its header", err)
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return fail("header", err)
	}
	if n := max(len(h.Compressor), len(h.Version)); n > maxName {
		return fail(fmt.Sprintf("header: a compressor or version of %d bytes", n), nil)
	}
	if err := h.Target.check("target"); err != nil {
		return Header{}, err
	}
	return h, h.Base.check("base")
}

// noEOF turns io.EOF into io.ErrUnexpectedEOF.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
