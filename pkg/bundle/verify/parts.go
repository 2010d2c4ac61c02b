package verify

import (
	"context"
	"io"

	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/bundle/reader"
)

// parts examines a split bundle: each part, and the bundle that they contain.
func (v *verifier) parts(ctx context.Context) error {
	open := parts.Open
	if v.opts.EachPart {
		open = parts.OpenThese
	}
	set, err := open(v.opts.Parts...)
	if err != nil {
		return err
	}
	return v.set(ctx, set)
}

// set examines the parts of a set.
func (v *verifier) set(ctx context.Context, set *parts.Set) error {
	set.Progress = v.opts.Progress
	defer func() {
		if v.report.Parts = partsReport(set); v.opts.EachPart {
			v.report.Parts.Needed = 0
		}
	}()
	v.report.Parts = partsReport(set) // the parts have been recognized
	if v.opts.EachPart {
		if _ = set.Verify(ctx); ctx.Err() != nil { // the problems are in the report
			return context.Cause(ctx)
		}
		if err := set.Consistent(); err != nil {
			v.problem(Problem{Kind: ProblemInvalid, Detail: err.Error()})
		}
		return nil
	}
	// One reading is enough if all data parts exist and are undamaged.
	if len(set.Lost()) == 0 {
		if err := v.stream(ctx, set, set.Scan(ctx)); ctx.Err() != nil || len(set.Lost()) == 0 {
			return err
		}
		// Parts that could not be read are in the report, and may be the cause of the error.
	} else if err := set.Verify(ctx); ctx.Err() != nil {
		return err
	}
	if set.Needed() == 0 {
		// The bundle with restored parts.
		r, err := set.Reader(ctx)
		if err != nil {
			return err
		}
		return v.stream(ctx, set, r)
	}
	return v.beginning(ctx, set)
}

func (v *verifier) stream(ctx context.Context, set *parts.Set, r io.ReadCloser) error {
	src, err := reader.FromParts(set, r)
	if err != nil {
		return err
	}
	defer src.Close()
	return v.source(ctx, src)
}

// beginning examines the readable part of a set with too few parts. The manifest, which is
// in the first part, shows which files are lost.
func (v *verifier) beginning(ctx context.Context, set *parts.Set) error {
	v.reset()
	src, err := reader.FromParts(set, set.Scan(ctx))
	if err != nil {
		return nil //nolint:nilerr // the report has the lost first part
	}
	defer src.Close()
	if err := v.read(ctx, src); err != nil {
		return err
	}
	v.report.Problems = []Problem{} // these problems follow from the lost parts
	if v.doc == nil {
		return nil
	}
	offset, err := bundle.ContentOffset(v.doc, int64(len(v.raw)), int64(len(v.signature)))
	if err != nil {
		return err
	}
	clear(v.bad)
	for _, f := range v.doc.Files {
		start := offset[f.Name]
		for _, lost := range set.Lost() {
			if start < lost[1] && start+f.Size > lost[0] {
				v.damaged(f.Name, Problem{Kind: ProblemMissing, Detail: "it is in a part that is missing or damaged"})
			}
		}
	}
	v.report.Images = v.names()
	v.checkSignature()
	return v.attribute(ctx)
}

func partsReport(set *parts.Set) *PartsReport {
	r := &PartsReport{Good: []string{}, Problems: set.Problems(), Needed: set.Needed()}
	r.Data, r.Parity = set.Counts()
	for _, p := range set.Parts() {
		if p.Err == nil {
			r.Good = append(r.Good, p.File)
		}
	}
	if r.Problems == nil {
		r.Problems = []string{}
	}
	r.Restored = len(r.Problems) > 0 && r.Needed == 0 && len(set.Lost()) > 0
	return r
}
