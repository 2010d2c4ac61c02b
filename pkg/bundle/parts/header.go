package parts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
)

// magic is the beginning of each part.
const magic = `{"kolla-bundle-part":`

const (
	headerSize = 1024
	version    = 2 // of the parts that a Writer writes

	// maxParts is the number of parts that a set may have, parity parts included.
	maxParts = 4096

	// MinSize is the smallest size of a part, in bytes.
	MinSize = 64 << 10

	// align is the number of bytes to a multiple of which payloads are padded for the
	// parity.
	align = 64
)

// Header describes a part. Sizes are in bytes.
type Header struct {
	Version int           `json:"kolla-bundle-part"`
	Set     digest.Digest `json:"set"`    // of the checksums of the data parts; in version 1 of the whole stream
	Size    int64         `json:"size"`   // of the whole stream
	Data    int           `json:"data"`   // parts that make up the stream
	Parity  int           `json:"parity"` // parts that restore others
	Payload int64         `json:"payload"`
	Number  int           `json:"number"` // from 0, parity parts after data parts
	Digest  checksum      `json:"digest"` // of this part's payload
	Check   digest.Digest `json:"check"`  // of this header without this field
}

// length returns the bytes of the payload of this part.
func (h *Header) length() int64 {
	switch {
	case h.Number >= h.Data:
		return h.shard()
	case h.Number == h.Data-1:
		return h.Size - int64(h.Data-1)*h.Payload
	}
	return h.Payload
}

// shard returns the bytes of a payload with its padding.
func (h *Header) shard() int64 { return (h.Payload + align - 1) / align * align }

// sameSet reports whether two parts belong together.
func (h *Header) sameSet(o *Header) bool {
	return h.Version == o.Version && h.Set == o.Set && h.Size == o.Size && h.Data == o.Data && h.Parity == o.Parity &&
		h.Payload == o.Payload
}

func (h Header) check() digest.Digest {
	h.Check = ""
	b, _ := json.Marshal(h) // of numbers and strings
	return digest.FromBytes(b)
}

func (h Header) encode() ([]byte, error) {
	h.Check = h.check()
	b, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if len(b) >= headerSize {
		return nil, errors.New("the header is too long")
	}
	b = append(b, '\n')
	return append(b, bytes.Repeat([]byte{' '}, headerSize-len(b))...), nil
}

// readHeader reads and checks the header of a part.
func readHeader(r io.Reader) (*Header, error) {
	b := make([]byte, headerSize)
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errors.New("it is shorter than the header of a part")
		}
		return nil, err
	}
	if !IsBeginning(b) {
		return nil, errors.New("it is not a part of a bundle, or its header is damaged")
	}
	h := &Header{}
	if err := json.Unmarshal(b, h); err != nil {
		return nil, fmt.Errorf("its header is damaged: %w", err)
	}
	switch {
	case h.Version > version && h.Check == checkOfLine(b, h.Check):
		return nil, versionError(h.Version)
	case h.Check != h.check():
		return nil, errors.New("its header is damaged")
	case h.Version < 1, h.Version > version, h.Set.Validate() != nil || h.Set.Algorithm() != digest.SHA256,
		!h.Digest.valid(h.Version), h.Data < 1, h.Parity < 0, h.Data > maxParts, h.Parity > maxParts-h.Data, h.Parity > h.Data,
		h.Number < 0, h.Number >= h.Data+h.Parity,
		h.Payload < 1, h.Size < 1, h.Payload > h.Size, h.Size > int64(h.Data)*h.Payload, h.Size <= int64(h.Data-1)*h.Payload,
		h.Payload > 1<<50:
		return nil, errors.New("its header contradicts itself")
	}
	return h, nil
}

// checkOfLine returns the check of a header whose other fields may not be known to this release.
func checkOfLine(b []byte, check digest.Digest) digest.Digest {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	end := []byte(`"check":"` + check + `"}`)
	if !bytes.HasSuffix(line, end) {
		return ""
	}
	return digest.FromBytes(append(bytes.TrimSuffix(line, end), `"check":""}`...))
}

// versionError reports that a later release wrote a part: its version.
type versionError int

func (e versionError) Error() string {
	return fmt.Sprintf("it has version %d, this program knows 1 and %d", int(e), version)
}

// IsPart reports whether a file is a part of a bundle: it begins as one, or has the name of
// one beside it that does. In the second case it is damaged or missing.
func IsPart(file string) bool {
	if begins(file) {
		return true
	}
	others, err := siblings(file)
	return err == nil && IsPartName(file) && slices.ContainsFunc(others, begins)
}

// IsPartName reports whether a file is named as parts are.
func IsPartName(file string) bool { return isPartExt(filepath.Ext(file)) }

// SetOf returns the digest that the parts of a set have in common, "" if the header of this one
// cannot be read.
func SetOf(file string) digest.Digest {
	h, err := header(file)
	if err != nil {
		return ""
	}
	return h.Set
}

// First returns a part of the bundle that was saved with this name in parts, or "".
func First(output string) string {
	others, err := siblings(name(output, maxParts, 0))
	if i := slices.IndexFunc(others, begins); err == nil && i >= 0 {
		return others[i]
	}
	return ""
}

// begins reports whether a file begins as a part does.
func begins(file string) bool {
	if st, err := os.Stat(file); err != nil || !st.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	return beginsAt(f, 0)
}

// beginsAt reports whether a part begins at an offset of a file.
func beginsAt(f io.ReaderAt, offset int64) bool {
	b := make([]byte, len(magic))
	_, err := f.ReadAt(b, offset)
	return err == nil && IsBeginning(b)
}

// IsBeginning reports whether bytes are the beginning of a part.
func IsBeginning(b []byte) bool { return bytes.HasPrefix(b, []byte(magic)) }

// name returns the file name of a part: .001, .002, … and .p01, .p02, …
func name(base string, data, number int) string {
	if number >= data {
		return fmt.Sprintf("%s.p%02d", base, number-data+1)
	}
	return fmt.Sprintf("%s.%03d", base, number+1)
}

// baseName returns the path of the bundle that a part belongs to, and whether the file is
// named as a part.
func baseName(file string) (string, bool) {
	ext := filepath.Ext(file)
	if !isPartExt(ext) || filepath.Base(file) == ext {
		return "", false
	}
	return filepath.Clean(file[:len(file)-len(ext)]), true
}

// siblings returns the files beside a part that may be parts of the same set, itself
// included.
func siblings(file string) ([]string, error) {
	base, ok := baseName(file)
	if !ok {
		return []string{file}, nil
	}
	dir, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range dir {
		path := filepath.Join(filepath.Dir(file), e.Name())
		if other := filepath.Ext(e.Name()); path[:len(path)-len(other)] == base && isPartExt(other) {
			out = append(out, path)
		}
	}
	return out, nil
}

// isPartExt reports whether a file with the extension is a part. Media with FAT can show names
// in upper case.
func isPartExt(ext string) bool {
	if len(ext) < 4 {
		return false
	}
	digits := ext[1:]
	if digits[0] == 'p' || digits[0] == 'P' {
		digits = digits[1:]
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(digits) >= 2
}
