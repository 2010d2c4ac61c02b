package pipeline

import (
	"context"

	"go.opentelemetry.io/otel/attribute"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/trace"
)

// startTrace starts the trace of a run, if the environment names a collector. The
// caller must call end.
func startTrace(ctx context.Context, cfg *config.Config, c *console.Console) (_ context.Context,
	exporter *trace.Exporter, end func(error)) {
	exporter = trace.Open(ctx, trace.Options{
		Getenv:  c.Getenv,
		Version: c.Version,
		Warn:    func(text string) { c.Notice("warning: %s", text) },
	})
	ctx, span := exporter.Start(ctx, c.Getenv, "kolla-build",
		attribute.String("kolla.base", cfg.Base), attribute.String("kolla.install_type", cfg.InstallType),
		attribute.String("kolla.tag", cfg.Tag), attribute.Int("kolla.threads", cfg.Threads))
	return ctx, exporter, func(err error) {
		span.End(err)
		exporter.Close()
	}
}
