package reader

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/bundle"
)

// ManifestCheck compares the files of a bundle with its manifest while it is read, in
// any order. A bundle without a manifest passes unless a signature is required.
type ManifestCheck struct {
	Key ed25519.PublicKey // required signer, verified before the index is read; nil for none

	Manifest  *bundle.Manifest // nil until it was read
	raw       []byte
	signature []byte
	Verified  bool

	listed    map[string]bundle.ManifestFile // files that were not read yet
	sums      map[string]digest.Digest       // digests in the manifest, by name
	preceding map[string]int64               // files that precede the manifest, and their sizes
	read      map[string]digest.Digest       // contents that were read before the manifest
}

// Begin is called with each file before its content is read.
func (c *ManifestCheck) Begin(m Member) error {
	if m.Name == bundle.ManifestName || m.Name == bundle.SignatureName {
		return nil
	}
	if c.Key != nil && !c.Verified && m.Name != ocispec.ImageLayoutFile {
		return c.unsigned()
	}
	if c.Manifest == nil {
		if c.preceding == nil {
			c.preceding = map[string]int64{}
		}
		c.preceding[m.Name] = m.Size
		return nil
	}
	return c.compare(m.Name, m.Size)
}

func (c *ManifestCheck) unsigned() error {
	switch {
	case c.signature != nil && c.Manifest == nil:
		return &bundle.SignatureError{Detail: "it has a signature but no " + bundle.ManifestName}
	case c.Manifest != nil:
		return &bundle.SignatureError{Detail: "it is not signed", Unsigned: true}
	}
	return &bundle.SignatureError{Detail: "it is not signed: it does not begin with " + bundle.ManifestName,
		Unsigned: true}
}

// compare compares a file's name and size with the manifest.
func (c *ManifestCheck) compare(name string, size int64) error {
	f, ok := c.listed[name]
	switch {
	case !ok:
		return &bundle.FormatError{Member: name, Detail: bundle.ManifestName + " does not list it",
			Advice: bundle.AdviceForged}
	case f.Size != size:
		return &bundle.FormatError{
			Member: name, Detail: fmt.Sprintf("its size is %d bytes, and %d in %s", size, f.Size, bundle.ManifestName),
			Advice: bundle.AdviceDamaged,
		}
	}
	delete(c.listed, name)
	return nil
}

// Content is called with the content of each file that is not a blob.
func (c *ManifestCheck) Content(name string, b []byte) error {
	switch name {
	case bundle.ManifestName:
		return c.manifest(b)
	case bundle.SignatureName:
		c.signature = b
		return c.verify()
	}
	return c.sum(name, digest.FromBytes(b))
}

// sum compares the digest of a file that is not a blob with the manifest.
func (c *ManifestCheck) sum(name string, got digest.Digest) error {
	if c.Manifest == nil {
		if c.read == nil {
			c.read = map[string]digest.Digest{}
		}
		c.read[name] = got
		return nil
	}
	if want := c.sums[name]; want != got {
		return &bundle.FormatError{
			Member: name, Detail: fmt.Sprintf("its content has digest %s, and %s in %s", got, want, bundle.ManifestName),
			Advice: bundle.AdviceDamaged,
		}
	}
	return nil
}

func (c *ManifestCheck) manifest(b []byte) error {
	doc, err := bundle.ParseManifest(b)
	if err != nil {
		return &bundle.FormatError{Member: bundle.ManifestName, Detail: "not the manifest of a bundle", Err: err,
			Advice: bundle.AdviceDamaged}
	}
	c.Manifest, c.raw = doc, b
	c.listed, c.sums = make(map[string]bundle.ManifestFile, len(doc.Files)), map[string]digest.Digest{}
	for _, f := range doc.Files {
		c.listed[f.Name] = f
		if _, isBlob := bundle.BlobDigest(f.Name); !isBlob {
			c.sums[f.Name] = f.Digest
		}
	}
	for name, size := range c.preceding {
		if err := c.compare(name, size); err != nil {
			return err
		}
	}
	for name, sum := range c.read {
		if err := c.sum(name, sum); err != nil {
			return err
		}
	}
	c.preceding, c.read = nil, nil
	return c.verify()
}

// verify checks the signature when it and the manifest have been read.
func (c *ManifestCheck) verify() error {
	if c.Manifest == nil || c.signature == nil || c.Key == nil {
		return nil
	}
	if err := bundle.CheckSignature(c.raw, c.signature, c.Key); err != nil {
		return err
	}
	c.Verified = true
	return nil
}

// Images compares the images of the index with the manifest.
func (c *ManifestCheck) Images(index []ocispec.Descriptor) error {
	if c.Manifest == nil {
		return nil
	}
	if !c.Manifest.SameImages(index) {
		return &bundle.FormatError{Member: ocispec.ImageIndexFile,
			Detail: "its images are not those of " + bundle.ManifestName,
			Advice: bundle.AdviceForged}
	}
	return nil
}

// missing returns the files of the manifest that were not read, sorted.
func (c *ManifestCheck) missing() []string {
	names := make([]string, 0, len(c.listed))
	for name := range c.listed {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// End is called after the last file.
func (c *ManifestCheck) End() error {
	if c.Key != nil && !c.Verified {
		return c.unsigned()
	}
	if names := c.missing(); len(names) > 0 {
		detail := bundle.ManifestName + " lists it, and it is missing"
		if n := len(names) - 1; n > 0 {
			detail += fmt.Sprintf(", as %d others", n)
		}
		return &bundle.FormatError{Member: names[0], Detail: detail, Advice: bundle.AdviceTruncated}
	}
	return nil
}
