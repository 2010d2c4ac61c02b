package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// conclude compares the files that were read with the manifest and the index.
func (v *verifier) conclude(ctx context.Context) error {
	for _, name := range []string{ocispec.ImageLayoutFile, ocispec.ImageIndexFile} {
		if _, ok := v.sizes[name]; !ok && !v.listed[name] {
			v.problem(Problem{Kind: ProblemMissing, File: name, Detail: "every bundle has it"})
		}
	}
	v.report.Images = v.names()
	v.checkSignature()
	v.compareManifest()
	if err := v.compareImages(ctx); err != nil {
		return err
	}
	if err := v.attribute(ctx); err != nil {
		return err
	}
	slices.SortStableFunc(v.report.Problems, func(a, b Problem) int { return strings.Compare(a.File, b.File) })
	return nil
}

// names returns the names of the images from the manifest, which has a digest of its
// own, else from the index.
func (v *verifier) names() []string {
	names := []string{}
	if v.doc != nil {
		for _, image := range v.doc.Images {
			names = append(names, image.Name)
		}
		return names
	}
	for _, d := range v.images {
		names = append(names, bundle.ImageName(d))
	}
	return names
}

func (v *verifier) checkSignature() {
	if v.signature != nil {
		v.report.Signed = "unverified"
	}
	var err error
	switch {
	case v.opts.VerifyKey == nil:
	case v.signature == nil || v.doc == nil:
		err = &bundle.SignatureError{Detail: "it is not signed", Unsigned: true}
	default:
		if err = bundle.CheckSignature(v.raw, v.signature, v.opts.VerifyKey); err == nil {
			v.report.Signed = "verified"
		}
	}
	if err != nil {
		v.problem(Problem{Kind: ProblemSignature, Detail: err.Error()})
	}
}

// compareManifest compares the files with the manifest.
func (v *verifier) compareManifest() {
	if v.doc == nil {
		for name := range v.sums {
			if strings.HasPrefix(name, bundle.DeltaDir+"/") {
				v.damaged(name,
					Problem{Kind: ProblemInvalid, Detail: "a byte delta cannot be verified without " + bundle.ManifestName})
			}
		}
		return
	}
	for _, f := range v.doc.Files {
		size, found := v.sizes[f.Name]
		sum, hashed := v.sums[f.Name]
		switch {
		case !found:
			v.bad[f.Name] = Problem{Kind: ProblemMissing, File: f.Name, Detail: bundle.ManifestName + " lists it"}
		case size != f.Size:
			v.damaged(f.Name, Problem{Kind: ProblemDamaged,
				Detail: fmt.Sprintf("it has %d bytes, and %d by %s", size, f.Size, bundle.ManifestName)})
		case hashed && sum != f.Sum():
			v.damaged(f.Name, Problem{Kind: ProblemDamaged, Detail: "its content has digest " + sum.String()})
		}
	}
	for name := range v.sizes {
		if !v.listed[name] && name != bundle.ManifestName && name != bundle.SignatureName {
			v.problem(Problem{Kind: ProblemExtra, File: name, Detail: bundle.ManifestName + " does not list it"})
		}
	}
	if _, damaged := v.bad[ocispec.ImageIndexFile]; !damaged && v.indexed {
		if !v.doc.SameImages(v.images) {
			v.problem(Problem{Kind: ProblemInvalid, File: ocispec.ImageIndexFile,
				Detail: "its images are not those of " + bundle.ManifestName})
		}
	}
}

// compareImages walks over the images of the index: every blob must exist with its size,
// and there must be no others.
func (v *verifier) compareImages(ctx context.Context) error {
	if !v.indexed {
		return nil
	}
	if len(v.images) == 0 {
		v.problem(Problem{Kind: ProblemInvalid, File: ocispec.ImageIndexFile, Detail: "it contains no image"})
	}
	v.checkNames()
	used := map[string]bool{}
	complete := !v.stopped
	for _, layer := range v.distinct() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		known, err := v.graph.Walk(bundle.ReferenceTo(layer), func(r bundle.Reference) {
			name := bundle.BlobPath(r.Digest)
			used[name] = true
			size, found := v.sizes[name]
			if delta := bundle.DeltaPath(r.Digest); !found {
				if _, found = v.sizes[delta]; found {
					used[delta], size = true, r.Size
				}
			}
			_, required := v.required[r.Digest]
			switch {
			case !found && required:
			case !found && !v.listed[name]:
				v.damaged(name, Problem{Kind: ProblemMissing, Detail: "a manifest refers to it"})
			case found && size != r.Size:
				v.damaged(name, Problem{Kind: ProblemDamaged,
					Detail: fmt.Sprintf("it has %d bytes, and %d by its descriptor", size, r.Size)})
			case found && r.Role.Kind == "config" && size > bundle.MaxImageManifest:
				v.damaged(name, Problem{Kind: ProblemInvalid, Detail: "larger than a config can be"})
			case found && r.Role.Kind == "manifest" && v.graph.Documents[r.Digest] == nil:
				v.damaged(name, Problem{Kind: ProblemInvalid, Detail: "not a manifest"})
			}
		})
		if err != nil {
			v.damaged(bundle.BlobPath(layer.Digest), Problem{Kind: ProblemInvalid, Detail: err.Error()})
		}
		complete = complete && err == nil && (known || v.required[layer.Digest].Manifest)
	}
	for name := range v.sizes {
		isBlob := strings.Contains(name, "/")
		if isBlob && !used[name] && complete && (v.doc == nil || v.listed[name]) {
			v.problem(Problem{Kind: ProblemExtra, File: name, Detail: "no image refers to it"})
		}
	}
	return nil
}

// checkNames finds invalid names, and names that several images have.
func (v *verifier) checkNames() {
	first := map[string]digest.Digest{}
	for _, d := range v.images {
		name := bundle.ImageName(d)
		if name == "" || !strings.ContainsAny(name, "/:") {
			continue // load --name gives it a name
		}
		ref, err := imageref.ParseTag(name)
		if err != nil {
			v.problem(Problem{Kind: ProblemInvalid, File: ocispec.ImageIndexFile, Detail: err.Error(), Images: []string{name}})
			continue
		}
		if other, ok := first[ref.Familiar()]; ok && other != d.Digest {
			v.problem(Problem{Kind: ProblemInvalid, File: ocispec.ImageIndexFile,
				Detail: "several images have this name", Images: []string{name}})
		}
		first[ref.Familiar()] = d.Digest
	}
}
