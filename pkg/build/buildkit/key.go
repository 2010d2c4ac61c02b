package buildkit

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/moby/buildkit/client/llb"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	digest "github.com/opencontainers/go-digest"
)

// key returns the digest over everything that determines an image's content: the LLB,
// whose head digest is a Merkle root over parents, commands and context files, and the
// image config without the fields that contain only the time of the build. It also returns that
// config.
func (c *Converter) key(def *llb.Definition,
	img *dockerspec.DockerOCIImage) (key digest.Digest, config []byte, err error) {
	var head digest.Digest
	if len(def.Def) > 0 {
		if head, err = def.Head(); err != nil {
			return "", nil, err
		}
	}
	clean := *img
	clean.Created = nil
	clean.History = nil // it repeats the commands, including the values of LABEL
	clean.Config.Labels = maps.Clone(img.Config.Labels)
	for _, l := range c.opts.VolatileLabels {
		delete(clean.Config.Labels, l)
	}
	// The JSON of the whole config is what children inherit: ONBUILD and
	// HEALTHCHECK are part of it.
	if config, err = json.Marshal(clean); err != nil {
		return "", nil, err
	}
	h := digest.Canonical.Digester()
	fmt.Fprintf(h.Hash(), "kolla-build image key 1\n%s\n%s\n", head, config)
	return h.Digest(), config, nil
}

// settings returns a digest of everything except files that determines an image.
func (c *Converter) settings(d Dockerfile) digest.Digest {
	labels := maps.Clone(d.Labels)
	for _, l := range c.opts.VolatileLabels {
		delete(labels, l)
	}
	// fmt prints maps in the order of their keys.
	return digest.FromString(fmt.Sprint(c.opts.Platform, c.opts.BuildArgs, c.opts.Network, labels))
}
