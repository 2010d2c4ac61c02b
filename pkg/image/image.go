// Package image owns the identity of an image within a run, which every stage from
// planning to reporting uses. It must not know references, registries or how images are
// built.
package image

import (
	"cmp"
	"strings"
)

// ID identifies an image of a run: the template it is built from and, in runs
// for several platforms, the platform it is built for. The zero ID is not an image.
type ID struct {
	Name     string // name of the template's directory, such as "nova-api"
	Platform string // such as "linux/arm64" or "linux/arm/v7"; "" in runs for a single platform
}

// String returns the name in messages and report files: "nova-api", or "nova-api@arm64"
// in runs for several platforms.
func (id ID) String() string {
	if id.Platform == "" {
		return id.Name
	}
	return id.Name + "@" + strings.ReplaceAll(strings.TrimPrefix(id.Platform, "linux/"), "/", "-")
}

// parse is the inverse of ID.String. Names of images contain no "@".
func parse(text string) ID {
	name, platform, found := strings.Cut(text, "@")
	if !found {
		return ID{Name: name}
	}
	return ID{Name: name, Platform: "linux/" + strings.ReplaceAll(platform, "-", "/")}
}

// IsZero reports whether id is not an image.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders IDs by name, then platform.
func Compare(a, b ID) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Platform, b.Platform))
}

// Strings returns the String of each ID.
func Strings(ids []ID) []string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	return names
}

// MarshalText implements encoding.TextMarshaler with String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with Parse.
func (id *ID) UnmarshalText(text []byte) error {
	*id = parse(string(text))
	return nil
}
