package report

import (
	"io"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/kolla-build/kolla-build/pkg/build"
)

// maxLabelled is how many images get separate series. Real runs have fewer; the limit
// protects monitoring systems, which keep every name forever.
const maxLabelled = 2000

// WriteOpenMetrics writes the run as OpenMetrics text, for a scrape target or for
// the textfile collector of Prometheus' node_exporter. All metrics are gauges that
// describe the last run, the only type that both formats write in the same way.
// They have no timestamps, which that collector rejects; the end of the run is a
// metric.
func (r *Run) WriteOpenMetrics(w io.Writer) error {
	m := &metrics{w: w}
	for _, l := range [][2]string{{"base", r.Set.Base}, {"type", r.Set.Type}, {"set", r.Set.Name}} {
		if l[1] != "" {
			m.common = append(m.common, l)
		}
	}
	ok := 0.0
	if r.Outcome == OutcomeOK {
		ok = 1
	}
	end := r.Started.Add(r.Duration)
	m.gauge("kolla_build_success", "Whether the last run succeeded.", sample{v: ok})
	m.gauge("kolla_build_started_timestamp_seconds", "Start of the last run, in seconds since 1970.",
		sample{v: unix(r.Started)})
	m.gauge("kolla_build_ended_timestamp_seconds", "End of the last run, in seconds since 1970.", sample{v: unix(end)})
	if t := r.lastSuccess(end); !t.IsZero() {
		m.gauge("kolla_build_last_success_timestamp_seconds", "End of the last successful run, in seconds since 1970.",
			sample{v: unix(t)})
	}
	m.gauge("kolla_build_duration_seconds", "Duration of the last run.", sample{v: r.Duration.Seconds()})
	m.gauge("kolla_build_slots", "Images that may build at once.", sample{v: float64(r.Slots)})
	var states []sample
	for _, st := range []build.Status{build.StatusBuilt, build.StatusUnchanged, build.StatusError, build.StatusParentError,
		build.StatusPushError, build.StatusLoadError, build.StatusCanceled, build.StatusSkipped, build.StatusUnbuildable} {
		states = append(states, sample{labels: [][2]string{{"status", string(st)}}, v: float64(r.Count(st))})
	}
	m.gauge("kolla_build_images", "Images of the last run by status.", states...)
	pushed, packages := 0, 0
	for _, res := range r.Results {
		if res.Pushed {
			pushed++
		}
		packages += len(res.Packages)
	}
	m.gauge("kolla_build_published_images", "Images whose tag in the registry names the image of the last run.",
		sample{v: float64(pushed)})
	m.gauge("kolla_build_package_changes", "Packages with another version than before, counted per image.",
		sample{v: float64(packages)})
	r.imageMetrics(m)
	if m.err == nil {
		_, m.err = expfmt.FinalizeOpenMetrics(w)
	}
	return m.err
}

func (r *Run) imageMetrics(m *metrics) {
	var failed, durations, size, grown, changes []sample
	selected := r.Selected()
	for _, res := range selected[:min(len(selected), maxLabelled)] {
		label := [][2]string{{"image", oneLine(res.Image.String())}}
		failedValue := 0.0
		if res.Status.Bad() {
			failedValue = 1
		}
		failed = append(failed, sample{label, failedValue})
		if res.Status == build.StatusBuilt || res.Status == build.StatusError {
			durations = append(durations, sample{label, res.Duration.Seconds()})
		}
		if res.Size > 0 {
			size = append(size, sample{label, float64(res.Size)})
			if before, ok := r.Before(res.Image); ok {
				grown = append(grown, sample{label, float64(res.Size - before.Size)})
			}
		}
		if n := len(res.Packages); n > 0 {
			changes = append(changes, sample{label, float64(n)})
		}
	}
	m.gauge("kolla_build_image_failed",
		"Whether the image failed in the last run or was skipped because its parent failed.", failed...)
	m.gauge("kolla_build_image_build_duration_seconds", "Build time of the images that the last run built.", durations...)
	m.gauge("kolla_build_image_size_bytes", "Size of the compressed layers, the config and the manifest.", size...)
	m.gauge("kolla_build_image_size_change_bytes", "Change of the size since the run before.", grown...)
	m.gauge("kolla_build_image_package_changes", "Packages of the image with another version than before.", changes...)
}

// lastSuccess returns the end of the last successful run, which may be this one.
func (r *Run) lastSuccess(end time.Time) time.Time {
	if r.Outcome == OutcomeOK {
		return end
	}
	for _, p := range r.Past {
		if p.Outcome == OutcomeOK {
			return p.Started.Add(time.Duration(p.Seconds * float64(time.Second)))
		}
	}
	return time.Time{}
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

type sample struct {
	labels [][2]string
	v      float64
}

// metrics writes families of metrics until one cannot be written. Prometheus' own
// library formats and escapes them.
type metrics struct {
	w      io.Writer
	common [][2]string // labels of all metrics
	err    error
}

func (m *metrics) gauge(name, help string, samples ...sample) {
	if len(samples) == 0 || m.err != nil {
		return
	}
	kind := dto.MetricType_GAUGE
	f := &dto.MetricFamily{Name: &name, Help: &help, Type: &kind}
	for _, s := range samples {
		d := &dto.Metric{Gauge: &dto.Gauge{Value: &s.v}}
		for _, l := range slices.Concat(s.labels, m.common) {
			d.Label = append(d.Label, &dto.LabelPair{Name: &l[0], Value: &l[1]})
		}
		f.Metric = append(f.Metric, d)
	}
	_, m.err = expfmt.MetricFamilyToOpenMetrics(m.w, f)
}
