package ocijson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParse(t *testing.T) {
	manifest := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"digest":"` + someDigest + `","size":1},
		"layers":[{"mediaType":"application/x","digest":"` + someDigest + `","size":2,"urls":["http://x"],"annotations":{"a":"b"}}]}`
	d, err := Parse([]byte(manifest))
	if err != nil || d.IsIndex() || d.Config.Size != 1 || len(d.Layers) != 1 || d.Layers[0].Size != 2 ||
		len(d.Layers[0].URLs) == 0 || d.Layers[0].Annotations != nil {
		t.Errorf("manifest: %+v, %v", d, err)
	}
	index := `{"manifests":[{"digest":"` + someDigest + `","size":3,"urls":[ ],"platform":{"os":"linux","architecture":"arm64","variant":"v8"},
		"annotations":{"org.opencontainers.image.ref.name":"a:t","io.kolla-build.key":"k","other":"o"}}]}`
	d, err = Parse([]byte(index))
	if err != nil || !d.IsIndex() || len(d.Manifests) != 1 {
		t.Fatalf("index: %+v, %v", d, err)
	}
	m := d.Manifests[0]
	if m.Platform.Variant != "v8" || len(m.URLs) > 0 ||
		fmt.Sprint(m.Annotations) != "map[io.kolla-build.key:k org.opencontainers.image.ref.name:a:t]" {
		t.Errorf("%+v", m)
	}
	if d, err := Parse([]byte(`{"manifests":[]}`)); err != nil || !d.IsIndex() {
		t.Errorf("an empty index: %+v, %v", d, err)
	}
}

func TestParseRejects(t *testing.T) {
	for name, c := range map[string]struct{ doc, want string }{
		"not JSON":           {"x", "invalid character"},
		"layers no array":    {`{"layers":{}}`, "layers is not an array"},
		"too many layers":    {`{"layers":[` + strings.Repeat("{},", MaxLayers) + `{}]}`, "more than 1000 layers"},
		"too many manifests": {`{"manifests":[` + strings.Repeat("{},", MaxManifests) + `{}]}`, "more than 1000 manifests"},
		"large descriptor":   {`{"layers":[{"annotations":{"a":"` + strings.Repeat("b", maxDescriptor) + `"}}]}`, "bytes"},
		"large document":     {strings.Repeat(" ", MaxBytes) + "{}", "bytes"},
		"both":               {`{"manifests":[],"layers":[]}`, "both"},
		"both, with config":  {`{"manifests":[],"config":{}}`, "both"},
		"manifest by type": {`{"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}`,
			"media type of a manifest"},
		"Docker's manifest": {`{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","manifests":[]}`,
			"media type of a manifest"},
		"index by type": {`{"mediaType":"application/vnd.oci.image.index.v1+json","layers":[]}`,
			"media type of an index"},
		"Docker's list": {`{"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","config":{}}`,
			"media type of an index"},
		"annotations": {`{"layers":[{"annotations":[]}]}`, "not an object"},
		"annotation":  {`{"layers":[{"annotations":{"a":1}}]}`, "not a string"},
	} {
		if _, err := Parse([]byte(c.doc)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestTerminalSequencesAreDropped(t *testing.T) {
	for _, bad := range []string{"linux\x1b[2J", "li\u202enux", "a\nb", strings.Repeat("a", 256)} {
		quoted, _ := json.Marshal(bad)
		d, err := Parse([]byte(`{"mediaType":` + string(quoted) + `,"manifests":[{"mediaType":` + string(quoted) +
			`,"platform":{"os":` + string(quoted) + `}}]}`))
		if err != nil || d.MediaType != "" || d.Manifests[0].MediaType != "" || d.Manifests[0].Platform.OS != "" {
			t.Errorf("%q: %+v, %v", bad, d, err)
		}
		c, err := ParseConfig([]byte(`{"os":` + string(quoted) + `,"architecture":"amd64"}`))
		if err != nil || c.Platform.OS != "" || c.Platform.Architecture != "amd64" {
			t.Errorf("%q: %+v, %v", bad, c, err)
		}
	}
}

func TestParseConfig(t *testing.T) {
	c, err := ParseConfig([]byte(`{"os":"linux","architecture":"arm64","variant":"v8","created":"2024-01-01T00:00:00Z","history":[{"created_by":"[\",\"]"},{}],"rootfs":{"diff_ids":["` + someDigest + `"]}}`))
	if err != nil || c.Platform.Variant != "v8" || len(c.DiffIDs) != 1 || c.Created == "" {
		t.Errorf("%+v, %v", c, err)
	}
	for name, doc := range map[string]string{
		"variables": `{"config":{"Env":[` + strings.Repeat(`"",`, MaxSettings) + `""]}}`,
		"labels":    `{"config":{"labels":{` + strings.Repeat(`"a":"}",`, MaxSettings) + `"a":""}}}`,
		"repeated":  `{"config":{"Labels":{` + strings.Repeat(`"a":"",`, MaxSettings-1) + `"b":""},"labels":{"c":""}}}`,
		"configs": `{"config":{"Volumes":{` + strings.Repeat(`"a":{},`,
			MaxSettings-1) + `"b":{}}},"config":{"Volumes":{"c":{}}}}`,
		"history": `{"history":[` + strings.Repeat("{},", MaxHistory) + `{}]}`,
		"layers":  `{"rootfs":{"diff_ids":[` + strings.Repeat(`"",`, MaxLayers) + `""]}}`,
		"size":    `{"a":"` + strings.Repeat("b", MaxBytes) + `"}`,
	} {
		if _, err := ParseConfig([]byte(doc)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The largest documents of the smallest elements.
func TestMemoryIsBounded(t *testing.T) {
	fill := func(head, element, tail string, size int) []byte {
		return []byte(head + strings.Repeat(element, (size-len(head)-len(tail))/len(element)) + tail)
	}
	for name, doc := range map[string][]byte{
		"layers":                 fill(`{"layers":[`, "{},", "{}]}", MaxBytes),
		"other arrays":           fill(`{"x":[`, "{},", "{}]}", MaxBytes),
		"annotations":            fill(`{"annotations":{"x":""`, `,"":""`, "}}", MaxBytes),
		"annotations of a layer": fill(`{"layers":[{"annotations":{"x":""`, `,"":""`, "}}]}", maxDescriptor),
		"urls":                   fill(`{"layers":[{"urls":[""`, `,""`, "]}]}", maxDescriptor),
		"history":                fill(`{"history":[`, "{},", "{}]}", MaxBytes),
		"nested":                 fill(`{"x":`, "[", "", 9000),
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		_, _ = Parse(doc)
		_, _ = ParseConfig(doc)
		_, _ = ParseLayoutIndex(doc, 100)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 16*MaxBytes {
			t.Errorf("%s: %d bytes allocated for %d", name, n, len(doc))
		}
	}
}

// Large indexes are parsed where they are: nothing of an entry or an array is copied before
// its limit is checked.
func TestLayoutIndexIsNotCopied(t *testing.T) {
	const size = 4 << 20
	for name, doc := range map[string]string{
		"an entry": `{"schemaVersion":2,"manifests":[{"digest":"` + strings.Repeat("x", size) + `"}]}`,
		"annotations": `{"schemaVersion":2,"manifests":[{"annotations":{` + strings.Repeat(`"a":"b",`,
			size/8) + `"a":"b"}}]}`,
		"many entries":   `{"schemaVersion":2,"manifests":[` + strings.Repeat(`{},`, size/3) + `{}]}`,
		"another field":  `{"schemaVersion":2,"manifests":[],"x":"` + strings.Repeat("x", size) + `"}`,
		"many manifests": `{"schemaVersion":2` + strings.Repeat(`,"manifests":[]`, size/15) + `}`,
	} {
		var before, after runtime.MemStats
		b := []byte(doc)
		runtime.ReadMemStats(&before)
		_, _ = ParseLayoutIndex(b, 1000)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > size/2 {
			t.Errorf("%s: %d bytes allocated for %d", name, n, len(b))
		}
	}
}

func TestElements(t *testing.T) {
	for doc, want := range map[string][]string{
		`[]`:                                nil,
		`[ ]`:                               nil,
		`[1]`:                               {"1"},
		` [1, "a,]\"" ,[2,3],{"x":[4,5]}] `: {"1", `"a,]\""`, "[2,3]", `{"x":[4,5]}`},
	} {
		var got []string
		for e := range elements([]byte(strings.TrimSpace(doc))) {
			got = append(got, string(e))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", doc, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"layers":[{}]}`,
		`{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"x"}}]}`,
		`{"config":{},"history":[{}]}`, `{"os":"linux","rootfs":{"diff_ids":["sha256:00"]}}`, `[]`, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err == nil {
			// The usual parser reads the same values from an accepted document.
			var m struct {
				Layers    []ocispec.Descriptor
				Manifests []ocispec.Descriptor
			}
			if uerr := json.Unmarshal(b, &m); uerr == nil &&
				(len(m.Layers) != len(d.Layers) || len(m.Manifests) != len(d.Manifests)) {
				t.Errorf("%s: %d layers and %d manifests, not %d and %d", b, len(d.Layers), len(d.Manifests),
					len(m.Layers), len(m.Manifests))
			}
			for _, l := range d.Layers {
				if strings.ContainsRune(l.MediaType, 0x1b) {
					t.Errorf("%s: media type %q", b, l.MediaType)
				}
			}
		}
		c, err := ParseConfig(b)
		var img ocispec.Image
		if err == nil && json.Unmarshal(b, &img) == nil && len(img.RootFS.DiffIDs) != len(c.DiffIDs) {
			t.Errorf("%s: %d diff ids, not %d", b, len(c.DiffIDs), len(img.RootFS.DiffIDs))
		}
		_, _ = ParseLayoutIndex(bytes.Clone(b), 10)
	})
}

// TestErrorsNameNoGoTypes checks that the error of a value with the wrong type names its place.
func TestErrorsNameNoGoTypes(t *testing.T) {
	manifest := func(b string) error { _, err := Parse([]byte(b)); return err }
	config := func(b string) error { _, err := ParseConfig([]byte(b)); return err }
	for _, c := range []struct {
		parse     func(string) error
		raw, want string
	}{
		{manifest, `[]`, "the document is a JSON array, which is not allowed there"},
		{manifest, `{"config":5}`, "is a JSON number, which is not allowed there"},
		{manifest, `{"layers":[7]}`, "layers: entry 1: it is a JSON number, which is not allowed there"},
		{config, `"x"`, "the document is a JSON string, which is not allowed there"},
		{config, `{"rootfs":{"diff_ids":[5]}}`, "a diff ID is a JSON number, which is not allowed there"},
	} {
		if err := c.parse(c.raw); err == nil || !strings.HasSuffix(err.Error(), c.want) ||
			strings.Contains(err.Error(), "Go ") {
			t.Errorf("%s: %v", c.raw, err)
		}
	}
}

// The blobs of artifacts from before OCI 1.1 are what a registry keeps for them.
func TestArtifactBlobs(t *testing.T) {
	blobs := `"blobs":[{"mediaType":"text/plain","digest":"sha256:` + strings.Repeat("a", 64) + `","size":3}]`
	d, err := Parse([]byte(`{"mediaType":"application/vnd.oci.artifact.manifest.v1+json",` + blobs + `}`))
	if err != nil || len(d.Layers) != 1 || d.Layers[0].Size != 3 {
		t.Errorf("%+v, %v", d, err)
	}
	d, err = Parse([]byte(`{"mediaType":"application/vnd.oci.image.manifest.v1+json",` + blobs + `}`))
	if err != nil || len(d.Layers) != 0 {
		t.Errorf("of an image: %+v, %v", d, err)
	}
	if _, err := Parse([]byte(`{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[` +
		strings.Repeat("{},", MaxLayers) + `{}]}`)); err == nil {
		t.Error("countless blobs were accepted")
	}
}
