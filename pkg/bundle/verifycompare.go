package bundle

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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
		names = append(names, fullName(d))
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
		err = &SignatureError{Detail: "it is not signed", Unsigned: true}
	default:
		if err = checkSignature(v.raw, v.signature, v.opts.VerifyKey); err == nil {
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
			if strings.HasPrefix(name, deltaDir+"/") {
				v.damaged(name, Problem{Kind: ProblemInvalid, Detail: "a byte delta cannot be verified without " + manifestFile})
			}
		}
		return
	}
	for _, f := range v.doc.Files {
		size, found := v.sizes[f.Name]
		sum, hashed := v.sums[f.Name]
		switch {
		case !found:
			v.bad[f.Name] = Problem{Kind: ProblemMissing, File: f.Name, Detail: manifestFile + " lists it"}
		case size != f.Size:
			v.damaged(f.Name, Problem{Kind: ProblemDamaged,
				Detail: fmt.Sprintf("it has %d bytes, and %d by %s", size, f.Size, manifestFile)})
		case hashed && sum != f.sum():
			v.damaged(f.Name, Problem{Kind: ProblemDamaged, Detail: "its content has digest " + sum.String()})
		}
	}
	for name := range v.sizes {
		if !v.listed[name] && name != manifestFile && name != signatureFile {
			v.problem(Problem{Kind: ProblemExtra, File: name, Detail: manifestFile + " does not list it"})
		}
	}
	if _, damaged := v.bad[ocispec.ImageIndexFile]; !damaged && v.indexed {
		check := manifestCheck{doc: v.doc}
		if err := check.images(v.images); err != nil {
			v.problem(Problem{Kind: ProblemInvalid, File: ocispec.ImageIndexFile,
				Detail: "its images are not those of " + manifestFile})
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
		known, err := v.graph.walk(root(layer), func(r reference) {
			name := blobName(r.digest)
			used[name] = true
			size, found := v.sizes[name]
			if delta := deltaName(r.digest); !found {
				if _, found = v.sizes[delta]; found {
					used[delta], size = true, r.size
				}
			}
			_, required := v.required[r.digest]
			switch {
			case !found && required:
			case !found && !v.listed[name]:
				v.damaged(name, Problem{Kind: ProblemMissing, Detail: "a manifest refers to it"})
			case found && size != r.size:
				v.damaged(name, Problem{Kind: ProblemDamaged,
					Detail: fmt.Sprintf("it has %d bytes, and %d by its descriptor", size, r.size)})
			case found && r.role.kind == "config" && size > maxManifest:
				v.damaged(name, Problem{Kind: ProblemInvalid, Detail: "larger than a config can be"})
			case found && r.role.kind == "manifest" && v.graph.documents[r.digest] == nil:
				v.damaged(name, Problem{Kind: ProblemInvalid, Detail: "not a manifest"})
			}
		})
		if err != nil {
			v.damaged(blobName(layer.Digest), Problem{Kind: ProblemInvalid, Detail: err.Error()})
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
		name := fullName(d)
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
