package inspect

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Change is an entry that differs between two layers or trees. Its description takes many times
// its memory.
type Change struct {
	from, to           *Entry // nil if the side does not have it
	fromLayer, toLayer int32
}

// FileChange describes a file, directory or link that differs between two layers or trees.
type FileChange struct {
	Path string `json:"path"`
	Kind string `json:"kind"` // "added", "removed" or "changed"
	// What lists the differences if both sides have it: "type", "content", "link",
	// "mode", "owner", "time", "attributes".
	What []string `json:"what,omitempty"`
	From *Facts   `json:"from,omitempty"` // nil if it was added
	To   *Facts   `json:"to,omitempty"`   // nil if it was removed
	// FromLayer and ToLayer are the indexes of the layers, 0 for the lowest, in a
	// comparison of images; otherwise, or if the side does not have it, -1.
	FromLayer int `json:"from_layer"`
	ToLayer   int `json:"to_layer"`
}

// Facts describe an entry in a comparison.
type Facts struct {
	Type    string    `json:"type"`
	Mode    string    `json:"mode"`  // octal
	Owner   string    `json:"owner"` // UID:GID
	Size    int64     `json:"size,omitempty"`
	ModTime time.Time `json:"time"`
	Link    string    `json:"link,omitempty"`
	Digest  string    `json:"digest,omitempty"`
}

func facts(e *Entry) *Facts {
	if e == nil {
		return nil
	}
	return &Facts{e.Type.String(), fmt.Sprintf("%04o", e.Mode), fmt.Sprintf("%d:%d", e.UID, e.GID), e.Size,
		e.ModTime.UTC(), e.Link, e.Digest.String()}
}

// Describe returns the description of a change.
func (c Change) Describe() FileChange {
	f := FileChange{Kind: "removed", From: facts(c.from), To: facts(c.to),
		FromLayer: int(c.fromLayer), ToLayer: int(c.toLayer)}
	before, after := c.from != nil && c.from.Type != removed, c.to != nil && c.to.Type != removed
	switch {
	case c.from != nil && c.to != nil && before == after:
		f.Kind, f.What = "changed", differences(c.from, c.to)
	case after || c.to == nil && !before: // only the layer of the first image removed the path
		f.Kind = "added"
	}
	f.Path = cmp.Or(c.from, c.to).Path
	return f
}

// CompareLayers compares two layers, including their removals from lower layers, in the order of
// paths. Both must have been read with Options.Digests.
func CompareLayers(a, b *Layer) []Change {
	return compare(entriesOf(a), entriesOf(b))
}

// entriesOf returns what a layer has at each path.
func entriesOf(l *Layer) []located {
	removals := make([]Entry, 0, len(l.Removed)+len(l.Opaque))
	for _, r := range l.Removed {
		removals = append(removals, Entry{Path: r, Type: removed})
	}
	for _, o := range l.Opaque {
		removals = append(removals, Entry{Path: path.Join(o, opaque), Type: removed})
	}
	out := make([]located, 0, len(removals)+len(l.Entries))
	for _, entries := range [][]Entry{removals, l.Entries} {
		for i := range entries {
			out = append(out, located{&entries[i], -1})
		}
	}
	slices.SortStableFunc(out, byPath)
	slices.Reverse(out) // the last entry of a path counts
	out = slices.CompactFunc(out, func(x, y located) bool { return x.Path == y.Path })
	slices.Reverse(out)
	return out
}

func byPath(a, b located) int { return cmp.Compare(a.Path, b.Path) }

// CompareTrees compares the file systems of two images, in the order of paths. The lowest layers
// of both have the index first.
func CompareTrees(a, b []*Layer, first int) []Change {
	inA, inB := merge(a), merge(b)
	slices.SortFunc(inA, byPath)
	slices.SortFunc(inB, byPath)
	changes := compare(inA, inB)
	for i := range changes {
		c := &changes[i]
		if c.from != nil {
			c.fromLayer += int32(first)
		}
		if c.to != nil {
			c.toLayer += int32(first)
		}
	}
	return changes
}

// compare compares entries that are sorted by path.
func compare(a, b []located) []Change {
	var out []Change
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Path < b[0].Path:
			out = append(out, Change{a[0].Entry, nil, int32(a[0].layer), -1})
			a = a[1:]
		case len(a) == 0 || b[0].Path < a[0].Path:
			out = append(out, Change{nil, b[0].Entry, -1, int32(b[0].layer)})
			b = b[1:]
		default:
			if (a[0].Type == removed) != (b[0].Type == removed) || len(differences(a[0].Entry, b[0].Entry)) > 0 {
				out = append(out, Change{a[0].Entry, b[0].Entry, int32(a[0].layer), int32(b[0].layer)})
			}
			a, b = a[1:], b[1:]
		}
	}
	return out
}

func differences(a, b *Entry) []string {
	if a.Type != b.Type {
		return []string{"type"}
	}
	var out []string
	add := func(differs bool, property string) {
		if differs {
			out = append(out, property)
		}
	}
	add(a.Digest != b.Digest || a.Size != b.Size, "content")
	add(a.Link != b.Link, "link")
	add(a.Mode != b.Mode, "mode")
	add(a.UID != b.UID || a.GID != b.GID, "owner")
	add(!a.ModTime.Equal(b.ModTime), "time")
	add(a.Extra != b.Extra, "attributes")
	return out
}

// FieldChange is a field that differs between the configurations of two images.
type FieldChange struct {
	Field string `json:"field"` // such as "config.Env.PATH" or "created"
	From  string `json:"from,omitempty"`
	To    string `json:"to,omitempty"`
}

// CompareConfigs compares the configurations of two images, in JSON, except for the
// digests of the layers.
func CompareConfigs(a, b []byte) ([]FieldChange, error) {
	before, err := fields(a)
	if err != nil {
		return nil, err
	}
	after, err := fields(b)
	if err != nil {
		return nil, err
	}
	var out []FieldChange
	for name, old := range before {
		if current := after[name]; current != old {
			out = append(out, FieldChange{name, old, current})
		}
	}
	for name, current := range after {
		if _, ok := before[name]; !ok {
			out = append(out, FieldChange{name, "", current})
		}
	}
	slices.SortFunc(out, func(x, y FieldChange) int { return cmp.Compare(x.Field, y.Field) })
	return out, nil
}

// fields returns the fields of a configuration as text, by path.
func fields(config []byte) (map[string]string, error) {
	var doc map[string]any
	dec := json.NewDecoder(bytes.NewReader(config))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("image config: %w", err)
	}
	delete(doc, "rootfs")
	out := map[string]string{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				walk(strings.TrimPrefix(at+"."+k, "."), e)
			}
		case []any:
			for i, e := range v {
				// Environment variables are compared by name.
				if s, ok := e.(string); ok && strings.HasSuffix(at, ".Env") {
					name, value, _ := strings.Cut(s, "=")
					out[at+"."+name] = value
					continue
				}
				if _, nested := e.(map[string]any); nested {
					walk(fmt.Sprintf("%s[%d]", at, i), e)
					continue
				}
				out[at] = fmt.Sprint(v)
			}
		default:
			if v != nil && !reflect.ValueOf(v).IsZero() {
				out[at] = fmt.Sprint(v)
			}
		}
	}
	walk("", doc)
	return out, nil
}
