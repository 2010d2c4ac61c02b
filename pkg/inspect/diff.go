package inspect

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"
)

// FileChange is a file, directory or link that differs between two layers or trees.
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
	Type    Type      `json:"type"`
	Mode    string    `json:"mode"`  // octal
	Owner   string    `json:"owner"` // UID:GID
	Size    int64     `json:"size,omitempty"`
	ModTime time.Time `json:"time"`
	Link    string    `json:"link,omitempty"`
	Digest  string    `json:"digest,omitempty"`
}

func facts(e *Entry) *Facts {
	return &Facts{e.Type, fmt.Sprintf("%04o", e.Mode), fmt.Sprintf("%d:%d", e.UID, e.GID), e.Size, e.ModTime.UTC(),
		e.Link, e.Digest.String()}
}

// removedType is the type, in comparisons of layers, of a path that a layer removes.
const removedType Type = "whiteout"

// CompareLayers compares two layers, including their removals from lower layers. Both
// must have been read with Options.Digests.
func CompareLayers(a, b *Layer) []FileChange {
	return compare(entriesOf(a), entriesOf(b))
}

func entriesOf(l *Layer) map[string]located {
	out := map[string]located{}
	for _, r := range l.Removed {
		out[r] = located{&Entry{Path: r, Type: removedType}, -1}
	}
	for _, o := range l.Opaque {
		name := path.Join(o, opaque)
		out[name] = located{&Entry{Path: name, Type: removedType}, -1}
	}
	for i := range l.Entries {
		out[l.Entries[i].Path] = located{&l.Entries[i], -1}
	}
	return out
}

// CompareTrees compares the file systems of two images.
func CompareTrees(a, b *Tree) []FileChange { return compare(a.byPath, b.byPath) }

func compare(a, b map[string]located) []FileChange {
	var out []FileChange
	for name, old := range a {
		current, ok := b[name]
		if ok && (old.Type == removedType) != (current.Type == removedType) {
			kind := "removed"
			if old.Type == removedType {
				kind = "added"
			}
			out = append(out, FileChange{Path: name, Kind: kind, From: facts(old.Entry), To: facts(current.Entry),
				FromLayer: old.layer, ToLayer: current.layer})
		} else if !ok && old.Type == removedType {
			out = append(out, FileChange{Path: name, Kind: "added", From: facts(old.Entry), FromLayer: old.layer, ToLayer: -1})
		} else if !ok {
			out = append(out, FileChange{Path: name, Kind: "removed", From: facts(old.Entry), FromLayer: old.layer, ToLayer: -1})
		} else if changes := differences(old.Entry, current.Entry); len(changes) > 0 {
			out = append(out,
				FileChange{name, "changed", changes, facts(old.Entry), facts(current.Entry), old.layer, current.layer})
		}
	}
	for name, current := range b {
		if _, ok := a[name]; !ok {
			kind := "added"
			if current.Type == removedType {
				kind = "removed" // from a lower layer
			}
			out = append(out, FileChange{
				Path:      name,
				Kind:      kind,
				To:        facts(current.Entry),
				FromLayer: -1,
				ToLayer:   current.layer,
			})
		}
	}
	slices.SortFunc(out, func(x, y FileChange) int { return cmp.Compare(x.Path, y.Path) })
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
	add(!maps.Equal(a.Extra, b.Extra), "attributes")
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
