package save

import (
	"crypto/ed25519"
	"encoding/json"
	"time"

	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// manifest returns the manifest of a planned bundle.
func (p *plan) manifest(opts Options, files []bundle.File) ([]byte, error) {
	m := bundle.Manifest{Version: bundle.ManifestVersion, Tool: opts.Tool, Configuration: opts.Configuration,
		Images: []bundle.ManifestImage{}}
	for _, e := range p.entries {
		image := bundle.ManifestImage{
			Name: e.Name, Digest: e.Digest, Size: e.Size, Platforms: p.platforms[e.Name],
			Key: e.Key, Kind: e.Kind, Origin: e.Origin,
		}
		if e.Kind == store.KindLoaded {
			image.Kind = ""
		}
		if !e.Created.IsZero() {
			image.Created = e.Created.UTC().Format(time.RFC3339Nano)
		}
		m.Images = append(m.Images, image)
	}
	for _, f := range files {
		mf := bundle.ManifestFile{Name: f.Name, Size: f.Size}
		if _, ok := bundle.BlobDigest(f.Name); !ok {
			mf.Digest = f.Digest
		}
		m.Files = append(m.Files, mf)
	}
	b, err := json.Marshal(m)
	return bundle.Seal(b), err
}

// sign signs a manifest. Without a key it returns nil.
func sign(manifest []byte, key ed25519.PrivateKey) []byte {
	if key == nil {
		return nil
	}
	return ed25519.Sign(key, manifest)
}
