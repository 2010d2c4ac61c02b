// Package trace sends the spans of a run to an OpenTelemetry collector, if the
// environment names one.
//
// It owns the settings (the OTEL_ variables that OpenTelemetry specifies) and the
// exporter, and must not know images, builders or events. Code that creates spans
// takes the tracer from the context, as Start does; without a collector that is
// the no-op tracer, which costs nothing.
//
// A collector that is down, slow or misconfigured must not affect a run: spans
// wait in a bounded queue and are dropped when it is full, they are sent in the
// background, the end of a run waits a few seconds at most, and the first error is
// reported once.
package trace

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// scopeName is the instrumentation scope of our spans.
const scopeName = "github.com/kolla-build/kolla-build"

// flushTime is the longest time that the end of a run waits for a collector.
const flushTime = 5 * time.Second

// Options are the settings of Open.
type Options struct {
	// Getenv returns environment variables. The exporters read other settings from the
	// process's own environment: headers, certificates, compression, timeouts.
	Getenv func(string) string

	Version string            // of this program, in the spans' resource
	Warn    func(text string) // called once if spans cannot be sent; may be nil
}

// Exporter sends spans. A nil Exporter sends none.
type Exporter struct {
	provider *sdk.TracerProvider
	protocol string
	warn     func(string)
	once     sync.Once
}

// Protocols of OTLP as OTEL_EXPORTER_OTLP_PROTOCOL names them.
const (
	protocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"
)

// Open returns an exporter if the environment names a collector, nil otherwise. An
// invalid setting is reported and turns tracing off.
func Open(ctx context.Context, opts Options) *Exporter {
	if opts.Warn == nil {
		opts.Warn = func(string) {}
	}
	endpoint := first(opts.Getenv, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	exporter := opts.Getenv("OTEL_TRACES_EXPORTER")
	disabled := strings.EqualFold(opts.Getenv("OTEL_SDK_DISABLED"), "true")
	if endpoint == "" || disabled || exporter != "" && exporter != "otlp" {
		return nil
	}
	e := &Exporter{protocol: protocol(opts.Getenv, endpoint), warn: opts.Warn}
	var client otlptrace.Client
	switch e.protocol {
	case protocolGRPC:
		client = otlptracegrpc.NewClient(otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{
			Enabled:         true,
			InitialInterval: 200 * time.Millisecond,
			MaxInterval:     time.Second,
			MaxElapsedTime:  flushTime,
		}))
	case protocolHTTP:
		client = otlptracehttp.NewClient(otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled:         true,
			InitialInterval: 200 * time.Millisecond,
			MaxInterval:     time.Second,
			MaxElapsedTime:  flushTime,
		}))
	default:
		opts.Warn(fmt.Sprintf("no traces are sent: OTEL_EXPORTER_OTLP_PROTOCOL is %q, not grpc or http/protobuf", e.protocol))
		return nil
	}
	// Otherwise errors in the background are printed to standard error.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(e.failed))
	exp, err := otlptrace.New(ctx, client)
	if err != nil {
		opts.Warn(fmt.Sprintf("no traces are sent: %v", err))
		return nil
	}
	// Attributes of the environment take precedence over ours.
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "kolla-build"),
			attribute.String("service.version", opts.Version)),
		resource.WithHost(), resource.WithFromEnv())
	if err != nil && res == nil {
		res = resource.Empty()
	}
	e.provider = sdk.NewTracerProvider(sdk.WithBatcher(exp), sdk.WithResource(res))
	return e
}

func first(getenv func(string) string, names ...string) string {
	for _, n := range names {
		if v := getenv(n); v != "" {
			return v
		}
	}
	return ""
}

// protocol returns the protocol of an endpoint: that of the environment, else gRPC for
// its registered port, else OpenTelemetry's default.
func protocol(getenv func(string) string, endpoint string) string {
	if p := first(getenv, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); p != "" {
		return p
	}
	if u, err := url.Parse(endpoint); err == nil && u.Port() == "4317" {
		return protocolGRPC
	}
	return protocolHTTP
}

// failed reports the first error only: a collector that is down fails every batch.
func (e *Exporter) failed(err error) {
	e.once.Do(func() { e.warn(fmt.Sprintf("sending traces: %v", err)) })
}

// Start begins the root span of a run and returns a context with it. Its parent is
// the TRACEPARENT of the environment, if a CI system that traces itself has set it.
func (e *Exporter) Start(ctx context.Context, getenv func(string) string, name string,
	attrs ...attribute.KeyValue) (context.Context, Span) {
	if e == nil {
		return ctx, Span{}
	}
	if parent := getenv("TRACEPARENT"); parent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx,
			propagation.MapCarrier{"traceparent": parent, "tracestate": getenv("TRACESTATE")})
	}
	ctx, s := e.provider.Tracer(scopeName).Start(ctx, name, trace.WithAttributes(attrs...))
	return ctx, Span{s}
}

// Environ returns additional environment variables with which a child program sends its
// own spans to the same collector, as the given service.
func (e *Exporter) Environ(service string) []string {
	if e == nil {
		return nil
	}
	return []string{"OTEL_EXPORTER_OTLP_PROTOCOL=" + e.protocol, "OTEL_SERVICE_NAME=" + service}
}

// Close sends the remaining spans.
func (e *Exporter) Close() {
	if e == nil {
		return
	}
	// The trace is also needed if the run's own context was canceled.
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := e.provider.Shutdown(ctx); err != nil {
		e.failed(err)
	}
}

// Span is a span of a run. The zero Span does nothing.
type Span struct{ s trace.Span }

// Start begins a child of the span in the context.
func Start(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsValid() {
		return ctx, Span{}
	}
	ctx, s := parent.TracerProvider().Tracer(scopeName).Start(ctx, name, trace.WithAttributes(attrs...))
	return ctx, Span{s}
}

// Record adds a child of the span in the context for an operation that has ended.
func Record(ctx context.Context, name string, start time.Time, duration time.Duration, failure string,
	attrs ...attribute.KeyValue) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return
	}
	_, s := parent.TracerProvider().Tracer(scopeName).Start(ctx, name, trace.WithTimestamp(start),
		trace.WithAttributes(attrs...))
	if failure != "" {
		s.SetStatus(codes.Error, failure)
	}
	s.End(trace.WithTimestamp(start.Add(duration)))
}

// Set adds attributes.
func (s Span) Set(attrs ...attribute.KeyValue) {
	if s.s != nil {
		s.s.SetAttributes(attrs...)
	}
}

// End ends the span, as failed if err is not nil.
func (s Span) End(err error) {
	if s.s == nil {
		return
	}
	if err != nil {
		text, _, _ := strings.Cut(err.Error(), "\n")
		s.s.SetStatus(codes.Error, text)
	}
	s.s.End()
}
