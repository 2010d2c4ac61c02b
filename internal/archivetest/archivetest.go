// Package archivetest writes image archives in the formats of several tools and their
// older versions, for tests. It must not know the code that reads them.
package archivetest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Format is the archive format of a tool.
type Format string

// The formats.
const (
	Docker1   Format = "Docker 1.9"
	Docker10  Format = "Docker 1.10 to 24"
	Docker25  Format = "Docker 25"
	Skopeo    Format = "skopeo docker-archive"
	Crane     Format = "crane"
	DockerOCI Format = "Buildx type=docker" // an OCI layout with manifest.json
)

// Formats are all formats.
var Formats = []Format{Docker1, Docker10, Docker25, Skopeo, Crane, DockerOCI}

// Image is an image to write. Its names have a tag.
type Image struct {
	Image v1.Image
	Names []string
}

// Member is a member of a tar.
type Member struct {
	Name, Link string // Link is the target of a symbolic link
	Dir        bool
	Data       []byte
}

// Tar packs members.
func Tar(t testing.TB, members ...Member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.Name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(m.Data)), ModTime: time.Unix(0, 0)}
		switch {
		case m.Dir:
			h.Typeflag, h.Name, h.Mode = tar.TypeDir, m.Name+"/", 0o755
		case m.Link != "":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, m.Link, 0o777
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Layer returns the layer of a tar, which may be compressed.
func Layer(t testing.TB, content []byte, opts ...tarball.LayerOption) v1.Layer {
	t.Helper()
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	l, err := tarball.LayerFromOpener(open, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Archive returns an archive of images in a format.
func Archive(t testing.TB, f Format, images ...Image) []byte {
	t.Helper()
	if f == Crane {
		return crane(t, images)
	}
	return Tar(t, Members(t, f, images...)...)
}

// Members returns the members of an archive in the order in which the tool writes them,
// or none for crane, whose archives are written by its library.
func Members(t testing.TB, format Format, images ...Image) []Member {
	t.Helper()
	w := &writer{t: t, done: map[string]bool{}, repositories: map[string]map[string]string{}}
	for _, img := range images {
		switch format {
		case Docker1, Docker10:
			w.docker(img, format)
		case Skopeo:
			w.skopeo(img)
		case Docker25, DockerOCI:
			w.oci(img, format)
		default:
			t.Fatalf("format %q", format)
		}
	}
	if format != Docker1 {
		w.add("manifest.json", w.json(w.manifest))
	}
	if format == Docker25 || format == DockerOCI {
		w.add("index.json", w.json(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2},
			MediaType: ocispec.MediaTypeImageIndex, Manifests: w.index}))
		w.add("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	}
	if len(w.repositories) > 0 && format != DockerOCI {
		w.add("repositories", w.json(w.repositories))
	}
	if format == Docker1 || format == Docker10 || format == Docker25 {
		// Docker packs a directory, whose entries are sorted.
		slices.SortStableFunc(w.members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	}
	return w.members
}

type listed struct {
	Config   string
	RepoTags []string
	Layers   []string
}

type writer struct {
	t            testing.TB
	members      []Member
	done         map[string]bool
	manifest     []listed
	repositories map[string]map[string]string
	index        []ocispec.Descriptor
}

func (w *writer) json(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *writer) once(m Member) {
	if !w.done[m.Name] {
		w.done[m.Name] = true
		w.members = append(w.members, m)
	}
}

func (w *writer) add(name string, data []byte) { w.once(Member{Name: name, Data: data}) }

func (w *writer) name(names []string, id string) {
	for _, n := range names {
		i := strings.LastIndex(n, ":")
		if w.repositories[n[:i]] == nil {
			w.repositories[n[:i]] = map[string]string{}
		}
		w.repositories[n[:i]][n[i+1:]] = id
	}
}

// content returns the layers of an image as tars, and its config.
func (w *writer) content(img v1.Image) (layers [][]byte, raw []byte, config *v1.ConfigFile) {
	w.t.Helper()
	imageLayers, err := img.Layers()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range imageLayers {
		r, err := l.Uncompressed()
		if err != nil {
			w.t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			w.t.Fatal(err)
		}
		r.Close()
		layers = append(layers, b)
	}
	if raw, err = img.RawConfigFile(); err != nil {
		w.t.Fatal(err)
	}
	if config, err = img.ConfigFile(); err != nil {
		w.t.Fatal(err)
	}
	return layers, raw, config
}

func hexOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// docker writes an image as Docker did up to version 24. Since 1.10, a
// layer that another image has under another ID is a link.
func (w *writer) docker(img Image, format Format) {
	layers, raw, config := w.content(img.Image)
	entry := listed{Config: hexOf(raw) + ".json", RepoTags: img.Names}
	parent := ""
	for i, layer := range layers {
		v1json := map[string]any{"created": "2015-01-02T03:04:05Z",
			"container_config": map[string]any{"Cmd": []string{"/bin/sh", "-c", fmt.Sprintf("step %d", i+1)}}}
		if i == len(layers)-1 {
			v1json["config"], v1json["architecture"], v1json["os"] = config.Config, config.Architecture, config.OS
		}
		id := hexOf(w.json([]any{parent, hexOf(layer), v1json}))
		v1json["id"] = id
		if parent != "" {
			v1json["parent"] = parent
		}
		w.once(Member{Name: id, Dir: true})
		w.add(id+"/VERSION", []byte("1.0"))
		w.add(id+"/json", w.json(v1json))
		file := id + "/layer.tar"
		first := "layer " + hexOf(layer)
		switch {
		case format == Docker10 && w.done[first] && !w.done[file]:
			i := slices.IndexFunc(w.members, func(m Member) bool {
				return m.Data != nil && path.Base(m.Name) == "layer.tar" && bytes.Equal(m.Data, layer)
			})
			w.once(Member{Name: file, Link: "../" + w.members[i].Name})
		default:
			w.add(file, layer)
			w.done[first] = true
		}
		entry.Layers = append(entry.Layers, file)
		parent = id
	}
	w.name(img.Names, parent)
	if format == Docker10 {
		w.add(entry.Config, raw)
		w.manifest = append(w.manifest, entry)
	}
}

// skopeo writes an image as skopeo and Podman do.
func (w *writer) skopeo(img Image) {
	layers, raw, _ := w.content(img.Image)
	entry := listed{Config: hexOf(raw) + ".json", RepoTags: img.Names}
	parent := ""
	for _, layer := range layers {
		file := hexOf(layer) + ".tar"
		w.add(file, layer)
		id := hexOf([]byte(parent + file))
		w.once(Member{Name: id + "/layer.tar", Link: "../" + file})
		w.add(id+"/VERSION", []byte("1.0"))
		w.add(id+"/json", w.json(map[string]string{"id": id, "parent": parent}))
		entry.Layers = append(entry.Layers, file)
		parent = id
	}
	w.add(entry.Config, raw)
	w.name(img.Names, parent)
	w.manifest = append(w.manifest, entry)
}

// oci writes an image as Docker 25 and Buildx do. Docker's layers are not compressed.
func (w *writer) oci(img Image, f Format) {
	layers, raw, _ := w.content(img.Image)
	blob := func(b []byte, mediaType string) ocispec.Descriptor {
		w.add("blobs/sha256/"+hexOf(b), b)
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: blob(raw, ocispec.MediaTypeImageConfig)}
	m.SchemaVersion = 2
	entry := listed{Config: "blobs/sha256/" + hexOf(raw), RepoTags: img.Names}
	imageLayers, err := img.Image.Layers()
	if err != nil {
		w.t.Fatal(err)
	}
	for i, layer := range layers {
		mediaType := ocispec.MediaTypeImageLayer
		if f == DockerOCI {
			r, err := imageLayers[i].Compressed()
			if err != nil {
				w.t.Fatal(err)
			}
			if layer, err = io.ReadAll(r); err != nil {
				w.t.Fatal(err)
			}
			mediaType = ocispec.MediaTypeImageLayerGzip
		}
		m.Layers = append(m.Layers, blob(layer, mediaType))
		entry.Layers = append(entry.Layers, "blobs/sha256/"+hexOf(layer))
	}
	desc := blob(w.json(m), m.MediaType)
	for _, n := range img.Names {
		d := desc
		named, err := reference.ParseNormalizedNamed(n)
		if err != nil {
			w.t.Fatal(err)
		}
		full := named.String()
		d.Annotations = map[string]string{
			"io.containerd.image.name": full,
			ocispec.AnnotationRefName:  n[strings.LastIndex(n, ":")+1:],
		}
		w.index = append(w.index, d)
	}
	w.name(img.Names, hexOf([]byte(entry.Config)))
	w.manifest = append(w.manifest, entry)
}

func crane(t testing.TB, images []Image) []byte {
	t.Helper()
	byReference := map[name.Reference]v1.Image{}
	for _, img := range images {
		for _, n := range img.Names {
			ref, err := name.ParseReference(n)
			if err != nil {
				t.Fatal(err)
			}
			byReference[ref] = img.Image
		}
	}
	var b bytes.Buffer
	if err := tarball.MultiRefWrite(byReference, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
