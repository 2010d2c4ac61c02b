package bundle

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/ocijson"
)

// DockerManifestName is the file that docker load reads before version 25.
const DockerManifestName = "manifest.json"

// ContainerdName is the annotation in which ctr and dockerd look for an image's
// full name.
const ContainerdName = "io.containerd.image.name"

// Role is the role of a blob in an image.
type Role struct {
	Kind  string // "manifest", "config", "layer"
	Image string // its name, "" if it has none
	N, Of int    // position of a layer, 1-based
}

// String describes the blob, such as "layer 3 of 7 of localhost:4000/kolla/nova-api:t".
func (r Role) String() string {
	s := r.Kind
	if r.Of > 0 {
		s += fmt.Sprintf(" %d of %d", r.N, r.Of)
	}
	if r.Image != "" {
		s += " of " + r.Image
	}
	return s
}

// CheckLayout checks the content of oci-layout.
func CheckLayout(b []byte) error {
	var v ocispec.ImageLayout
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	if !strings.HasPrefix(v.Version, "1.") {
		return fmt.Errorf("its version is %q, this program knows %s", v.Version, ocispec.ImageLayoutVersion)
	}
	return nil
}

// ParseIndex parses index.json and returns its images, of which every digest and size is valid.
func ParseIndex(b []byte) ([]ocispec.Descriptor, error) {
	bad := func(detail string, err error) error {
		return &FormatError{Member: ocispec.ImageIndexFile, Detail: detail, Err: err}
	}
	images, err := ocijson.ParseLayoutIndex(b, MaxImages)
	if err != nil {
		return nil, bad("not an index of images", err)
	}
	for i, d := range images {
		if err := d.Digest.Validate(); err != nil {
			return nil, bad(fmt.Sprintf("image %d: digest %q", i+1, d.Digest), err)
		}
		if d.Size <= 0 || d.Size > MaxImageManifest {
			return nil, bad(fmt.Sprintf("image %d: the size of its manifest is %d bytes", i+1, d.Size), nil)
		}
	}
	return images, nil
}

// ImageName returns the name of an image in an index. containerd and docker save
// write the tag alone into OCI's annotation, and the name into containerd's.
func ImageName(d ocispec.Descriptor) string {
	if n := d.Annotations[ContainerdName]; n != "" {
		return n
	}
	return d.Annotations[ocispec.AnnotationRefName]
}

// BlobDigest returns the digest in the name of a blob.
func BlobDigest(name string) (digest.Digest, bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 || parts[0] != "blobs" {
		return "", false
	}
	d := digest.NewDigestFromEncoded(digest.Algorithm(parts[1]), parts[2])
	return d, d.Validate() == nil
}

// BlobPath returns the path of a blob in a bundle.
func BlobPath(d digest.Digest) string {
	return "blobs/" + d.Algorithm().String() + "/" + d.Encoded()
}

// ReferenceTo returns the reference to the manifest of an image, from which Walk begins.
func ReferenceTo(d ocispec.Descriptor) Reference {
	return Reference{d.Digest, d.Size, Role{Kind: "manifest"}}
}

// DeltaPath returns the path of the byte delta of a layer in a bundle.
func DeltaPath(d digest.Digest) string {
	return DeltaDir + "/" + d.Algorithm().String() + "/" + d.Encoded()
}
