package imagearchive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/pkg/compress"
)

// Docker before 1.10 has no manifest.json. Each layer is a directory ID with its own
// json, which names its parent; the file repositories gives names to layers.

// v1Layer is the description of a layer in its json.
type v1Layer struct {
	ID              string
	Parent          string
	Created         *time.Time
	Author          string
	Comment         string
	ContainerConfig struct{ Cmd []string } `json:"container_config"`
}

// v1Images returns the images of an archive without manifest.json.
func (a *Archive) v1Images(ctx context.Context) ([]Image, error) {
	names, err := a.repositories()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		if names, err = a.v1Heads(); err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		return nil, &Error{Detail: fmt.Sprintf("it contains neither %s nor %s", ManifestFile, RepositoriesFile)}
	}
	var out []Image
	for _, id := range slices.Sorted(maps.Keys(names)) {
		img := Image{Names: names[id]}
		slices.Sort(img.Names)
		if a.st != nil {
			if img.Digest, err = a.storeV1(ctx, id); err != nil {
				return nil, &Error{Detail: describeImage(img.Names, len(out)+1), Err: err}
			}
		}
		out = append(out, img)
	}
	return out, nil
}

// repositories returns the names in the file repositories, by layer.
func (a *Archive) repositories() (map[string][]string, error) {
	f, err := a.find(RepositoriesFile)
	if err != nil {
		return nil, nil
	}
	var repositories map[string]map[string]string
	if err := json.Unmarshal(f.data, &repositories); err != nil {
		return nil, &Error{Member: RepositoriesFile, Detail: "not a list of images", Err: err}
	}
	names := map[string][]string{}
	n := 0
	for repository, tags := range repositories {
		for tag, id := range tags {
			if n++; n > maxImages {
				return nil, &Error{Member: RepositoriesFile, Detail: fmt.Sprintf("more than %d images", maxImages)}
			}
			names[id] = append(names[id], repository+":"+tag)
		}
	}
	return names, nil
}

// v1Heads returns the layers that are not a parent of another layer: the images of an
// archive that were saved by their IDs.
func (a *Archive) v1Heads() (map[string][]string, error) {
	heads, parents := map[string][]string{}, map[string]bool{}
	for name := range a.files {
		id, ok := strings.CutSuffix(name, "/json")
		if !ok {
			continue
		}
		l, _, err := a.v1Layer(id)
		if err != nil {
			return nil, &Error{Member: name, Detail: err.Error()}
		}
		heads[id], parents[l.Parent] = nil, true
	}
	for id := range parents {
		delete(heads, id)
	}
	return heads, nil
}

// v1Layer returns the description of a layer, and the json that has it.
func (a *Archive) v1Layer(id string) (v1Layer, []byte, error) {
	f, err := a.find(path.Join(id, "json"))
	switch {
	case err != nil:
		return v1Layer{}, nil, err
	case f.layer != nil:
		return v1Layer{}, nil, errors.New("it is a tar")
	}
	var l v1Layer
	if err := json.Unmarshal(f.data, &l); err != nil {
		return v1Layer{}, nil, fmt.Errorf("not a description of a layer: %w", err)
	}
	return l, f.data, nil
}

// storeV1 stores the image whose last layer is id.
func (a *Archive) storeV1(ctx context.Context, id string) (digest.Digest, error) {
	var layers []compress.Layer
	var history []v1History
	var top []byte
	seen := map[string]bool{}
	for next := id; next != ""; {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if seen[next] {
			return "", fmt.Errorf("layer %q is its own ancestor", next)
		}
		if seen[next] = true; len(seen) > ocijson.MaxLayers {
			return "", fmt.Errorf("more than %d layers", ocijson.MaxLayers)
		}
		v1, raw, err := a.v1Layer(next)
		if err != nil {
			return "", fmt.Errorf("file %q: %w", path.Join(next, "json"), err)
		}
		file := path.Join(next, "layer.tar")
		l, err := a.layer(file)
		if err != nil {
			return "", fmt.Errorf("file %q: %w", file, err)
		}
		if top == nil {
			top = raw
		}
		layers = append(layers, l)
		history = append(history, v1History{Created: v1.Created, Author: v1.Author, Comment: v1.Comment,
			CreatedBy: strings.Join(v1.ContainerConfig.Cmd, " ")})
		next = v1.Parent
	}
	slices.Reverse(layers)
	slices.Reverse(history)
	config, err := v1Config(top, layers, history)
	if err != nil {
		return "", err
	}
	return a.storeManifest(ctx, config, layers)
}

// v1History is an entry of a config's history, in the order of Docker's fields.
type v1History struct {
	Created   *time.Time `json:"created,omitempty"`
	Author    string     `json:"author,omitempty"`
	CreatedBy string     `json:"created_by,omitempty"`
	Comment   string     `json:"comment,omitempty"`
}

// v1Config makes the config of an image from the json of its last layer, as Docker 1.10
// and later does when it loads such an archive: it removes the fields of the layer and
// adds the list of layers.
func v1Config(top []byte, layers []compress.Layer, history []v1History) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(top, &fields); err != nil {
		return nil, err
	}
	for _, name := range []string{"id", "parent", "Size", "parent_id", "layer_id", "throwaway"} {
		delete(fields, name)
	}
	defaults := map[string]string{"os": `"linux"`, "architecture": `"amd64"`} // of the oldest versions
	for name, value := range defaults {
		if _, ok := fields[name]; !ok {
			fields[name] = json.RawMessage(value)
		}
	}
	diffIDs := make([]digest.Digest, len(layers))
	for i, l := range layers {
		diffIDs[i] = l.DiffID
	}
	var err error
	if fields["rootfs"], err = json.Marshal(map[string]any{"type": "layers", "diff_ids": diffIDs}); err != nil {
		return nil, err
	}
	if fields["history"], err = json.Marshal(history); err != nil {
		return nil, err
	}
	config, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	if _, err := ocijson.ParseConfig(config); err != nil {
		return nil, fmt.Errorf("its json: %w", err)
	}
	return config, nil
}
