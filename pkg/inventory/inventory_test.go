package inventory

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

func sample(t testing.TB) *Inventory {
	t.Helper()
	layer, config := digest.FromString("layer"), digest.FromString("config")
	manifest := []byte(`{"schemaVersion":2,"config":{"digest":"` + config.String() + `","size":6},"layers":[{"digest":"` +
		layer.String() + `","size":5}]}`)
	inv := New("localhost:4000/kolla", time.Unix(1_700_000_000, 0))
	read := func(digest.Digest) ([]byte, error) { return manifest, nil }
	if err := inv.Add("localhost:4000/kolla/base:t1", digest.FromBytes(manifest), read); err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestWriteAndRead(t *testing.T) {
	inv := sample(t)
	var b bytes.Buffer
	if err := inv.Write(&b); err != nil {
		t.Fatal(err)
	}
	got, err := Read(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := got.Write(&again); err != nil || again.String() != b.String() {
		t.Errorf("read and written again (%v):\n%s\nwas:\n%s", err, again.String(), b.String())
	}
	if len(got.Blobs) != 3 || len(got.LayersOf("site.example/other/base:t2")) != 1 || got.LayersOf("nova-api:t1") != nil {
		t.Errorf("%d blobs, layers %v", len(got.Blobs), got.LayersOf("site.example/other/base:t2"))
	}
}

func TestReadRefuses(t *testing.T) {
	testenv.Slow(t)
	for text, want := range map[string]string{
		"":              "EOF",
		"[1]":           "cannot unmarshal",
		"{\n\"a\":\n!}": "line 3",
		`{"version":2}`: "version is 2",
		`{"version":1,"blobs":[{"digest":"sha256:../x","size":1}]}`:                             "blob 1",
		`{"version":1,"blobs":[{"digest":"` + digest.FromString("").String() + `","size":-1}]}`: "size is -1",
		`{"version":1,"blobs":[` + strings.Repeat("{},", 1_000_000) + "{}]}":                    "blob 1: digest",
		`{"version":1,"images":[{"layers":[` + strings.Repeat(`"",`, 1_000_000) + `""]}]}`:      "image 1: layer 1",
		`{"version":1,"images":[` + strings.Repeat("{},", maxImages) +
			"{}]}": "more than 100000 images",
		`{"version":1,"images":[{"layers":[` + strings.Repeat(`"`+digest.FromString("").String()+`",`, maxLayers) +
			`""]}]}`: "more than 100000 layers",
		strings.Repeat(" ", maxBytes) +
			`{}`: "more than 64.0 MiB",
		`{"version":1,"images":{}}`: "images: not a list",
		`{"version":1} x`:           "",
		`{"version":1,"of":"` + strings.Repeat("x", 5000) + `"}`: "of",
		`{"version":1,"images":[{"name":"` + strings.Repeat("x",
			5000) + `"}]}`: "image 1: its name",
		`{"version":1,"x":"` + strings.Repeat(`\"`, 40_000) + `"}`:                                            "a text or number",
		`{"version":1,"x":` + strings.Repeat(`1`, 70_000) + `}`:                                               "a text or number",
		`{"version":1,"images":[{"name":"a","digest":"` + digest.FromString("").String() + `","layers":[]}]}`: "image 1",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) && want != "EOF" {
			t.Errorf("%.100q: %v, want an error with %q", text, err, want)
		}
	}
}

// largestRead records how much a decoder reads at once, which is half of its buffer or more.
type largestRead struct {
	io.Reader
	n int
}

func (r *largestRead) Read(p []byte) (int, error) {
	r.n = max(r.n, len(p))
	return r.Reader.Read(p)
}

// TestLargeValues checks that values which are not used, or of another type, are not in memory.
func TestLargeValues(t *testing.T) {
	text := `[` + strings.Repeat(`{"a":[1,"\"]",null]},`, 100_000) + `{}]`
	for name, read := range map[string]func(*json.Decoder) error{
		"skip":   skip,
		"scalar": func(dec *json.Decoder) error { return scalar(dec, new(string)) },
		"list":   func(dec *json.Decoder) error { return list(dec, "x", 1<<20, func() error { return skip(dec) }) },
	} {
		r := &largestRead{Reader: strings.NewReader(text + "1")}
		dec := json.NewDecoder(r)
		if err := read(dec); (err != nil) != (name == "scalar") {
			t.Errorf("%s: %v", name, err)
		}
		if r.n > 100<<10 {
			t.Errorf("%s: %d bytes are read at once", name, r.n)
		}
		if next, err := dec.Token(); name != "scalar" && next != 1. {
			t.Errorf("%s: then comes %v, %v", name, next, err)
		}
	}
}

// TestAddLimits checks that an inventory is not written that Read refuses.
func TestAddLimits(t *testing.T) {
	testenv.Slow(t)
	manifest := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"digest":"` +
		digest.FromString("").String() + `","size":0},"layers":[]}`)
	add := func(inv *Inventory) error {
		return inv.Add("site.example/a:t", digest.FromBytes(manifest),
			func(digest.Digest) ([]byte, error) { return manifest, nil })
	}
	few := New("x", time.Now())
	if err := add(few); err != nil {
		t.Fatal(err)
	}
	images := New("x", time.Now())
	images.Images = make([]Image, maxImages)
	blobs := New("x", time.Now())
	for i := range maxBlobs {
		blobs.Blobs[digest.Digest(strconv.Itoa(i))] = 1
	}
	for name, inv := range map[string]*Inventory{"images": images, "blobs": blobs} {
		if err := add(inv); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("too many %s: %v", name, err)
		}
	}
}

// FuzzRead holds that what is accepted can be written and read again.
func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	if err := sample(f).Write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		inv, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := inv.Write(&out); err != nil {
			return // a time that JSON cannot have
		}
		if _, err := Read(&out); err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
	})
}
