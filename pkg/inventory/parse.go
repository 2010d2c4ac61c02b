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
	version, source, created := 0, "", time.Time{}
	blobs, images := map[digest.Digest]int64{}, []Image(nil)
	dec := json.NewDecoder(bytes.NewReader(b))
	err := object(dec, func(key string) error {
		switch key {
		case "version":
			return dec.Decode(&version)
		case "of":
			return dec.Decode(&source)
		case "taken":
			return dec.Decode(&created)
		case "blobs":
			return list(dec, "blob", maxBlobs, func() error {
				var current blob
				if err := dec.Decode(&current); err != nil {
					return err
				}
				blobs[current.Digest] = current.Size
				return current.check()
			})
		case "images":
			return list(dec, "image", maxImages, func() error {
				image, err := parseImage(dec)
				images = append(images, image)
				return err
			})
		}
		var ignored json.RawMessage
		return dec.Decode(&ignored)
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

func (b blob) check() error {
	if err := b.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", b.Digest, err)
	}
	if b.Size < 0 {
		return fmt.Errorf("its size is %d bytes", b.Size)
	}
	return nil
}

// maxLayers is how many layers an image may have, of all platforms.
const maxLayers = 100_000

func parseImage(dec *json.Decoder) (Image, error) {
	var image Image
	err := object(dec, func(key string) error {
		switch key {
		case "name":
			return dec.Decode(&image.Name)
		case "digest":
			return dec.Decode(&image.Digest)
		case "layers":
			image.Layers = []digest.Digest{}
			return list(dec, "layer", maxLayers, func() error {
				var d digest.Digest
				if err := dec.Decode(&d); err != nil {
					return err
				}
				image.Layers = append(image.Layers, d)
				return d.Validate()
			})
		}
		var ignored json.RawMessage
		return dec.Decode(&ignored)
	})
	return image, err
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
