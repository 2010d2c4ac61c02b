package load

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/bundletest"
	"github.com/kolla-build/kolla-build/internal/storetest"
)

func TestLoadForeignArchives(t *testing.T) {
	images := bundletest.ForeignImages(t)
	byName := map[string]v1.Image{}
	for _, img := range images {
		for _, n := range img.Names {
			byName[n] = img.Image
		}
	}
	digests := map[string]digest.Digest{} // of the formats with plain layers
	for _, format := range archivetest.Formats {
		t.Run(string(format), func(t *testing.T) {
			archive := archivetest.Archive(t, format, images...)
			st := storetest.Open(t)
			sum, err := Bundle(t.Context(), "-", st, Options{Stdin: bytes.NewReader(archive)})
			if err != nil {
				t.Fatal(err)
			}
			if len(sum.Images) != len(byName) {
				t.Fatalf("%d images, want %d", len(sum.Images), len(byName))
			}
			for _, e := range sum.Images {
				want := byName[e.Name]
				if want == nil {
					t.Fatalf("name %s", e.Name)
				}
				if err := st.Verify(t.Context(), e.Digest); err != nil {
					t.Fatal(err)
				}
				got, err := st.Image(e.Digest)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(bundletest.DiffIDs(t, got), bundletest.DiffIDs(t, want)) {
					t.Errorf("%s: other layers", e.Name)
				}
				a, _ := got.ConfigName()
				if b, _ := want.ConfigName(); a != b && format != archivetest.Docker1 {
					t.Errorf("%s: config %s, want %s", e.Name, a, b)
				}
				c, _ := got.ConfigFile()
				if w, _ := want.ConfigFile(); fmt.Sprint(c.Config) != fmt.Sprint(w.Config) || c.OS != "linux" ||
					c.Architecture != "amd64" {
					t.Errorf("%s: settings %+v, want %+v", e.Name, c.Config, w.Config)
				}
				m, _ := got.Manifest()
				for _, l := range m.Layers {
					if string(l.MediaType) != ocispec.MediaTypeImageLayerGzip {
						t.Errorf("%s: a layer has type %s", e.Name, l.MediaType)
					}
				}
				if format == archivetest.Docker10 || format == archivetest.Skopeo {
					if d := digests[e.Name]; d != "" && d != e.Digest {
						t.Errorf("%s: digest %s, %s in another format", e.Name, e.Digest, d)
					}
					digests[e.Name] = e.Digest
				}
				if format == archivetest.DockerOCI || format == archivetest.Crane { // layers that are compressed stay as they are
					w, _ := want.Manifest()
					for i, l := range m.Layers {
						if l.Digest != w.Layers[i].Digest {
							t.Errorf("%s: layer %d has digest %s, in the archive %s", e.Name, i+1, l.Digest, w.Layers[i].Digest)
						}
					}
				}
			}
			before := storetest.BlobCount(t, st)
			second, err := Bundle(t.Context(), "-", st, Options{Stdin: bytes.NewReader(archive)})
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range second.Images {
				if e.Digest != sum.Images[i].Digest {
					t.Errorf("loaded again, %s has another digest", e.Name)
				}
			}
			if n := storetest.BlobCount(t, st); n != before {
				t.Errorf("loaded again, the store has %d blobs instead of %d", n, before)
			}
			names, err := Bundle(t.Context(), "-", nil, Options{Stdin: bytes.NewReader(archive), NamesOnly: true})
			if err != nil || len(names.Images) != len(sum.Images) {
				t.Errorf("names only: %d images, %v", len(names.Images), err)
			}
		})
	}
}

// TestLoadForeignOrder checks that the order of members does not matter, because tools
// differ.
func TestLoadForeignOrder(t *testing.T) {
	images := bundletest.ForeignImages(t)
	for _, f := range []archivetest.Format{archivetest.Docker1, archivetest.Docker10, archivetest.Docker25,
		archivetest.Skopeo} {
		members := archivetest.Members(t, f, images...)
		slices.Reverse(members)
		for i := range members {
			members[i].Name = "./" + members[i].Name
		}
		members = append([]archivetest.Member{{Name: ".", Dir: true}}, members...)
		st := storetest.Open(t)
		sum, err := Bundle(t.Context(), "-", st, Options{Stdin: bytes.NewReader(archivetest.Tar(t, members...))})
		if err != nil || len(sum.Images) != 3 {
			t.Errorf("%s: %d images, %v", f, len(sum.Images), err)
		}
	}
}

// TestLoadDamagedForeignArchives checks that no image of an invalid archive gets a name
// and that the error contains the place.
func TestLoadDamagedForeignArchives(t *testing.T) {
	images := bundletest.ForeignImages(t)
	find := func(members []archivetest.Member, suffix string) *archivetest.Member {
		for i, m := range members {
			if strings.HasSuffix(m.Name, suffix) && m.Link == "" && !m.Dir && len(m.Data) > 0 {
				return &members[i]
			}
		}
		t.Fatalf("no member *%s", suffix)
		return nil
	}
	manifest := func(s string) []archivetest.Member {
		return []archivetest.Member{{Name: "manifest.json", Data: []byte(s)}}
	}
	cases := map[string]struct {
		format archivetest.Format
		change func(m []archivetest.Member) []archivetest.Member
		says   string
	}{
		"layer": {archivetest.Docker10, func(m []archivetest.Member) []archivetest.Member {
			find(m, "layer.tar").Data[700] ^= 1
			return m
		}, "layer.tar\": its content has digest"},
		"layer of 1.9": {archivetest.Docker1, func(m []archivetest.Member) []archivetest.Member {
			find(m, "layer.tar").Data = []byte("text")
			return m
		}, "not a layer"},
		"layer of 25": {archivetest.Docker25, func(m []archivetest.Member) []archivetest.Member {
			for i := range m {
				if len(m[i].Data) > 2000 {
					m[i].Data[700] ^= 1
					break
				}
			}
			return m
		}, "its content has digest"},
		"config": {archivetest.Skopeo, func(m []archivetest.Member) []archivetest.Member {
			d := find(m, ".json")
			d.Data = append(d.Data, ' ')
			return m
		}, "config"},
		"missing layer": {archivetest.Skopeo, func(m []archivetest.Member) []archivetest.Member {
			return slices.DeleteFunc(m, func(m archivetest.Member) bool {
				return strings.HasSuffix(m.Name, ".tar") && m.Link == ""
			})
		}, "not in the archive"},
		"missing link target": {archivetest.Docker1, func(m []archivetest.Member) []archivetest.Member {
			l := find(m, "layer.tar")
			l.Link, l.Data = "../nothing/layer.tar", nil
			return m
		}, "not in the archive"},
		"link loop": {archivetest.Docker10, func(m []archivetest.Member) []archivetest.Member {
			l := find(m, "layer.tar")
			l.Link, l.Data = "layer.tar", nil
			return m
		}, "form a cycle"},
		"link out": {archivetest.Docker10, func(m []archivetest.Member) []archivetest.Member {
			l := find(m, "layer.tar")
			l.Link, l.Data = "../../../etc/shadow", nil
			return m
		}, "outside the archive"},
		"absolute link": {archivetest.Docker10, func(m []archivetest.Member) []archivetest.Member {
			l := find(m, "layer.tar")
			l.Link, l.Data = "/etc/shadow", nil
			return m
		}, "outside the archive"},
		"twice": {archivetest.Docker10, func(m []archivetest.Member) []archivetest.Member {
			return append(m, *find(m, "layer.tar"))
		}, "occurs twice"},
		"absolute name": {archivetest.Docker10, func(m []archivetest.Member) []archivetest.Member {
			return append(m, archivetest.Member{Name: "/etc/passwd", Data: []byte("x")})
		}, "absolute"},
		"name leads out": {archivetest.Docker10, func(m []archivetest.Member) []archivetest.Member {
			return append(m, archivetest.Member{Name: "a/../../x", Data: []byte("x")})
		}, `".."`},
		"no manifest.json": {archivetest.Skopeo, func([]archivetest.Member) []archivetest.Member {
			return []archivetest.Member{{Name: "a.tar", Data: make([]byte, 1024)}}
		}, "neither manifest.json nor repositories"},
		"parent cycle": {archivetest.Docker1, cycle, "its own ancestor"},
		"config outside": {archivetest.Skopeo, func([]archivetest.Member) []archivetest.Member {
			return manifest(`[{"Config":"../x","RepoTags":["a:t"]}]`)
		}, "config"},
		"a million images": {archivetest.Skopeo, func([]archivetest.Member) []archivetest.Member {
			return manifest("[" + strings.Repeat("{},", 999_999) + "{}]")
		}, "more than 50000 images"},
		"manifest.json cut": {archivetest.Skopeo,
			func([]archivetest.Member) []archivetest.Member { return manifest(`[{"Config":"c"`) }, "manifest.json"},
		"manifest.json no list": {archivetest.Skopeo, func([]archivetest.Member) []archivetest.Member {
			return append(manifest(`{}`), archivetest.Member{Name: "x.json", Data: []byte("{}")})
		}, "not a list of images"},
		"fewer diff IDs":   {archivetest.Skopeo, dropLayer, "lists"},
		"compressed twice": {archivetest.Docker1, compressedTwice, "its content is not a tar"},
		"config that is a layer": {archivetest.Skopeo, func(m []archivetest.Member) []archivetest.Member {
			find(m, ".json").Data = make([]byte, 1024)
			return m
		}, "config"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			members := archivetest.Members(t, c.format, images...)
			for i := range members {
				members[i].Data = bytes.Clone(members[i].Data)
			}
			archive := archivetest.Tar(t, c.change(members)...)
			st := storetest.Open(t)
			_, err := Bundle(t.Context(), "-", st, Options{Stdin: bytes.NewReader(archive)})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %q", err, c.says)
			}
			storetest.NoImages(t, st)
		})
	}
}

// TestLoadTruncatedForeignArchives checks that no image of an archive that ends early gets a name.
func TestLoadTruncatedForeignArchives(t *testing.T) {
	intact := archivetest.Archive(t, archivetest.Docker10, bundletest.ForeignImages(t)...)
	for n := 100; n < len(intact)-1024; n += len(intact) / 12 { // the last kilobyte is the end mark
		st := storetest.Open(t)
		if _, err := Bundle(t.Context(), "-", st, Options{Stdin: bytes.NewReader(intact[:n])}); err == nil {
			t.Errorf("an archive that is cut after %d of %d bytes was loaded", n, len(intact))
		}
		storetest.NoImages(t, st)
	}
}

// cycle makes the parents of Docker 1.9's layers refer to each other.
func cycle(members []archivetest.Member) []archivetest.Member {
	var ids []string
	for _, m := range members {
		if id, ok := strings.CutSuffix(m.Name, "/json"); ok {
			ids = append(ids, id)
		}
	}
	for i, m := range members {
		if id, ok := strings.CutSuffix(m.Name, "/json"); ok {
			n := slices.Index(ids, id)
			members[i].Data = fmt.Appendf(nil, `{"id":%q,"parent":%q}`, id, ids[(n+1)%len(ids)])
		}
	}
	return members
}

func dropLayer(members []archivetest.Member) []archivetest.Member {
	for i, m := range members {
		if m.Name == "manifest.json" {
			text := string(m.Data)
			from := strings.Index(text, `"Layers":[`) + len(`"Layers":[`)
			to := from + strings.Index(text[from:], ",") + 1
			members[i].Data = []byte(text[:from] + text[to:])
		}
	}
	return members
}

func compressedTwice(members []archivetest.Member) []archivetest.Member {
	for i, m := range members {
		if strings.HasSuffix(m.Name, "layer.tar") {
			members[i].Data = gzipped(gzipped(m.Data))
		}
	}
	return members
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b) // to memory
	w.Close()
	return out.Bytes()
}
