package bundle

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/store"
)

// ManifestName is the file of the manifest, ManifestVersion the version of its format.
const (
	ManifestName    = "kolla-bundle.json"
	ManifestVersion = 1

	maxManifestEntry = 64 << 10 // bytes of one image or file in it
)

// Manifest is the content of kolla-bundle.json: the images of a bundle, and the size
// and digest of every other file. The signature covers these bytes.
type Manifest struct {
	Version       int               `json:"kolla-bundle"`
	Tool          string            `json:"tool,omitempty"`          // program and version that wrote it
	Configuration map[string]string `json:"configuration,omitempty"` // options of the run that saved it, without secrets
	Images        []ManifestImage   `json:"images"`                  // sorted by name
	Files         []ManifestFile    `json:"files"`                   // in the order of the tar

	// The last field, check, has the digest of all bytes before its comma.
}

// ManifestImage is an image of a bundle.
type ManifestImage struct {
	Name      string        `json:"name"`
	Digest    digest.Digest `json:"digest"` // of the manifest, or of the index of a multi-platform image
	Size      int64         `json:"size"`   // bytes of all its blobs, including those that a delta omits
	Platforms []string      `json:"platforms,omitempty"`
	Key       string        `json:"key,omitempty"`
	Kind      store.Kind    `json:"kind,omitempty"`
	Origin    string        `json:"origin,omitempty"`
	Created   string        `json:"created,omitempty"` // RFC 3339
}

// ManifestFile is a file of a bundle. The digest of a blob is in its name.
type ManifestFile struct {
	Name   string        `json:"name"`
	Size   int64         `json:"size"`
	Digest digest.Digest `json:"digest,omitempty"`
}

// Sum returns the digest of the file's content.
func (f ManifestFile) Sum() digest.Digest {
	if d, ok := BlobDigest(f.Name); ok {
		return d
	}
	return f.Digest
}

const checkField = `,"check":"`

// Seal adds the last field of a manifest, which reveals damage that no other check
// finds.
func Seal(b []byte) []byte {
	body := bytes.TrimSuffix(b, []byte("}"))
	return fmt.Appendf(bytes.Clone(body), `%s%s"}`, checkField, digest.FromBytes(body))
}

func isSealed(b []byte) bool {
	at := bytes.LastIndex(b, []byte(checkField))
	return at >= 0 && bytes.Equal(b, Seal(append(bytes.Clone(b[:at]), '}')))
}

// ParseManifest parses kolla-bundle.json, in at most a small multiple of its size in
// memory.
func ParseManifest(b []byte) (*Manifest, error) {
	if !isSealed(b) {
		return nil, errors.New("its content does not have the digest that it ends with")
	}
	m := &Manifest{}
	names := map[string]bool{}
	err := object(b, func(key string, dec *json.Decoder) error {
		switch key {
		case "kolla-bundle":
			return dec.Decode(&m.Version)
		case "tool":
			return dec.Decode(&m.Tool)
		case "configuration":
			var err error
			m.Configuration, err = parseConfiguration(dec)
			return err
		case "images":
			return elements(dec, MaxImages, func(dec *json.Decoder) error {
				var image ManifestImage
				err := dec.Decode(&image)
				m.Images = append(m.Images, image)
				return err
			})
		case "files":
			return elements(dec, MaxFiles, func(dec *json.Decoder) error {
				var f ManifestFile
				if err := dec.Decode(&f); err != nil {
					return err
				}
				if names[f.Name] {
					return fmt.Errorf("file %q occurs twice", f.Name)
				}
				names[f.Name] = true
				m.Files = append(m.Files, f)
				return f.check()
			})
		}
		return ignore(dec) // of a later version
	})
	if err != nil {
		return nil, err
	}
	if m.Version != ManifestVersion {
		return nil, fmt.Errorf("its version is %d, this program knows %d", m.Version, ManifestVersion)
	}
	return m, nil
}

// Names returns the names of all files in the manifest.
func (m *Manifest) Names() map[string]bool {
	names := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		names[f.Name] = true
	}
	return names
}

// Bytes returns the size of all files in the manifest.
func (m *Manifest) Bytes() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

func parseConfiguration(dec *json.Decoder) (map[string]string, error) {
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return nil, err
	}
	if len(raw) > maxManifestEntry {
		return nil, fmt.Errorf("%d bytes, more than %d", len(raw), maxManifestEntry)
	}
	var values map[string]string
	err := json.Unmarshal(raw, &values)
	return values, err
}

// check rejects names that a bundle cannot contain, and files without a digest.
func (f ManifestFile) check() error {
	switch {
	case f.Size < 0:
		return fmt.Errorf("file %q has a negative size", f.Name)
	case f.Name == "" || f.Name != path.Clean(f.Name) || path.IsAbs(f.Name) || strings.HasPrefix(f.Name, "..") ||
		strings.Contains(f.Name, `\`):
		return fmt.Errorf("file %q: the name is not a path within the bundle", f.Name)
	case f.Name == ManifestName || f.Name == SignatureName:
		return fmt.Errorf("file %q may not be listed", f.Name)
	}
	d, isBlob := BlobDigest(f.Name)
	switch {
	case isBlob && f.Digest != "" && f.Digest != d:
		return fmt.Errorf("file %q has digest %q", f.Name, f.Digest)
	case !isBlob && f.Digest.Validate() != nil:
		return fmt.Errorf("file %q has no digest", f.Name)
	}
	return nil
}

// SameImages reports whether the manifest lists the images of an index.
func (m *Manifest) SameImages(index []ocispec.Descriptor) bool {
	type image struct{ name, digest string }
	var listed, indexed []image
	for _, i := range m.Images {
		listed = append(listed, image{i.Name, i.Digest.String()})
	}
	for _, d := range index {
		indexed = append(indexed, image{ImageName(d), d.Digest.String()})
	}
	compare := func(a, b image) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.digest, b.digest))
	}
	slices.SortFunc(indexed, compare)
	slices.SortFunc(listed, compare)
	return slices.Equal(indexed, listed)
}
