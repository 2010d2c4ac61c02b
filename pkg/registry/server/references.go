package server

import (
	"fmt"
	"net/http"
	"net/url"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// foreignLayer is the media type of Docker's layers that are downloaded from another place.
const foreignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

// check finds references that cannot be valid. The distribution answers some of them with
// status 500, because it does not recognize the errors of the libraries that it calls.
func (m manifest) check() *problem {
	lists := [][]ocispec.Descriptor{m.Layers, m.Manifests}
	for _, d := range []*ocispec.Descriptor{m.Config, m.Subject} {
		if d != nil {
			lists = append(lists, []ocispec.Descriptor{*d})
		}
	}
	for _, list := range lists {
		for _, d := range list {
			if p := checkReference(d); p != nil {
				return p
			}
		}
	}
	return nil
}

func checkReference(d ocispec.Descriptor) *problem {
	if err := d.Digest.Validate(); err != nil {
		return &problem{http.StatusBadRequest, "DIGEST_INVALID",
			fmt.Sprintf("the manifest refers to %.100q: %v", d.Digest, err)}
	}
	if d.MediaType == foreignLayer && len(d.URLs) == 0 {
		return &problem{http.StatusBadRequest, "MANIFEST_INVALID", fmt.Sprintf("the foreign layer %s has no URL", d.Digest)}
	}
	for _, address := range d.URLs {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Fragment != "" {
			return &problem{http.StatusBadRequest, "MANIFEST_INVALID",
				fmt.Sprintf("%s has the URL %.100q: expected http or https", d.Digest, address)}
		}
	}
	return nil
}
