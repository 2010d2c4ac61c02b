package bundle

import (
	"fmt"
	"io"
	"sort"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/store"
)

// List returns the images of a bundle, sorted by name, from its index alone:
// nothing else is checked. stdin is read for path "-"; nil is os.Stdin.
func List(path string, stdin io.Reader) ([]store.Entry, error) {
	src, err := openSource(path, stdin)
	if err != nil {
		return nil, fmt.Errorf("listing bundle %s: %w", path, err)
	}
	defer src.close()
	entries, err := list(src)
	if err != nil {
		return nil, fmt.Errorf("listing bundle %s: %w", path, err)
	}
	return entries, nil
}

func list(src *source) ([]store.Entry, error) {
	var c checker
	for {
		m, err := c.next(src)
		if err == io.EOF {
			return nil, &FormatError{Detail: "it holds no " + ocispec.ImageIndexFile, Hint: "a bundle is what save writes"}
		}
		if err != nil {
			return nil, err
		}
		if m.name != ocispec.ImageIndexFile {
			continue
		}
		b, err := readSmall(src, m, maxIndex)
		if err != nil {
			return nil, err
		}
		index, err := parseIndex(b)
		if err != nil {
			return nil, err
		}
		entries := make([]store.Entry, 0, len(index.Manifests))
		for _, d := range index.Manifests {
			e := store.EntryOf(d)
			e.Name = fullName(d)
			entries = append(entries, e)
		}
		sort.SliceStable(entries, func(i, j int) bool { return entries[i].Name < entries[j].Name })
		return entries, nil
	}
}
