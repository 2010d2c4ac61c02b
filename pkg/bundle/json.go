package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// object calls field for each field of a JSON object, which decodes its value.
func object(b []byte, field func(key string, dec *json.Decoder) error) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if err := field(key, dec); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("data follows the JSON object")
	}
	return nil
}

func ignore(dec *json.Decoder) error {
	var value json.RawMessage
	return dec.Decode(&value)
}

// elements calls decode for each element of an array.
func elements(dec *json.Decoder, limit int, decode func(*json.Decoder) error) error {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return errors.New("not an array")
	}
	for n, last := 0, dec.InputOffset(); dec.More(); n, last = n+1, dec.InputOffset() {
		if n == limit {
			return fmt.Errorf("more than %d entries", limit)
		}
		if err := decode(dec); err != nil {
			return fmt.Errorf("entry %d: %w", n+1, err)
		}
		if size := dec.InputOffset() - last; size > maxManifestEntry {
			return fmt.Errorf("entry %d has %d bytes, more than %d", n+1, size, maxManifestEntry)
		}
	}
	_, err := dec.Token()
	return err
}
