// Package ocijson parses untrusted manifests, indexes and image configs within limits:
// parsing a document takes at most a small multiple of its size in memory. It must not
// know where documents come from.
package ocijson

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Limits of documents. Registries accept manifests of up to 4 MiB; engines mount
// up to a few hundred layers.
const (
	MaxBytes     = 4 << 20 // of a manifest, of an image's index and of a config
	MaxLayers    = 1000    // of an image
	MaxManifests = 1000    // of an image's index
	MaxNesting   = 3       // indexes that can be above a manifest: an image's index, an index in it, and one in that
	MaxHistory   = 10000   // entries in a config
	MaxSettings  = 10000   // variables, labels and other settings of each kind in a config
)

// maxDescriptor is the size of one descriptor in bytes.
const maxDescriptor = 64 << 10

// Document is a manifest or an index: the fields that they share.
type Document struct {
	MediaType string
	Config    *ocispec.Descriptor
	Layers    []ocispec.Descriptor
	Manifests []ocispec.Descriptor
}

// IsIndex reports whether the document refers to manifests instead of layers.
func (d Document) IsIndex() bool { return d.Manifests != nil }

// IsArtifact reports whether the document has the type of signatures and SBOMs from before OCI 1.1, which
// have no config. Their blobs are the layers of the document.
func (d Document) IsArtifact() bool {
	return d.MediaType == "application/vnd.oci.artifact.manifest.v1+json"
}

// CheckImage refuses documents that are neither an image's manifest nor an index, such as null and
// manifests of schema 1. Parse accepts them, because a blob of another kind may look like one.
func (d Document) CheckImage() error {
	if d.Config == nil && !d.IsIndex() {
		return errors.New("it is neither an image manifest nor an index")
	}
	return nil
}

// Parse parses a manifest or an index. It keeps the annotations that keepsAnnotation
// accepts.
func Parse(b []byte) (Document, error) {
	if len(b) > MaxBytes {
		return Document{}, fmt.Errorf("%d bytes, more than the %d of the largest manifest", len(b), MaxBytes)
	}
	return parse(b, MaxLayers, MaxManifests)
}

func parse(b []byte, maxLayers, maxManifests int) (Document, error) {
	raw := header{
		Layers:    descriptors{field: "layers", limit: maxLayers},
		Manifests: descriptors{field: "manifests", limit: maxManifests},
	}
	if err := unmarshal("the document", b, &raw); err != nil {
		return Document{}, err
	}
	return raw.document()
}

// header has the fields of a manifest and an index.
type header struct {
	SchemaVersion int         `json:"schemaVersion"`
	MediaType     string      `json:"mediaType"`
	Config        *descriptor `json:"config"`
	Layers        descriptors `json:"layers"`
	Manifests     descriptors `json:"manifests"`

	// Blobs are in place of layers in documents for which IsArtifact is true. Others may have anything there.
	Blobs json.RawMessage `json:"blobs"`
}

func (h *header) document() (Document, error) {
	d := Document{MediaType: clean(h.MediaType), Layers: h.Layers.list, Manifests: h.Manifests.list}
	if d.IsArtifact() && d.Layers == nil && len(h.Blobs) > 0 {
		blobs := descriptors{field: "blobs", limit: MaxLayers}
		if err := blobs.UnmarshalJSON(h.Blobs); err != nil {
			return Document{}, err
		}
		d.Layers = blobs.list
	}
	if h.Config != nil {
		config := h.Config.descriptor()
		d.Config = &config
	}
	return d, d.checkKind()
}

// checkKind refuses a document that one program reads as a manifest and another one as an
// index, depending on what its media type is said to be.
func (d Document) checkKind() error {
	isManifest := d.Config != nil || d.Layers != nil
	switch d.MediaType {
	case ocispec.MediaTypeImageIndex, dockerList:
		if isManifest {
			return errors.New("it has the media type of an index and layers or a config")
		}
	case ocispec.MediaTypeImageManifest, dockerManifest:
		if d.IsIndex() {
			return errors.New("it has the media type of a manifest and other manifests")
		}
	}
	if isManifest && d.IsIndex() {
		return errors.New("it has both other manifests and layers or a config")
	}
	return nil
}

// Docker's media types.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// ParseLayoutIndex parses the index.json of an OCI layout with up to limit
// images. The caller bounds its size.
func ParseLayoutIndex(b []byte, limit int) ([]ocispec.Descriptor, error) {
	raw := header{
		Layers:    descriptors{field: "layers", limit: MaxLayers},
		Manifests: descriptors{field: "manifests", limit: limit},
	}
	if err := unmarshal("the document", b, &raw); err != nil {
		return nil, err
	}
	if raw.SchemaVersion != 2 {
		return nil, fmt.Errorf("schemaVersion is %d, not 2", raw.SchemaVersion)
	}
	d, err := raw.document()
	return d.Manifests, err
}

// descriptors is an array of descriptors. It is parsed where it is, since a copy of the
// array would double the memory that an index takes.
type descriptors struct {
	field string
	limit int                  // of entries
	list  []ocispec.Descriptor // nil if there is no array, and not nil for an empty one
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *descriptors) UnmarshalJSON(b []byte) error {
	d.list = nil
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	if b[0] != '[' {
		return fmt.Errorf("%s is not an array", d.field)
	}
	d.list = []ocispec.Descriptor{}
	for entry := range elements(b) {
		if len(d.list) == d.limit {
			return fmt.Errorf("more than %d %s", d.limit, d.field)
		}
		if len(entry) > maxDescriptor {
			return fmt.Errorf("%s: entry %d has %d bytes, more than %d", d.field, len(d.list)+1, len(entry), maxDescriptor)
		}
		var one descriptor
		if err := unmarshal("it", entry, &one); err != nil {
			return fmt.Errorf("%s: entry %d: %w", d.field, len(d.list)+1, err)
		}
		d.list = append(d.list, one.descriptor())
	}
	return nil
}

// descriptor has the fields of a descriptor that are used, in types that take at most
// as much memory as their JSON.
type descriptor struct {
	MediaType   string        `json:"mediaType"`
	Digest      digest.Digest `json:"digest"`
	Size        int64         `json:"size"`
	URLs        notEmpty      `json:"urls"`
	Annotations annotations   `json:"annotations"`
	Platform    *platform     `json:"platform"`
}

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	OSVersion    string `json:"os.version"`
}

func (d *descriptor) descriptor() ocispec.Descriptor {
	out := ocispec.Descriptor{MediaType: clean(d.MediaType), Digest: d.Digest, Size: d.Size, Annotations: d.Annotations}
	if d.URLs {
		out.URLs = []string{""}
	}
	if p := d.Platform; p != nil {
		out.Platform = &ocispec.Platform{OS: clean(p.OS), Architecture: clean(p.Architecture), Variant: clean(p.Variant),
			OSVersion: clean(p.OSVersion)}
	}
	return out
}

// notEmpty is whether an array has elements, without keeping them.
type notEmpty bool

func (n *notEmpty) UnmarshalJSON(b []byte) error {
	*n = notEmpty(len(b) > 2 && b[0] == '[' && len(bytes.Trim(b[1:len(b)-1], " \t\r\n")) > 0)
	return nil
}

// annotations are those that keepsAnnotation accepts.
type annotations map[string]string

// keepsAnnotation reports whether Parse and ParseLayoutIndex keep an annotation.
func keepsAnnotation(key string) bool {
	switch key {
	case ocispec.AnnotationRefName, ocispec.AnnotationCreated, "io.containerd.image.name", "vnd.docker.reference.type":
		return true
	}
	return strings.HasPrefix(key, "io.kolla-build.")
}

// maxAnnotations is how many annotations of one descriptor are kept.
const maxAnnotations = 32

func (a *annotations) UnmarshalJSON(b []byte) error {
	*a = nil
	dec := json.NewDecoder(bytes.NewReader(b))
	t, err := dec.Token()
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('{') {
		return fmt.Errorf("annotations are not an object")
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		value, err := dec.Token()
		if err != nil {
			return err
		}
		k, _ := key.(string)
		v, ok := value.(string)
		if !ok {
			return fmt.Errorf("annotation %q is not a string", k)
		}
		if keepsAnnotation(k) {
			if *a == nil {
				*a = annotations{}
			}
			if len(*a) == maxAnnotations {
				return fmt.Errorf("more than %d annotations of this tool", maxAnnotations)
			}
			(*a)[k] = v
		}
	}
	return nil
}

// Config holds the fields of an image config that are used.
type Config struct {
	Platform ocispec.Platform
	Created  string // as written, RFC 3339
	DiffIDs  []digest.Digest
}

// ParseConfig parses an image config and checks its limits, so that other
// parsers may read it.
func ParseConfig(b []byte) (Config, error) {
	var c Config
	if len(b) > MaxBytes {
		return c, fmt.Errorf("%d bytes, more than the %d of the largest config", len(b), MaxBytes)
	}
	var raw struct {
		platform
		Created string   `json:"created"`
		History counted  `json:"history"`
		Config  settings `json:"config"`
		RootFS  struct {
			DiffIDs json.RawMessage `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := unmarshal("the document", b, &raw); err != nil {
		return c, err
	}
	if raw.History > MaxHistory {
		return c, fmt.Errorf("more than %d history entries", MaxHistory)
	}
	if n := raw.Config.most(); n > MaxSettings {
		return c, fmt.Errorf("%d settings of one kind, more than %d", n, MaxSettings)
	}
	var ids counted
	if err := ids.UnmarshalJSON(raw.RootFS.DiffIDs); err != nil || ids > MaxLayers {
		return c, fmt.Errorf("more than %d layers", MaxLayers)
	}
	if len(raw.RootFS.DiffIDs) > 0 {
		if err := unmarshal("a diff ID", raw.RootFS.DiffIDs, &c.DiffIDs); err != nil {
			return c, err
		}
	}
	c.Platform = ocispec.Platform{OS: clean(raw.OS), Architecture: clean(raw.Architecture), Variant: clean(raw.Variant),
		OSVersion: clean(raw.OSVersion)}
	c.Created = raw.Created
	return c, nil
}

// PlainError replaces the error of a value with the wrong type, which names Go's type, by one that
// names the value: by its field, or else as what.
func PlainError(what string, err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("%s is a JSON %s, which is not allowed there", cmp.Or(kind.Field, what), kind.Value)
	}
	return err
}

// unmarshal is json.Unmarshal with such an error.
func unmarshal(what string, b []byte, v any) error { return PlainError(what, json.Unmarshal(b, v)) }

// settings are the numbers of settings in the config of an image. A build has a state for each.
type settings struct {
	Env, Labels, Volumes, ExposedPorts, OnBuild, Entrypoint, Cmd, Shell counted
}

// UnmarshalJSON implements json.Unmarshaler. A setting of another type is left to those who use it.
func (s *settings) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		type plain settings
		return json.Unmarshal(b, (*plain)(s))
	}
	return nil
}

func (s settings) most() counted {
	return max(s.Env, s.Labels, s.Volumes, s.ExposedPorts, s.OnBuild, s.Entrypoint, s.Cmd, s.Shell)
}

// counted is the number of elements of an array or object, without keeping them.
type counted int

// UnmarshalJSON implements json.Unmarshaler. A key that is repeated is counted each time, because
// other readers combine its values.
func (n *counted) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && (b[0] == '[' || b[0] == '{') {
		for range elements(b) {
			*n++
		}
	}
	return nil
}

// elements returns the elements of an array, or the members of an object, that is valid JSON, as parts
// of b.
func elements(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		b = bytes.TrimSpace(b[1 : len(b)-1])
		start, depth, inString := 0, 0, false
		for i := 0; i < len(b); i++ {
			switch c := b[i]; {
			case inString && c == '\\':
				i++
			case c == '"':
				inString = !inString
			case inString:
			case c == '[' || c == '{':
				depth++
			case c == ']' || c == '}':
				depth--
			case c == ',' && depth == 0:
				if !yield(bytes.TrimSpace(b[start:i])) {
					return
				}
				start = i + 1
			}
		}
		if len(b) > 0 {
			yield(bytes.TrimSpace(b[start:]))
		}
	}
}

// clean returns a media type or a part of a platform if all of its characters are
// allowed there, else "". It may be printed to a terminal.
func clean(s string) string {
	if len(s) > 255 {
		return ""
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("._+-/;= ", c) >= 0:
		default:
			return ""
		}
	}
	return s
}
