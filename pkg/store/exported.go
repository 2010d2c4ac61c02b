package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/pkg/compress"
)

// exportedDir has the manifest and config that a stored image had when its builder
// exported it, by the digest of its stored manifest. A child that is built on these
// uses the snapshots of the builder; on the stored form, whose layers have other file
// times, the builder would have to unpack the layers. The layers themselves are not
// stored here. The directory is only an optimization.
const exportedDir = "exported"

// maxExported is the size that such a file may have, in bytes.
const maxExported = 16 << 20

// Exported is an image as its builder exported it.
type Exported struct {
	Digest digest.Digest                    // of its manifest
	Layers map[digest.Digest]compress.Layer // the stored form of those layers that differ from it, by diff ID
}

// exportedFile is the form on disk. The documents keep their bytes.
type exportedFile struct {
	Manifest []byte `json:"manifest"`
	Config   []byte `json:"config"`
}

func (s *Store) exportedPath(stored digest.Digest) string {
	return filepath.Join(s.dir, exportedDir, stored.Encoded()+".json")
}

// Remember records the exported form of an image in the staging area, for later builds
// of children without this staging area.
func (g *Staging) Remember(stored, exported digest.Digest) error {
	if stored == exported {
		return nil
	}
	f, err := g.exportedFile(exported)
	if err == nil {
		var b []byte
		if b, err = json.Marshal(f); err == nil {
			if err = atomicfile.MkdirAll(filepath.Join(g.main.dir, exportedDir), 0o755); err == nil {
				err = g.main.replace(g.main.exportedPath(stored), b)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("recording the exported form of %s: %w", stored, err)
	}
	return nil
}

func (g *Staging) exportedFile(d digest.Digest) (f exportedFile, err error) {
	if f.Manifest, err = g.readSmall(d, "manifest"); err != nil {
		return f, err
	}
	var m ocispec.Manifest
	if err = json.Unmarshal(f.Manifest, &m); err != nil {
		return f, err
	}
	f.Config, err = g.readSmall(m.Config.Digest, "config")
	return f, err
}

// Recall returns the exported form of a stored image, and puts its manifest and config
// into the staging area. Its layers are absent there, because a builder that has their
// snapshots does not read them. It returns false if the form is unknown or was useless
// before.
func (g *Staging) Recall(ctx context.Context, stored digest.Digest) (Exported, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.useless[stored] {
		return Exported{}, false
	}
	f, exp, err := g.main.exportedForm(stored)
	if err != nil {
		return Exported{}, false
	}
	for _, doc := range [][]byte{f.Manifest, f.Config} {
		if _, _, err := g.local.WriteBlob(ctx, bytes.NewReader(doc), "", -1); err != nil {
			return Exported{}, false
		}
	}
	for d := range exp.Layers {
		g.absent[d] = stored
	}
	return exp, true
}

// exportedForm reads the file of an image and compares it with the stored form.
func (s *Store) exportedForm(stored digest.Digest) (f exportedFile, exp Exported, err error) {
	st, err := os.Stat(s.exportedPath(stored))
	if err != nil {
		return f, exp, err
	}
	if st.Size() > maxExported {
		return f, exp, fmt.Errorf("%s has %d bytes", s.exportedPath(stored), st.Size())
	}
	b, err := inputfile.ReadRegular(s.exportedPath(stored), maxExported)
	if err != nil {
		return f, exp, err
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, exp, err
	}
	raw, err := s.readSmall(stored, "manifest")
	if err != nil {
		return f, exp, err
	}
	oldLayers, oldIDs, err := layersOf(f.Manifest, func(digest.Digest) ([]byte, error) { return f.Config, nil })
	if err != nil {
		return f, exp, err
	}
	newLayers, newIDs, err := layersOf(raw, func(d digest.Digest) ([]byte, error) { return s.readSmall(d, "config") })
	if err != nil {
		return f, exp, err
	}
	if len(oldLayers) != len(newLayers) {
		return f, exp, fmt.Errorf("it was exported with %d layers and is stored with %d", len(oldLayers), len(newLayers))
	}
	exp = Exported{Digest: digest.FromBytes(f.Manifest), Layers: map[digest.Digest]compress.Layer{}}
	for i, l := range oldLayers {
		switch {
		case l.Digest == newLayers[i].Digest:
		case l.Digest != oldIDs[i]:
			return f, exp, errors.New("a layer was exported compressed")
		default:
			exp.Layers[l.Digest] = compress.Layer{Descriptor: newLayers[i], DiffID: newIDs[i]}
		}
	}
	return f, exp, nil
}

// layersOf returns the layers of an image and their diff IDs.
func layersOf(manifest []byte, config func(digest.Digest) ([]byte, error)) (
	[]ocispec.Descriptor, []digest.Digest, error) {
	var m ocispec.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		return nil, nil, err
	}
	raw, err := config(m.Config.Digest)
	if err != nil {
		return nil, nil, err
	}
	var c ocispec.Image
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, nil, err
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, nil, fmt.Errorf("%d layers, but %d diff IDs", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	return m.Layers, c.RootFS.DiffIDs, nil
}

// Requested reports whether the builder asked for an absent layer of an image, and
// so cannot use its exported form. Recall does not return that form again.
func (g *Staging) Requested(stored digest.Digest) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.useless[stored]
}

// request notes that a layer is read that may be absent.
func (g *Staging) request(d digest.Digest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if stored, ok := g.absent[d]; ok && !g.local.HasBlob(d, -1) {
		g.useless[stored] = true
	}
}

func (g *Staging) isAbsent(d digest.Digest) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.absent[d]
	return ok
}

// forgetExported removes the files of images that the store no longer has.
func (s *Store) forgetExported() error {
	files, err := os.ReadDir(filepath.Join(s.dir, exportedDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		hex, ok := strings.CutSuffix(f.Name(), ".json")
		if ok && s.HasBlob(digest.NewDigestFromEncoded(digest.SHA256, hex), -1) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.dir, exportedDir, f.Name())); err != nil {
			return err
		}
	}
	return nil
}
