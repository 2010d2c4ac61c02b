package reader

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/imagearchive"
)

// openForeignDir opens a directory that skopeo wrote as dir:PATH, or into which an archive
// of docker save was unpacked. For another directory it returns nil.
func openForeignDir(ctx context.Context, dir string) (*Source, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	d := &dirFiles{root: root}
	for _, name := range []string{ocispec.ImageLayoutFile, ocispec.ImageIndexFile, bundle.ManifestName} {
		if _, err := root.Lstat(name); err == nil {
			root.Close()
			return nil, nil
		}
	}
	var s *Source
	if d.hasSkopeoVersion() {
		var sk *skopeoDir
		if sk, err = openSkopeoDir(ctx, d); err == nil {
			s = &Source{Files: sk, close: d.close, dir: true}
		}
	} else if d.isDockerSave() {
		if err = d.scanAll(ctx, ".", 0); err == nil {
			s = &Source{Files: d, close: d.close, dir: true}
		}
	}
	if s == nil {
		root.Close()
	}
	return s, err
}

// hasSkopeoVersion reports whether the file version shows that skopeo wrote the directory.
func (d *dirFiles) hasSkopeoVersion() bool {
	f, err := d.open("version")
	if err != nil {
		return false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 100))
	return err == nil && bytes.HasPrefix(b, []byte("Directory Transport Version: 1."))
}

func (d *dirFiles) isDockerSave() bool {
	for _, name := range []string{imagearchive.ManifestFile, imagearchive.RepositoriesFile} {
		if _, err := d.root.Lstat(name); err == nil {
			return true
		}
	}
	return false
}

// scanAll lists all files in the directory and in two levels of directories in it, which is what docker
// save writes.
func (d *dirFiles) scanAll(ctx context.Context, dir string, depth int) error {
	return d.each(ctx, dir, func(e fs.DirEntry) error {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			if depth > 1 {
				return &bundle.FormatError{Member: name, Detail: "docker save does not write it",
					Advice: bundle.AdviceForeignArchive}
			}
			return d.scanAll(ctx, name, depth+1)
		}
		if len(d.headers) > bundle.MaxFiles {
			return &bundle.FormatError{Detail: fmt.Sprintf("more than %d files", bundle.MaxFiles), Advice: bundle.AdviceForged}
		}
		h, err := d.header(name, e)
		if err == nil {
			d.headers = append(d.headers, h)
		}
		return err
	})
}

// skopeoDir presents a directory of skopeo as an OCI layout. It has one image without a
// name, whose manifest is manifest.json.
type skopeoDir struct {
	small   []smallFile // the first files of the layout
	dir     *dirFiles
	current io.Reader
}

type smallFile struct {
	name string
	data []byte
}

var skopeoBlob = regexp.MustCompile(`^([0-9a-f]{64}|[0-9a-f]{128})(\.manifest\.json)?$`)

func openSkopeoDir(ctx context.Context, d *dirFiles) (*skopeoDir, error) {
	f, err := d.open(imagearchive.ManifestFile)
	if err != nil {
		return nil, &bundle.FormatError{Member: imagearchive.ManifestFile, Detail: "the manifest of the image", Err: err}
	}
	defer f.Close()
	raw, err := inputfile.ReadAll(f, imagearchive.ManifestFile, bundle.MaxImageManifest)
	var large *inputfile.TooLargeError
	switch {
	case errors.As(err, &large):
		return nil, &bundle.FormatError{Member: imagearchive.ManifestFile,
			Detail: fmt.Sprintf("more than %d bytes", bundle.MaxImageManifest),
			Advice: bundle.AdviceForeignArchive}
	case err != nil:
		return nil, err
	}
	var m struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, &bundle.FormatError{Member: imagearchive.ManifestFile, Detail: "not the manifest of an image", Err: err}
	}
	desc := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if desc.MediaType == "" {
		desc.MediaType = ocispec.MediaTypeImageManifest
		if m.Manifests != nil {
			desc.MediaType = ocispec.MediaTypeImageIndex
		}
	}
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		Manifests: []ocispec.Descriptor{desc},
	})
	if err != nil {
		return nil, err
	}
	source := &skopeoDir{dir: d, small: []smallFile{
		{ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`)},
		{ocispec.ImageIndexFile, index},
		{"blobs/sha256/" + desc.Digest.Encoded(), raw},
	}}
	manifestBlob := desc.Digest.Encoded()
	var layers []*tar.Header // after possible manifests
	err = d.each(ctx, ".", func(e fs.DirEntry) error {
		found := skopeoBlob.FindStringSubmatch(e.Name())
		if found == nil || found[1] == manifestBlob {
			return nil // version, signatures, and a second copy of the manifest
		}
		if len(d.headers)+len(layers) > bundle.MaxFiles {
			return &bundle.FormatError{Detail: fmt.Sprintf("more than %d files", bundle.MaxFiles), Advice: bundle.AdviceForged}
		}
		h, err := d.header(e.Name(), e)
		if err != nil {
			return err
		}
		if found[2] != "" {
			d.headers = append(d.headers, h)
		} else {
			layers = append(layers, h)
		}
		return nil
	})
	d.headers = append(d.headers, layers...)
	return source, err
}

// Next returns the next file, under its name in a layout.
func (s *skopeoDir) Next() (*tar.Header, error) {
	if len(s.small) > 0 {
		f := s.small[0]
		s.small = s.small[1:]
		s.current = bytes.NewReader(f.data)
		return &tar.Header{Name: f.name, Typeflag: tar.TypeReg, Size: int64(len(f.data))}, nil
	}
	h, err := s.dir.Next()
	if err != nil {
		return nil, err
	}
	s.current = s.dir
	out := *h
	hex := strings.TrimSuffix(h.Name, ".manifest.json")
	algorithm := digest.SHA256
	if len(hex) == 128 {
		algorithm = digest.SHA512
	}
	out.Name = "blobs/" + string(algorithm) + "/" + hex
	return &out, nil
}

// Read reads the current file.
func (s *skopeoDir) Read(p []byte) (int, error) {
	if s.current == nil {
		return 0, errors.New("no file is open")
	}
	return s.current.Read(p)
}
