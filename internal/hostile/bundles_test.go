package hostile

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
)

// foreignKey is the content key that hostile bundles claim.
const foreignKey = "sha256:feedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedface"

type object = map[string]any

// layout is an OCI layout in the making.
type layout struct {
	blobs map[string][]byte // by digest
	index []object
}

func newBundle() *layout { return &layout{blobs: map[string][]byte{}} }

func (b *layout) add(content []byte, mediaType string) object {
	d := digest.FromBytes(content).String()
	b.blobs[d] = content
	return object{"mediaType": mediaType, "digest": d, "size": len(content)}
}

func (b *layout) addJSON(v any, mediaType string) object {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // the generator's own mistake
	}
	return b.add(raw, mediaType)
}

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// addImage adds an image with one layer and returns its descriptor.
func (b *layout) addImage(name string, content map[string]string) object {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for file, text := range content {
		_ = w.WriteHeader(&tar.Header{Name: file, Size: int64(len(text)), Mode: 0o644})
		_, _ = w.Write([]byte(text))
	}
	_ = w.Close()
	config := b.addJSON(object{"architecture": "amd64", "os": "linux", "config": object{},
		"rootfs": object{"type": "layers", "diff_ids": []string{digest.FromBytes(layer.Bytes()).String()}}}, configType)
	d := b.addJSON(object{"schemaVersion": 2, "mediaType": manifestType, "config": config,
		"layers": []object{b.add(compress(layer.Bytes()), layerType)}}, manifestType)
	if name != "" {
		d["annotations"] = map[string]string{"org.opencontainers.image.ref.name": name}
	}
	b.index = append(b.index, d)
	return d
}

func compress(raw []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(raw)
	_ = w.Close()
	return out.Bytes()
}

func (b *layout) indexJSON() []byte {
	raw, err := json.Marshal(object{"schemaVersion": 2, "mediaType": indexType, "manifests": b.index})
	if err != nil {
		panic(err)
	}
	return raw
}

// tar writes the layout with its members in a fixed order.
func (b *layout) tar() []byte { return writeTar(b.members()) }

type member struct {
	tar.Header
	content []byte
}

func (b *layout) members() []member {
	file := func(name string, content []byte) member {
		return member{tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}, content}
	}
	out := []member{file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)), file("index.json", b.indexJSON())}
	for _, d := range sortedKeys(b.blobs) {
		out = append(out, file("blobs/"+strings.Replace(d, ":", "/", 1), b.blobs[d]))
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func writeTar(members []member) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		if w.WriteHeader(&m.Header) == nil {
			_, _ = w.Write(m.content)
		}
	}
	_ = w.Close()
	return out.Bytes()
}

// hostileNames are names of images and files that a reader must reject or handle literally.
var hostileNames = []string{
	"", ".", "..", "../../" + escapee, "/" + escapee, "/tmp/" + escapee, "a/../../../" + escapee,
	"site.example/kolla/healthy-a:1",
	"kolla/\u202ehcet:1", "kolla/x:\x1b[2J", "kolla/x@sha256:abc", "kolla/x:1@sha256:" + strings.Repeat("a",
		64), strings.Repeat("a", 5000), "kolla//x:1",
	"localhost:99999/x:1", "x:" + strings.Repeat("t",
		200), "KOLLA/x:1", "kolla/x:1\n", "kolla/x:1\x00", "-x", "--help", "debian:trixie",
}

func pick[T any](rnd *rand.Rand, list []T) T { return list[rnd.IntN(len(list))] }

// bundleCase loads a hostile bundle.
func bundleCase(rnd *rand.Rand, env *environment) hostileCase {
	b, kind := hostileBundle(rnd)
	return loadCase(rnd, kind, damage(rnd, b.tar()))
}

// hostileBundle makes a bundle whose descriptors, manifests or configs are changed.
func hostileBundle(rnd *rand.Rand) (b *layout, kind string) {
	b = newBundle()
	victim := newBundle()
	v := victim.addImage("site.example/kolla/healthy-a:1", map[string]string{"etc/healthy-a": "healthy-a"})
	kind = "bundle"
	for range 1 + rnd.IntN(4) {
		name := fmt.Sprintf("other.example/kolla/x%d:1", rnd.IntN(100))
		if rnd.IntN(6) == 0 {
			name = pick(rnd, hostileNames)
		}
		d := b.addImage(name, map[string]string{"f": fmt.Sprint(rnd.Uint64())})
		notes, ok := d["annotations"].(map[string]string)
		if !ok {
			notes = map[string]string{}
			d["annotations"] = notes
		}
		switch rnd.IntN(9) {
		case 0: // it claims a key and a kind
			notes["io.kolla-build.key"], notes["io.kolla-build.kind"] = foreignKey,
				pick(rnd, []string{"built", "base", "archive", "x"})
		case 1: // a manifest of a healthy image among the layers
			m := object{"schemaVersion": 2, "mediaType": manifestType, "config": b.add([]byte(`{}`), configType),
				"layers": []object{v, b.add([]byte("x"), layerType)}}
			for d, content := range victim.blobs {
				b.blobs[d] = content
			}
			b.index = append(b.index, b.addJSON(m, manifestType))
		case 2:
			d["size"] = pick(rnd, []any{0, -1, 1, 1 << 40, "1", nil, 1.5})
		case 3:
			d["digest"] = pick(rnd, []any{"sha256:" + strings.Repeat("0", 64), "sha256:../../../" + escapee, "md5:abc", "",
				nil, 7, "sha512:" + strings.Repeat("a", 128), v["digest"]})
		case 4:
			d["mediaType"] = pick(rnd, []any{indexType, layerType, configType, "", "x", nil})
		case 5: // an index of indexes, deep or of itself
			inner := d
			for range rnd.IntN(40) {
				inner = b.addJSON(object{"schemaVersion": 2, "mediaType": indexType, "manifests": []object{inner, inner}},
					indexType)
			}
			b.index = append(b.index, inner)
		case 6: // many layers
			layer := b.add(compress([]byte("x")), layerType)
			m := object{"schemaVersion": 2, "mediaType": manifestType, "config": b.add([]byte(`{"rootfs":{}}`), configType),
				"layers": slices.Repeat([]object{layer}, 1+rnd.IntN(5000))}
			b.index = append(b.index, b.addJSON(m, manifestType))
		case 7: // a config that is something else
			m := object{"schemaVersion": pick(rnd, []any{1, 2, 3, "2"}), "mediaType": manifestType,
				"config": b.add([]byte(pick(rnd, []string{"", "null", "[]", `{"rootfs":7}`, strings.Repeat("[", 20000),
					`{"config":{"Labels":{"a":"\u001b[2J"}}}`})), configType), "layers": []object{}}
			b.index = append(b.index, b.addJSON(m, manifestType))
		case 8: // a blob that does not match its digest, or is missing
			for _, k := range sortedKeys(b.blobs) {
				if rnd.IntN(4) == 0 {
					if rnd.IntN(2) == 0 {
						delete(b.blobs, k)
					} else {
						b.blobs[k] = append([]byte("damaged"), b.blobs[k]...)
					}
				}
			}
		}
	}
	return b, kind
}

// damage sometimes changes, cuts, repeats or compresses a file.
func damage(rnd *rand.Rand, raw []byte) []byte {
	if len(raw) == 0 {
		return []byte{0}
	}
	switch rnd.IntN(16) {
	case 0:
		return raw[:rnd.IntN(len(raw)+1)]
	case 1:
		for range 1 + rnd.IntN(20) {
			raw[rnd.IntN(len(raw))] ^= byte(1 << rnd.IntN(8))
		}
	case 2:
		return compress(raw)
	case 3:
		z := compress(raw)
		return z[:rnd.IntN(len(z)+1)]
	case 4:
		return append(raw, raw...)
	}
	return raw
}

// loadCase loads a file, from its path or from standard input, with some of load's options.
func loadCase(rnd *rand.Rand, kind string, content []byte) hostileCase {
	c := hostileCase{kind: kind, accepts: true, args: []string{"load"}}
	if rnd.IntN(4) == 0 {
		c.stdin = content
		c.args = append(c.args, "-")
	} else {
		c.args = append(c.args, "in.tar")
		c.prepare = func(dir string) error { return os.WriteFile(filepath.Join(dir, "in.tar"), content, 0o644) }
	}
	return c
}

// tarCase loads an archive with hostile members, or uses it as a base image.
func tarCase(rnd *rand.Rand, env *environment) hostileCase {
	b := newBundle()
	b.addImage("other.example/kolla/x:1", map[string]string{"f": "x"})
	members := b.members()
	for range 1 + rnd.IntN(5) {
		m := hostileMember(rnd, pick(rnd, []string{"index.json", "oci-layout", "blobs", "blobs/sha256/x",
			"manifest.json", "repositories"}))
		members = slices.Insert(members, rnd.IntN(len(members)+1), m)
	}
	if rnd.IntN(3) == 0 { // an archive that expands
		members = append(members,
			member{tar.Header{Name: "blobs/sha256/" + strings.Repeat("b", 64), Size: 64 << 20, Mode: 0o644},
				make([]byte, 64<<20)})
		return loadCase(rnd, "tar", compress(writeTar(members)))
	}
	raw := damage(rnd, writeTar(members))
	if rnd.IntN(2) == 0 {
		return loadCase(rnd, "tar", raw)
	}
	return hostileCase{kind: "base image", accepts: true,
		args: []string{"plan", "-b", "debian", "--images-dir", "tree", "--base-image", "./base.tar",
			"--bootstrap", "never", "--tag", "t"},
		prepare: func(dir string) error {
			if err := smallTree(dir, "FROM {{ base_image }}:{{ base_distro_tag }}\n"); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "base.tar"), raw, 0o644)
		}}
}

// indexCase loads a layout with a hostile index.
func indexCase(rnd *rand.Rand, env *environment) hostileCase {
	return loadCase(rnd, "index", hostileIndex(rnd))
}

// hostileIndex makes a layout whose index is large, deep or nonsense.
func hostileIndex(rnd *rand.Rand) []byte {
	entry := pick(rnd, []string{"{}", "null", "[]", "7", `{"digest":"x"}`,
		`{"annotations":{"a":"b"}}`, `{"manifests":[{}]}`})
	count := pick(rnd, []int{1, 1000, 100_000, 2_000_000})
	start, repeated, end := `{"schemaVersion":2,"manifests":[`, entry+",", entry+`]}`
	switch rnd.IntN(6) {
	case 0:
		start, repeated, count, end = "", `{"manifests":[`, 1+rnd.IntN(100_000), ""
	case 1:
		start, repeated, count, end = "", "[", 1+rnd.IntN(1_000_000), ""
	case 2:
		start, repeated, count, end = `{"schemaVersion":2,"manifests":[],"`, "x", rnd.IntN(10_000_000), `":1}`
	}
	return archiveWithIndex(start, repeated, count, end)
}

// archiveWithIndex returns a compressed layout whose index has a repeated part. The index is
// never in memory: the process that makes it measures the memory of its readers.
func archiveWithIndex(start, repeated string, count int, end string) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	_ = w.WriteHeader(&tar.Header{Name: "oci-layout", Size: 30, Mode: 0o644})
	_, _ = io.WriteString(w, `{"imageLayoutVersion":"1.0.0"}`)
	size := len(start) + len(repeated)*count + len(end)
	_ = w.WriteHeader(&tar.Header{Name: "index.json", Size: int64(size), Mode: 0o644})
	_, _ = io.WriteString(w, start)
	const together = 1000
	many := strings.Repeat(repeated, together)
	for ; count >= together; count -= together {
		_, _ = io.WriteString(w, many)
	}
	_, _ = io.WriteString(w, strings.Repeat(repeated, count)+end)
	_ = w.Close()
	_ = z.Close()
	return out.Bytes()
}

// imageLines is a line for each image of `images --json`.
func imageLines(raw []byte) (string, error) {
	var images []object
	if err := json.Unmarshal(raw, &images); err != nil {
		return "", fmt.Errorf("images --json: %w", err)
	}
	var lines []string
	for _, i := range images {
		lines = append(lines, fmt.Sprintf("%v %v %v\n", i["name"], i["digest"], i["key"]))
	}
	slices.Sort(lines)
	return strings.Join(lines, ""), nil
}
