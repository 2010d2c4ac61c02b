package trace

import (
	"context"
	"errors"
	"testing"
	"time"
)

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// Without a collector there is no exporter, and its methods do nothing.
func TestOff(t *testing.T) {
	for name, getenv := range map[string]func(string) string{
		"unset":    env(),
		"disabled": env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9", "OTEL_SDK_DISABLED", "true"),
		"none":     env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER", "none"),
	} {
		e := Open(context.Background(), Options{Getenv: getenv, Warn: func(text string) { t.Errorf("%s: %s", name, text) }})
		if e != nil {
			t.Errorf("%s: an exporter", name)
		}
		before := context.Background()
		ctx, span := e.Start(before, getenv, "x")
		if ctx != before {
			t.Errorf("%s: another context", name)
		}
		ctx, child := Start(ctx, "y")
		child.Set()
		child.End(errors.New("x"))
		span.End(nil)
		Record(ctx, "z", time.Now(), 0, "")
		if env := e.Environ("buildkitd"); env != nil {
			t.Errorf("%s: environment %q", name, env)
		}
		e.Close()
	}
}

func TestProtocol(t *testing.T) {
	for _, c := range []struct{ endpoint, general, traces, want string }{
		{"http://c:4317", "", "", "grpc"},
		{"http://c:4318", "", "", "http/protobuf"},
		{"https://c/otlp", "", "", "http/protobuf"},
		{"http://c:4317", "http/protobuf", "", "http/protobuf"},
		{"http://c:4318", "http/protobuf", "grpc", "grpc"},
	} {
		getenv := env("OTEL_EXPORTER_OTLP_PROTOCOL", c.general, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", c.traces)
		if got := protocol(getenv, c.endpoint); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
