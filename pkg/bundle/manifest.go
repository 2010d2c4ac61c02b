package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/store"
)

const (
	manifestFile    = "kolla-bundle.json"
	manifestVersion = 1

	maxBundleManifest = 64 << 20 // bytes of kolla-bundle.json
	maxManifestEntry  = 64 << 10 // bytes of one image or file in it
	maxFiles          = maxBlobs + 16
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

// sum returns the digest of the file's content.
func (f ManifestFile) sum() digest.Digest {
	if d, ok := blobDigest(f.Name); ok {
		return d
	}
	return f.Digest
}

// blobDigest returns the digest in the name of a blob.
func blobDigest(name string) (digest.Digest, bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 || parts[0] != "blobs" {
		return "", false
	}
	d := digest.NewDigestFromEncoded(digest.Algorithm(parts[1]), parts[2])
	return d, d.Validate() == nil
}

// manifest returns the manifest of a planned bundle.
func (p *plan) manifest(opts SaveOptions, files []file) ([]byte, error) {
	m := Manifest{Version: manifestVersion, Tool: opts.Tool, Configuration: opts.Configuration, Images: []ManifestImage{}}
	for _, e := range p.entries {
		image := ManifestImage{
			Name: e.Name, Digest: e.Digest, Size: e.Size, Platforms: p.platforms[e.Name],
			Key: e.Key, Kind: e.Kind, Origin: e.Origin,
		}
		if e.Kind == store.KindLoaded {
			image.Kind = ""
		}
		if !e.Created.IsZero() {
			image.Created = e.Created.UTC().Format(time.RFC3339Nano)
		}
		m.Images = append(m.Images, image)
	}
	for _, f := range files {
		mf := ManifestFile{Name: f.name, Size: f.size}
		if _, ok := blobDigest(f.name); !ok {
			mf.Digest = f.digest
		}
		m.Files = append(m.Files, mf)
	}
	b, err := json.Marshal(m)
	return seal(b), err
}

const checkField = `,"check":"`

// seal adds the last field of a manifest, which reveals damage that no other check
// finds.
func seal(b []byte) []byte {
	body := bytes.TrimSuffix(b, []byte("}"))
	return fmt.Appendf(bytes.Clone(body), `%s%s"}`, checkField, digest.FromBytes(body))
}

func isSealed(b []byte) bool {
	at := bytes.LastIndex(b, []byte(checkField))
	return at >= 0 && bytes.Equal(b, seal(append(bytes.Clone(b[:at]), '}')))
}

// parseManifest parses kolla-bundle.json, in at most a small multiple of its size in
// memory.
func parseManifest(b []byte) (*Manifest, error) {
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
			return elements(dec, maxImages, func(dec *json.Decoder) error {
				var image ManifestImage
				err := dec.Decode(&image)
				m.Images = append(m.Images, image)
				return err
			})
		case "files":
			return elements(dec, maxFiles, func(dec *json.Decoder) error {
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
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("its version is %d, this program knows %d", m.Version, manifestVersion)
	}
	return m, nil
}

// names returns the names of all files in the manifest.
func (m *Manifest) names() map[string]bool {
	names := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		names[f.Name] = true
	}
	return names
}

// bytes returns the size of all files in the manifest.
func (m *Manifest) bytes() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// object calls field for each field of a JSON object, which decodes its value.
func object(b []byte, field func(key string, dec *json.Decoder) error) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if err := field(key, dec); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("data follows the JSON object")
	}
	return nil
}

func ignore(dec *json.Decoder) error {
	var value json.RawMessage
	return dec.Decode(&value)
}

// elements calls decode for each element of an array.
func elements(dec *json.Decoder, limit int, decode func(*json.Decoder) error) error {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return errors.New("not an array")
	}
	for n, last := 0, dec.InputOffset(); dec.More(); n, last = n+1, dec.InputOffset() {
		if n == limit {
			return fmt.Errorf("more than %d entries", limit)
		}
		if err := decode(dec); err != nil {
			return fmt.Errorf("entry %d: %w", n+1, err)
		}
		if size := dec.InputOffset() - last; size > maxManifestEntry {
			return fmt.Errorf("entry %d has %d bytes, more than %d", n+1, size, maxManifestEntry)
		}
	}
	_, err := dec.Token()
	return err
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
	case f.Name == manifestFile || f.Name == signatureFile:
		return fmt.Errorf("file %q may not be listed", f.Name)
	}
	d, isBlob := blobDigest(f.Name)
	switch {
	case isBlob && f.Digest != "" && f.Digest != d:
		return fmt.Errorf("file %q has digest %q", f.Name, f.Digest)
	case !isBlob && f.Digest.Validate() != nil:
		return fmt.Errorf("file %q has no digest", f.Name)
	}
	return nil
}

// sameImages reports whether the manifest lists the images of an index.
func (m *Manifest) sameImages(index []imageName) bool {
	var listed []imageName
	for _, image := range m.Images {
		listed = append(listed, imageName{image.Name, image.Digest})
	}
	compare := func(a, b imageName) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(string(a.digest), string(b.digest))
	}
	index = slices.Clone(index)
	slices.SortFunc(index, compare)
	slices.SortFunc(listed, compare)
	return slices.Equal(index, listed)
}

type imageName struct {
	name   string
	digest digest.Digest
}
