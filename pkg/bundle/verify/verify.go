// Package verify examines bundles: every file is read, every reference is followed, and everything that
// is damaged, missing or superfluous is reported, with the images that it affects.
//
// The package must not know the store: what a delta requires is not examined.
package verify

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/asynchash"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/bundle/reader"
)

// Options are the options of Bundle.
type Options struct {
	Parts     []string          // files of a bundle that was split, in any order; path is one of them
	EachPart  bool              // verify only the files, not the bundle that they contain
	VerifyKey ed25519.PublicKey // the signature must be from this key; nil accepts any or none
	Stdin     io.Reader         // for path "-"; nil is os.Stdin
	Progress  bundle.Progress
}

// Report is the result of Bundle.
type Report struct {
	Bundle   string   `json:"bundle"`
	OK       bool     `json:"ok"`       // the bundle can be loaded and has no problems
	Manifest bool     `json:"manifest"` // it has a manifest, without which names and tags are not protected
	Signed   string   `json:"signed"`   // "no", "unverified", or "verified" with the key that was given
	Images   []string `json:"images"`
	Blobs    int      `json:"blobs"`
	Bytes    int64    `json:"bytes"` // number of verified bytes
	// Required is the number of blobs and images that a delta leaves out. The content of
	// the other side is not examined.
	Required int          `json:"required,omitempty"`
	Parts    *PartsReport `json:"parts,omitempty"`
	Problems []Problem    `json:"problems"`
}

// PartsReport is the part of a Report about the files of a split bundle.
type PartsReport struct {
	Data     int      `json:"data"`   // parts that contain the bundle
	Parity   int      `json:"parity"` // parts from which others can be restored
	Good     []string `json:"good"`
	Problems []string `json:"problems"` // a line for each part that is missing or damaged
	Needed   int      `json:"needed"`   // how many more good parts are needed
	Restored bool     `json:"restored"` // parts are missing or damaged, and the others are sufficient
}

// The kinds of problems, as they are in JSON.
const (
	ProblemDamaged   = "damaged"   // the content does not have its digest
	ProblemMissing   = "missing"   // something refers to it
	ProblemExtra     = "extra"     // nothing refers to it
	ProblemInvalid   = "invalid"   // it violates the format
	ProblemSignature = "signature" // the signature is not from the key
)

// Problem is something wrong with a bundle.
type Problem struct {
	Kind   string   `json:"kind"`
	File   string   `json:"file,omitempty"` // within the bundle, "" if it is about the whole
	Role   string   `json:"role,omitempty"` // of a blob: "layer 3 of 7"
	Detail string   `json:"detail,omitempty"`
	Images []string `json:"images,omitempty"` // images that cannot be used because of it
}

// maxProblems bounds how many problems a report lists.
const maxProblems = 10_000

// Bundle reads a bundle and reports all problems. It returns an error if the bundle could not be
// examined, or if it has no file that a bundle can have.
func Bundle(ctx context.Context, path string, opts Options) (*Report, error) {
	v := &verifier{opts: opts, report: Report{Bundle: path, Signed: "no", Images: []string{}, Problems: []Problem{}}}
	err := v.verify(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("verifying %s: %w", path, err)
	}
	r := &v.report
	r.OK = len(r.Problems) == 0
	switch {
	case r.Parts == nil:
	case opts.EachPart:
		r.OK = r.OK && len(r.Parts.Problems) == 0
	default:
		r.OK = r.OK && r.Parts.Needed == 0
	}
	return r, nil
}

// verifier reads a bundle from front to back.
type verifier struct {
	opts   Options
	report Report

	doc       *bundle.Manifest
	raw       []byte          // of doc
	listed    map[string]bool // names of its files
	signature []byte
	images    []ocispec.Descriptor
	indexed   bool
	required  map[digest.Digest]bundle.Requirement
	graph     bundle.Graph
	sizes     map[string]int64         // of all files, by name
	sums      map[string]digest.Digest // of files that are not blobs, and of byte deltas
	stopped   bool                     // the rest could not be read
	refused   *bundle.FormatError      // why the first file was refused that cannot be in a bundle

	mu  sync.Mutex // guards sums and bad, which hashing goroutines set
	bad map[string]Problem
}

func (v *verifier) verify(ctx context.Context, path string) error {
	if len(v.opts.Parts) == 0 && path != "-" && parts.IsPart(path) {
		v.opts.Parts = []string{path}
	}
	if len(v.opts.Parts) > 0 {
		return v.parts(ctx)
	}
	src, err := reader.Open(ctx, path, v.opts.Stdin, v.opts.Progress)
	if err != nil {
		return err
	}
	defer src.Close()
	return v.source(ctx, src)
}

// source examines an open bundle.
func (v *verifier) source(ctx context.Context, src *reader.Source) error {
	v.reset()
	if err := v.read(ctx, src); err != nil {
		return err
	}
	if len(v.sizes) == 0 && v.report.Parts == nil { // it is not a bundle
		if v.refused != nil {
			return v.refused
		}
		return &bundle.FormatError{Detail: "it contains no " + ocispec.ImageIndexFile, Advice: bundle.AdviceNoBundle}
	}
	switch err := src.Finish(ctx); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && !v.stopped:
		v.problem(Problem{Kind: ProblemDamaged, Detail: err.Error()})
	}
	for _, name := range src.Extra {
		v.problem(Problem{Kind: ProblemExtra, File: name, Detail: "it does not belong to the bundle"})
	}
	return v.conclude(ctx)
}

// reset removes the results of an earlier pass.
func (v *verifier) reset() {
	*v = verifier{
		opts: v.opts,
		report: Report{
			Bundle: v.report.Bundle, Signed: "no", Images: []string{}, Problems: []Problem{}, Parts: v.report.Parts,
		},
		required: map[digest.Digest]bundle.Requirement{}, sizes: map[string]int64{}, sums: map[string]digest.Digest{},
		bad: map[string]Problem{},
	}
}

func (v *verifier) problem(p Problem) {
	if len(v.report.Problems) < maxProblems {
		v.report.Problems = append(v.report.Problems, p)
	}
}

// damaged records that the content of a file is wrong.
func (v *verifier) damaged(name string, p Problem) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.bad[name]; !known && len(v.bad) < maxProblems {
		p.File = name
		v.bad[name] = p
	}
}

// read reads all files and hashes their contents at the same time.
func (v *verifier) read(ctx context.Context, src *reader.Source) error {
	check := reader.Checker{LayoutOnly: true}
	var hashing sync.WaitGroup
	defer hashing.Wait()
	slots := make(chan struct{}, 2*runtime.GOMAXPROCS(0))
	buf := make([]byte, 1<<20)
	for invalid := 0; ; {
		m, err := check.Next(ctx, src)
		var fe *bundle.FormatError
		switch {
		case err == io.EOF:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &fe) && fe.Member != "" && invalid < maxProblems:
			v.problem(Problem{Kind: ProblemInvalid, File: fe.Member, Detail: fe.Detail})
			if v.refused == nil {
				v.refused = fe
			}
			invalid++
			continue
		case err != nil && len(v.sizes) == 0 && v.report.Parts == nil:
			return err // it is not a bundle
		case err != nil:
			v.stop(err)
			return nil
		}
		v.sizes[m.Name] = m.Size
		if m.Digest == "" {
			err = v.readSmall(src, m)
		} else {
			slots <- struct{}{}
			hashing.Add(1)
			err = v.blob(ctx, src, m, buf, func() { <-slots; hashing.Done() })
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			v.damaged(m.Name, Problem{Kind: ProblemDamaged, Detail: err.Error()})
			v.stop(err)
			return nil
		}
	}
}

// stop records that the rest of the bundle cannot be read.
func (v *verifier) stop(err error) {
	v.stopped = true
	var fe *bundle.FormatError
	detail := err.Error()
	if errors.As(err, &fe) {
		detail = (&bundle.FormatError{Detail: fe.Detail, Err: fe.Err}).Error()
	}
	v.problem(Problem{Kind: ProblemDamaged, Detail: "the rest cannot be read: " + detail})
}

// readSmall reads a file that is not a blob.
func (v *verifier) readSmall(src *reader.Source, m reader.Member) error {
	limit := int64(bundle.MaxIndex)
	switch m.Name {
	case ocispec.ImageLayoutFile, bundle.SignatureName:
		limit = bundle.MaxLayout
	case bundle.ManifestName:
		limit = bundle.MaxManifest
	}
	b, err := reader.ReadSmall(src, m, limit)
	if err != nil {
		return err
	}
	v.mu.Lock()
	v.sums[m.Name] = digest.FromBytes(b)
	v.mu.Unlock()
	v.report.Bytes += m.Size
	switch m.Name {
	case bundle.ManifestName:
		v.doc, err = bundle.ParseManifest(b)
		if v.raw, v.report.Manifest = b, err == nil; err == nil {
			v.listed = v.doc.Names()
			src.Expect(v.doc)
		}
	case bundle.SignatureName:
		v.signature = b
	case ocispec.ImageIndexFile:
		v.images, err = bundle.ParseIndex(b)
		v.indexed = err == nil
	case bundle.DeltaListName:
		if v.report.Blobs > 0 {
			v.problem(Problem{Kind: ProblemInvalid, File: m.Name, Detail: bundle.DetailLateDeltaList})
		}
		err = v.requirements(b)
	case ocispec.ImageLayoutFile:
		err = bundle.CheckLayout(b)
	}
	if err != nil {
		v.damaged(m.Name, Problem{Kind: ProblemDamaged, Detail: err.Error()})
	}
	return nil
}

func (v *verifier) requirements(b []byte) error {
	doc, err := bundle.ParseDeltaList(b)
	for _, r := range doc.Requires {
		v.required[r.Digest] = r
	}
	v.report.Required = len(v.required)
	return err
}

// blob reads a blob or a byte delta, and calls done when its hash is known.
func (v *verifier) blob(ctx context.Context, src *reader.Source, m reader.Member, buf []byte, done func()) error {
	algorithm := m.Digest.Algorithm()
	if m.Delta {
		algorithm = digest.Canonical
	}
	h := asynchash.New(algorithm.Hash())
	defer func() {
		go func() {
			defer done()
			got := digest.NewDigestFromBytes(algorithm, h.Sum())
			if m.Delta {
				v.mu.Lock()
				v.sums[m.Name] = got
				v.mu.Unlock()
			} else if got != m.Digest {
				v.damaged(m.Name, Problem{Kind: ProblemDamaged, Detail: "its content has digest " + got.String()})
			}
		}()
	}()
	var document []byte
	for n := int64(0); n < m.Size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		k, err := src.Files.Read(buf[:min(int64(len(buf)), m.Size-n)])
		h.Write(buf[:k])
		if n == 0 && k > 0 && buf[0] == '{' && m.Size <= bundle.MaxImageManifest && !m.Delta {
			document = make([]byte, 0, m.Size)
		}
		if document != nil {
			document = append(document, buf[:k]...)
		}
		n += int64(k)
		v.report.Bytes += int64(k)
		if err == nil || err == io.EOF && n == m.Size {
			continue
		}
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("it ends after %d of %d bytes", n, m.Size)
		}
		return err
	}
	v.report.Blobs++
	if document != nil {
		return v.graph.Add(m.Digest, document)
	}
	return nil
}
