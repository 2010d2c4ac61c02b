package bundle

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// A delta is a bundle without the blobs that the other side has, which are listed in its
// member delta.json; deltas/sha256/HEX is the byte delta from which the layer HEX is
// restored.
const (
	DeltaListName = "delta.json"
	DeltaDir      = "deltas"
	DeltaVersion  = 1
)

// DeltaList is the content of delta.json.
type DeltaList struct {
	Version  int           `json:"version"`
	Since    string        `json:"since,omitempty"` // place of the inventory
	Requires []Requirement `json:"requires"`
}

// Requirement is a blob that the other side must have. A manifest includes everything
// that it refers to.
type Requirement struct {
	Digest   digest.Digest `json:"digest"`
	Size     int64         `json:"size"`
	Image    string        `json:"image"`          // the first one that needs it
	More     int           `json:"more,omitempty"` // how many other images need it
	Manifest bool          `json:"manifest,omitempty"`
}

// ParseDeltaList parses delta.json, in at most a small multiple of its size in memory.
func ParseDeltaList(b []byte) (DeltaList, error) {
	var doc DeltaList
	err := object(b, func(key string, dec *json.Decoder) error {
		switch key {
		case "version":
			return dec.Decode(&doc.Version)
		case "since":
			return dec.Decode(&doc.Since)
		case "requires":
			return elements(dec, MaxBlobs, func(dec *json.Decoder) error {
				var r Requirement
				if err := dec.Decode(&r); err != nil {
					return err
				}
				doc.Requires = append(doc.Requires, r)
				if err := r.Digest.Validate(); err != nil {
					return fmt.Errorf("digest %q: %w", r.Digest, err)
				}
				return nil
			})
		}
		return ignore(dec)
	})
	if doc.Since == "store" { // of an earlier release, which named every store alike
		doc.Since = "a store"
	}
	if err == nil && doc.Version != DeltaVersion {
		err = fmt.Errorf("its version is %d, this program knows %d", doc.Version, DeltaVersion)
	}
	return doc, err
}

// DetailLateDeltaList is the problem of a delta.json that follows a blob: load checks what a delta requires
// before it writes any.
const DetailLateDeltaList = "it follows blobs"
