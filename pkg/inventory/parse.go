package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
)

// parse parses a file. Each entry is checked as soon as it is read: lists of countless
// empty entries take no memory.
func parse(b []byte) (*Inventory, error) {
	if err := checkTokens(b); err != nil {
		return nil, err
	}
	version, source, created := 0, "", time.Time{}
	blobs, images := map[digest.Digest]int64{}, []Image(nil)
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	err := object(dec, func(key string) error {
		switch key {
		case "version":
			return scalar(dec, &version)
		case "of":
			return scalar(dec, &source)
		case "taken":
			return scalar(dec, &created)
		case "blobs":
			return list(dec, "blob", maxBlobs, func() error {
				current, err := parseBlob(dec)
				blobs[current.Digest] = current.Size
				return err
			})
		case "images":
			return list(dec, "image", maxImages, func() error {
				image, err := parseImage(dec)
				images = append(images, image)
				return err
			})
		}
		return skip(dec)
	})
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data follows it")
	}
	if version != formatVersion {
		return nil, fmt.Errorf("its version is %d, this program knows %d", version, formatVersion)
	}
	if len(source) > maxText {
		return nil, fmt.Errorf("\"of\" has more than %d bytes", maxText)
	}
	inv := New(source, created)
	inv.Blobs, inv.Images = blobs, images
	for i, image := range images {
		for _, d := range append([]digest.Digest{image.Digest}, image.Layers...) {
			if _, ok := blobs[d]; !ok {
				return nil, fmt.Errorf("image %d refers to %q, which is not in the list of blobs", i+1, d)
			}
		}
	}
	return inv, nil
}

// checkTokens refuses texts and numbers that are longer than any valid one. A decoder has a whole
// token in memory, several times.
func checkTokens(b []byte) error {
	start, inText := 0, false
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++ // what is escaped does not end the text
		case '"':
			start, inText = i, !inText
		case '{', '}', '[', ']', ':', ',', ' ', '\t', '\r', '\n':
			if !inText {
				start = i
			}
		}
		if i-start > maxToken {
			return fmt.Errorf("a text or number of more than %d bytes", maxToken)
		}
	}
	return nil
}

func parseBlob(dec *json.Decoder) (blob, error) {
	var b blob
	err := object(dec, func(key string) error {
		switch key {
		case "digest":
			return scalar(dec, &b.Digest)
		case "size":
			return scalar(dec, &b.Size)
		}
		return skip(dec)
	})
	if err != nil {
		return b, err
	}
	if err := b.Digest.Validate(); err != nil {
		return b, fmt.Errorf("digest %q: %w", b.Digest, err)
	}
	if b.Size < 0 {
		return b, fmt.Errorf("its size is %d bytes", b.Size)
	}
	return b, nil
}

// maxLayers is how many layers an image may have, of all platforms.
const maxLayers = 100_000

func parseImage(dec *json.Decoder) (Image, error) {
	var image Image
	err := object(dec, func(key string) error {
		switch key {
		case "name":
			return scalar(dec, &image.Name)
		case "digest":
			return scalar(dec, &image.Digest)
		case "layers":
			image.Layers = []digest.Digest{}
			return list(dec, "layer", maxLayers, func() error {
				var d digest.Digest
				if err := scalar(dec, &d); err != nil {
					return err
				}
				image.Layers = append(image.Layers, d)
				return d.Validate()
			})
		}
		return skip(dec)
	})
	if err == nil && len(image.Name) > maxText {
		err = fmt.Errorf("its name has more than %d bytes", maxText)
	}
	return image, err
}

// scalar reads a text or a number. The decoder would have a list in memory before it refuses it.
func scalar(dec *json.Decoder, into any) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	if d, ok := t.(json.Delim); ok {
		return fmt.Errorf("%v instead of a text or number", d)
	}
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// skip reads a value that is not used, without having it in memory as a whole.
func skip(dec *json.Decoder) error {
	for depth := 0; ; {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// object reads an object and calls field for each key, which reads the value.
func object(dec *json.Decoder, field func(key string) error) error {
	if err := expect(dec, '{'); err != nil {
		return err
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if err := field(key); err != nil {
			return err
		}
	}
	return expect(dec, '}')
}

// list reads an array of up to limit elements, each of which element reads.
func list(dec *json.Decoder, field string, limit int, element func() error) error {
	switch t, err := dec.Token(); {
	case err != nil:
		return err
	case t == nil:
		return nil
	case t != json.Delim('['):
		return fmt.Errorf("%ss: not a list", field)
	}
	for n := 1; dec.More(); n++ {
		if n > limit {
			return fmt.Errorf("more than %d %ss", limit, field)
		}
		if err := element(); err != nil {
			return fmt.Errorf("%s %d: %w", field, n, err)
		}
	}
	return expect(dec, ']')
}

func expect(dec *json.Decoder, want json.Delim) error {
	t, err := dec.Token()
	if err == nil && t != want {
		err = fmt.Errorf("%v instead of %v", t, want)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
