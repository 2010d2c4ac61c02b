package server

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// metrics counts what a server does, for /metrics.
type metrics struct {
	started  time.Time
	running  atomic.Int64
	received atomic.Int64 // bytes of requests
	sent     atomic.Int64 // bytes of answers

	mu       sync.Mutex
	requests map[requestKind]int64
	gcRuns   int64
	gcFailed int64
	gcLast   time.Time
	gc       GCResult // sums
}

type requestKind struct {
	method string
	status int
}

func newMetrics() *metrics {
	return &metrics{started: time.Now(), requests: map[requestKind]int64{}}
}

// observe counts a request that has been answered.
func (m *metrics) observe(method string, status int, received, sent int64) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete:
	default:
		method = "other" // clients must not be able to create new series
	}
	m.received.Add(max(received, 0))
	m.sent.Add(sent)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests[requestKind{method, status}]++
}

// collected counts a run of garbage collection.
func (m *metrics) collected(r GCResult, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gcRuns++
	m.gcLast = time.Now()
	if err != nil {
		m.gcFailed++
	}
	m.gc.Freed += r.Freed
	m.gc.Blobs += r.Blobs
	m.gc.Manifests += r.Manifests
}

// text is the metrics in the OpenMetrics text format, which Prometheus reads.
func (m *metrics) text(dir string, certificateEnd time.Time) string {
	var b strings.Builder
	family := func(name, kind, help string) {
		fmt.Fprintf(&b, "# TYPE %s %s\n# HELP %s %s\n", name, kind, name, help)
	}
	value := func(name, kind, help string, v float64) {
		family(name, kind, help)
		if kind == "counter" {
			name += "_total"
		}
		fmt.Fprintf(&b, "%s %v\n", name, v)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	family("kolla_registry_requests", "counter", "Answered requests.")
	kinds := make([]requestKind, 0, len(m.requests))
	for k := range m.requests {
		kinds = append(kinds, k)
	}
	slices.SortFunc(kinds, func(a, b requestKind) int {
		if c := strings.Compare(a.method, b.method); c != 0 {
			return c
		}
		return a.status - b.status
	})
	for _, k := range kinds {
		fmt.Fprintf(&b, "kolla_registry_requests_total{method=%q,code=\"%d\"} %d\n", k.method, k.status, m.requests[k])
	}
	value("kolla_registry_requests_running", "gauge", "Requests that are being answered.", float64(m.running.Load()))
	value("kolla_registry_received_bytes", "counter", "Bytes of request bodies.", float64(m.received.Load()))
	value("kolla_registry_sent_bytes", "counter", "Bytes of answers.", float64(m.sent.Load()))
	value("kolla_registry_gc_runs", "counter", "Garbage collections.", float64(m.gcRuns))
	value("kolla_registry_gc_failures", "counter", "Garbage collections that ended with an error.", float64(m.gcFailed))
	value("kolla_registry_gc_freed_bytes", "counter", "Bytes that garbage collection freed.", float64(m.gc.Freed))
	value("kolla_registry_gc_removed_blobs", "counter", "Blobs that garbage collection removed.", float64(m.gc.Blobs))
	value("kolla_registry_gc_removed_manifests", "counter", "Manifests that garbage collection removed.",
		float64(m.gc.Manifests))
	if !m.gcLast.IsZero() {
		value("kolla_registry_gc_last_timestamp_seconds", "gauge", "When garbage was last collected.",
			float64(m.gcLast.Unix()))
	}
	if total, free := disk.Space(dir); total > 0 {
		value("kolla_registry_disk_free_bytes", "gauge", "Free space of the file system that stores the images.",
			float64(free))
		value("kolla_registry_disk_size_bytes", "gauge", "Size of the file system that stores the images.", float64(total))
	}
	if !certificateEnd.IsZero() {
		value("kolla_registry_certificate_end_timestamp_seconds", "gauge", "When the certificate of the server ends.",
			float64(certificateEnd.Unix()))
	}
	value("kolla_registry_start_timestamp_seconds", "gauge", "When the registry started.", float64(m.started.Unix()))
	b.WriteString("# EOF\n")
	return b.String()
}

// minFreeForHealth is the free space in bytes below which a registry that accepts pushes
// is not healthy.
const minFreeForHealth = 64 << 20

// health returns why the registry cannot work, nil if it can.
func health(dir string, readOnly bool) error {
	if _, err := os.ReadDir(dir); err != nil {
		return fmt.Errorf("reading the registry's directory: %w", inputfile.WithoutPath(err))
	}
	if readOnly {
		return nil
	}
	probe := filepath.Join(dir, ".kolla-build-health")
	err := os.WriteFile(probe, []byte("ok"), 0o600)
	_ = os.Remove(probe) // the next one replaces it
	if err != nil {
		return fmt.Errorf("writing to the registry's directory: %w", inputfile.WithoutPath(err))
	}
	if total, free := disk.Space(dir); total > 0 && free < minFreeForHealth {
		return fmt.Errorf("the registry's disk is full: %d bytes are free", free)
	}
	return nil
}
