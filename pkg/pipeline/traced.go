package pipeline

import (
	"context"

	digest "github.com/opencontainers/go-digest"
	"go.opentelemetry.io/otel/attribute"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/trace"
)

// startTrace starts the trace of a run, if the environment names a collector. The
// caller must call end.
func startTrace(ctx context.Context, cfg *config.Config, c *console.Console) (_ context.Context, exporter *trace.Exporter, end func(error)) {
	exporter = trace.Open(ctx, trace.Options{Getenv: c.Getenv, Version: c.Version, Warn: func(text string) { c.Notice("warning: %s", text) }})
	ctx, span := exporter.Start(ctx, c.Getenv, "kolla-build",
		attribute.String("kolla.base", cfg.Base), attribute.String("kolla.install_type", cfg.InstallType),
		attribute.String("kolla.tag", cfg.Tag), attribute.Int("kolla.threads", cfg.Threads))
	return ctx, exporter, func(err error) {
		span.End(err)
		exporter.Close()
	}
}

// tracedBuilder makes a span of each image's build and of each of its steps. The
// builder's own spans are children of these, as it is called with their context.
type tracedBuilder struct{ build.Builder }

// Build implements build.Builder.
func (t tracedBuilder) Build(ctx context.Context, it *plan.Item, emit func(build.Event)) (build.Output, error) {
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

// tracedUploader makes a span of each image's upload.
type tracedUploader struct{ build.Uploader }

// Upload implements build.Uploader.
func (t tracedUploader) Upload(ctx context.Context, it *plan.Item, d digest.Digest) error {
	ctx, span := trace.Start(ctx, "push "+it.Image.String(), attribute.String("kolla.image", it.Image.String()), attribute.String("kolla.digest", d.String()))
	err := t.Uploader.Upload(ctx, it, d)
	span.End(err)
	return err
}
