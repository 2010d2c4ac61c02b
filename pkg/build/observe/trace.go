// Package observe wraps builders and uploaders to create trace spans and to measure the time
// in which neither is running. It must not know how images are built or uploaded.
package observe

import (
	"context"

	digest "github.com/opencontainers/go-digest"
	"go.opentelemetry.io/otel/attribute"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/trace"
)

// TracedBuilder makes a span of each image's build and of each of its steps. The
// builder's own spans are children of these, as it is called with their context.
type TracedBuilder struct{ build.Builder }

// Build implements build.Builder.
func (t TracedBuilder) Build(ctx context.Context, it *plan.Item, emit func(build.Event)) (build.Output, error) {
	id := attribute.String("kolla.image", it.Image.String())
	ctx, span := trace.Start(ctx, "build "+it.Image.String(), id,
		attribute.String("kolla.reference", it.Reference), attribute.String("kolla.reason", it.Reason))
	out, err := t.Builder.Build(ctx, it, func(e build.Event) {
		if e.Kind == build.EventStepEnd && !e.Step.Cached {
			trace.Record(ctx, e.Step.Name, e.Time.Add(-e.Step.Duration), e.Step.Duration, e.Step.Err, id)
		}
		emit(e)
	})
	span.Set(attribute.String("kolla.digest", out.Digest.String()), attribute.Int64("kolla.size", out.Size))
	span.End(err)
	return out, err
}

// TracedUploader makes a span of each image's upload.
type TracedUploader struct{ build.Uploader }

// Upload implements build.Uploader.
func (t TracedUploader) Upload(ctx context.Context, it *plan.Item, d digest.Digest) error {
	ctx, span := trace.Start(ctx, "push "+it.Image.String(), attribute.String("kolla.image", it.Image.String()),
		attribute.String("kolla.digest", d.String()))
	err := t.Uploader.Upload(ctx, it, d)
	span.End(err)
	return err
}
