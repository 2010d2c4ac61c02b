package bundle

import (
	"archive/tar"
	"bytes"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
)

// ContentOffset returns where the contents of the files of a manifest begin in the tar that save
// writes: the manifest and the signature, which it does not list, follow its first file.
func ContentOffset(m *Manifest, manifestSize, signatureSize int64) (map[string]int64, error) {
	var files []File
	for i, f := range m.Files {
		files = append(files, File{Name: f.Name, Size: f.Size})
		if i > 0 {
			continue
		}
		files = append(files, File{Name: ManifestName, Size: manifestSize})
		if signatureSize > 0 {
			files = append(files, File{Name: SignatureName, Size: signatureSize})
		}
	}
	offsets := map[string]int64{}
	at := int64(0)
	err := Pieces(files, func(p Piece) error {
		if p.File != nil {
			offsets[p.File.Name] = at
			at += p.File.Size
		}
		at += int64(len(p.Bytes))
		return nil
	})
	return offsets, err
}

// File is a file of a bundle that is to be written.
type File struct {
	Name   string
	Size   int64
	Digest digest.Digest // of its content
	Open   func() (io.ReadCloser, error)
}

// ContentFile returns a file whose content is in memory.
func ContentFile(name string, content []byte) File {
	return File{name, int64(len(content)), digest.FromBytes(content), func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}}
}

// Piece is a sequence of bytes of the tar: the content of a file, or the bytes between
// contents.
type Piece struct {
	Bytes      []byte
	File, Next *File // the file whose content it is, if it is not bytes, and the one after it
}

// Pieces calls visit for the pieces of the tar, in order. The same files give the same
// pieces.
func Pieces(files []File, visit func(Piece) error) error {
	dirs := false
	for i := range files {
		f, next := &files[i], (*File)(nil)
		if i+1 < len(files) {
			next = &files[i+1]
		}
		var head []byte
		if _, isBlob := BlobDigest(f.Name); isBlob && !dirs {
			dirs = true
			for _, dir := range []string{"blobs/", "blobs/sha256/"} {
				h := header(dir, 0)
				h.Typeflag, h.Mode = tar.TypeDir, 0o755
				b, err := encodeHeader(h)
				if err != nil {
					return err
				}
				head = append(head, b...)
			}
		}
		b, err := encodeHeader(header(f.Name, f.Size))
		if err != nil {
			return err
		}
		padding := make([]byte, -f.Size&(tarBlock-1))
		for _, p := range []Piece{{Bytes: append(head, b...)}, {File: f, Next: next}, {Bytes: padding}} {
			if err := visit(p); err != nil {
				return err
			}
		}
	}
	return visit(Piece{Bytes: make([]byte, 2*tarBlock)})
}

func encodeHeader(h *tar.Header) ([]byte, error) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(h)
	return b.Bytes(), err
}

// header returns the header of a file, without fields that differ between machines.
func header(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)}
}

const tarBlock = 512
