package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// otlp is a collector that stores the spans it receives.
type otlp struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []received
}

type received struct {
	service string
	*tracepb.Span
}

// Export implements OTLP's trace service.
func (o *otlp) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (
	*collector.ExportTraceServiceResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, rs := range req.ResourceSpans {
		service := ""
		for _, a := range rs.Resource.GetAttributes() {
			if a.Key == "service.name" {
				service = a.Value.GetStringValue()
			}
		}
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				o.spans = append(o.spans, received{service, s})
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func (o *otlp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	var req collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(data, &req)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint(r.URL.Path, ": ", err), http.StatusBadRequest)
		return
	}
	_, _ = o.Export(r.Context(), &req)
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(nil)
}

// collectors has the collectors of the scripts that run now, by address.
var collectors sync.Map

// startCollector runs a collector during the script and sets its endpoint in the
// environment: collector grpc|http.
func startCollector(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: collector grpc|http")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	o := &otlp{}
	protocol := "http/protobuf"
	if args[0] == "grpc" {
		protocol = "grpc"
		s := grpc.NewServer()
		collector.RegisterTraceServiceServer(s, o)
		go func() { _ = s.Serve(l) }()
		ts.Defer(s.Stop)
	} else {
		s := &http.Server{Handler: o, ReadHeaderTimeout: time.Minute}
		go func() { _ = s.Serve(l) }()
		ts.Defer(func() { _ = s.Close() })
	}
	endpoint := "http://" + l.Addr().String()
	collectors.Store(endpoint, o)
	ts.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
	ts.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
}

// checkSpans checks the spans in the collector and empties it: spans [CHILD<PARENT ...]
// expects one trace in which each CHILD is a child of its PARENT ("" for the root) and,
// for CHILD<<PARENT, a span of the service CHILD is a descendant of it.
func checkSpans(ts *testscript.TestScript, _ bool, args []string) {
	v, _ := collectors.Load(ts.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	o, ok := v.(*otlp)
	if !ok {
		ts.Fatalf("no collector runs")
	}
	o.mu.Lock()
	spans := o.spans
	o.spans = nil
	o.mu.Unlock()
	byID := map[string]received{}
	var roots []received
	for _, s := range spans {
		byID[string(s.SpanId)] = s
		if s.service == "kolla-build" && len(s.ParentSpanId) == 0 {
			roots = append(roots, s)
		}
	}
	if parent := ts.Getenv("TRACEPARENT"); parent != "" {
		for _, s := range spans {
			if fmt.Sprintf("%x-%x", s.TraceId, s.ParentSpanId) == parent[3:52] {
				roots = append(roots, s)
			}
		}
	}
	if len(roots) != 1 {
		ts.Fatalf("%d roots of ours among %d spans, want one: %v", len(roots), len(spans), roots)
	}
	trace := string(roots[0].TraceId)
	var tree strings.Builder
	for _, s := range spans {
		if string(s.TraceId) == trace {
			fmt.Fprintf(&tree, "%s: %s < %s\n", s.service, s.Name, byID[string(s.ParentSpanId)].GetName())
		} else if s.service == "kolla-build" {
			ts.Fatalf("%s is in another trace", s.Name)
		}
	}
	under := func(s received, name string) bool {
		for range 100 {
			p, ok := byID[string(s.ParentSpanId)]
			if !ok {
				return false
			}
			if p.Name == name {
				return true
			}
			s = p
		}
		return false
	}
	for _, want := range args {
		child, parent, far := strings.Cut(want, "<<")
		if !far {
			child, parent, _ = strings.Cut(want, "<")
		}
		if !slices.ContainsFunc(spans, func(s received) bool {
			if string(s.TraceId) != trace {
				return false
			}
			if far {
				return s.service == child && under(s, parent)
			}
			return strings.Contains(s.Name, child) && byID[string(s.ParentSpanId)].GetName() == parent &&
				s.EndTimeUnixNano >= s.StartTimeUnixNano
		}) {
			ts.Fatalf("no span %q in\n%s", want, tree.String())
		}
	}
	ts.Logf("%d spans", len(spans))
}
