package bundle

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// manifestCheck compares the files of a bundle with its manifest while it is read, in
// any order. A bundle without a manifest passes unless a signature is required.
type manifestCheck struct {
	key ed25519.PublicKey // required signer, verified before the index is read; nil for none

	doc       *Manifest // nil until it was read
	raw       []byte
	signature []byte
	verified  bool

	listed    map[string]ManifestFile  // files that were not read yet
	sums      map[string]digest.Digest // digests in the manifest, by name
	preceding map[string]int64         // files that precede the manifest, and their sizes
	read      map[string]digest.Digest // contents that were read before the manifest
}

// begin is called with each file before its content is read.
func (c *manifestCheck) begin(m member) error {
	if m.name == manifestFile || m.name == signatureFile {
		return nil
	}
	if c.key != nil && !c.verified && m.name != ocispec.ImageLayoutFile {
		return c.unsigned()
	}
	if c.doc == nil {
		if c.preceding == nil {
			c.preceding = map[string]int64{}
		}
		c.preceding[m.name] = m.size
		return nil
	}
	return c.compare(m.name, m.size)
}

func (c *manifestCheck) unsigned() error {
	switch {
	case c.signature != nil && c.doc == nil:
		return &SignatureError{Detail: "it has a signature but no " + manifestFile}
	case c.doc != nil:
		return &SignatureError{Detail: "it is not signed", Unsigned: true}
	}
	return &SignatureError{Detail: "it is not signed: it does not begin with " + manifestFile, Unsigned: true}
}

// compare compares a file's name and size with the manifest.
func (c *manifestCheck) compare(name string, size int64) error {
	f, ok := c.listed[name]
	switch {
	case !ok:
		return &FormatError{Member: name, Detail: manifestFile + " does not list it", Advice: adviceForeign}
	case f.Size != size:
		return &FormatError{
			Member: name, Detail: fmt.Sprintf("its size is %d bytes, and %d in %s", size, f.Size, manifestFile),
			Advice: adviceDamaged,
		}
	}
	delete(c.listed, name)
	return nil
}

// content is called with the content of each file that is not a blob.
func (c *manifestCheck) content(name string, b []byte) error {
	switch name {
	case manifestFile:
		return c.manifest(b)
	case signatureFile:
		c.signature = b
		return c.verify()
	}
	return c.sum(name, digest.FromBytes(b))
}

// sum compares the digest of a file that is not a blob with the manifest.
func (c *manifestCheck) sum(name string, got digest.Digest) error {
	if c.doc == nil {
		if c.read == nil {
			c.read = map[string]digest.Digest{}
		}
		c.read[name] = got
		return nil
	}
	if want := c.sums[name]; want != got {
		return &FormatError{
			Member: name, Detail: fmt.Sprintf("its content has digest %s, and %s in %s", got, want, manifestFile),
			Advice: adviceDamaged,
		}
	}
	return nil
}

func (c *manifestCheck) manifest(b []byte) error {
	doc, err := parseManifest(b)
	if err != nil {
		return &FormatError{Member: manifestFile, Detail: "not the manifest of a bundle", Err: err, Advice: adviceDamaged}
	}
	c.doc, c.raw = doc, b
	c.listed, c.sums = make(map[string]ManifestFile, len(doc.Files)), map[string]digest.Digest{}
	for _, f := range doc.Files {
		c.listed[f.Name] = f
		if _, isBlob := blobDigest(f.Name); !isBlob {
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
func (c *manifestCheck) verify() error {
	if c.doc == nil || c.signature == nil || c.key == nil {
		return nil
	}
	if err := checkSignature(c.raw, c.signature, c.key); err != nil {
		return err
	}
	c.verified = true
	return nil
}

// images compares the images of the index with the manifest.
func (c *manifestCheck) images(index []ocispec.Descriptor) error {
	if c.doc == nil {
		return nil
	}
	var names []imageName
	for _, d := range index {
		names = append(names, imageName{fullName(d), d.Digest})
	}
	if !c.doc.sameImages(names) {
		return &FormatError{Member: ocispec.ImageIndexFile, Detail: "its images are not those of " + manifestFile,
			Advice: adviceForeign}
	}
	return nil
}

// missing returns the files of the manifest that were not read, sorted.
func (c *manifestCheck) missing() []string {
	names := make([]string, 0, len(c.listed))
	for name := range c.listed {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// end is called after the last file.
func (c *manifestCheck) end() error {
	if c.key != nil && !c.verified {
		return c.unsigned()
	}
	if names := c.missing(); len(names) > 0 {
		detail := manifestFile + " lists it, and it is missing"
		if n := len(names) - 1; n > 0 {
			detail += fmt.Sprintf(", as %d others", n)
		}
		return &FormatError{Member: names[0], Detail: detail, Advice: adviceTruncated}
	}
	return nil
}
