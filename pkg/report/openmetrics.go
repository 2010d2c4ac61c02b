package report

import (
	"io"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/kolla-build/kolla-build/pkg/build"
)

// maxLabelled is how many images have series of their own. Templates are a
// directory tree that people write, so that their number is bounded in practice;
// this bounds it for a monitoring system that has to keep every name for ever.
const maxLabelled = 2000

// WriteOpenMetrics writes the run as OpenMetrics text, for a scrape target or for
// the textfile collector of Prometheus' node_exporter. All are gauges, which say
// what the last run was: the one type that both formats write alike. There are
// no timestamps, which that collector refuses; when the run ended is a metric.
func (r *Run) WriteOpenMetrics(w io.Writer) error {
	m := &metrics{w: w}
	ok := 0.0
	if r.Outcome == OutcomeOK {
		ok = 1
	}
	end := r.Started.Add(r.Duration)
	m.gauge("kolla_build_success", "Whether the last run came to its end and nothing failed that must not.", sample{v: ok})
	m.gauge("kolla_build_started_timestamp_seconds", "When the last run began, in seconds since 1970.", sample{v: unix(r.Started)})
	m.gauge("kolla_build_ended_timestamp_seconds", "When the last run ended, in seconds since 1970.", sample{v: unix(end)})
	if t := r.lastGood(end); !t.IsZero() {
		m.gauge("kolla_build_last_success_timestamp_seconds", "When the last run that succeeded ended, in seconds since 1970.", sample{v: unix(t)})
	}
	m.gauge("kolla_build_duration_seconds", "How long the last run took.", sample{v: r.Duration.Seconds()})
	m.gauge("kolla_build_slots", "How many images may build at once.", sample{v: float64(r.Slots)})
	var states []sample
	for _, st := range []build.Status{build.StatusBuilt, build.StatusUnchanged, build.StatusError, build.StatusParentError,
		build.StatusPushError, build.StatusLoadError, build.StatusCanceled, build.StatusSkipped, build.StatusUnbuildable} {
		states = append(states, sample{labels: [][2]string{{"status", string(st)}}, v: float64(r.Count(st))})
	}
	m.gauge("kolla_build_images", "Images of the last run by what became of them.", states...)
	pushed, packages := 0, 0
	for _, res := range r.Results {
		if res.Pushed {
			pushed++
		}
		packages += len(res.Packages)
	}
	m.gauge("kolla_build_published_images", "Images whose tag in the registry names what the last run has.", sample{v: float64(pushed)})
	m.gauge("kolla_build_package_changes", "Packages that images have in another version than before, counted per image.", sample{v: float64(packages)})
	r.imageMetrics(m)
	if m.err == nil {
		_, m.err = expfmt.FinalizeOpenMetrics(w)
	}
	return m.err
}

func (r *Run) imageMetrics(m *metrics) {
	var failed, took, size, grown, changes []sample
	selected := r.Selected()
	for _, res := range selected[:min(len(selected), maxLabelled)] {
		label := [][2]string{{"image", oneLine(res.Image.String())}}
		bad := 0.0
		if res.Status.Bad() {
			bad = 1
		}
		failed = append(failed, sample{label, bad})
		if res.Status == build.StatusBuilt || res.Status == build.StatusError {
			took = append(took, sample{label, res.Duration.Seconds()})
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
	m.gauge("kolla_build_image_failed", "Whether the image failed in the last run, or was not tried because its parent did.", failed...)
	m.gauge("kolla_build_image_build_duration_seconds", "How long the image took to build, for those that the last run built.", took...)
	m.gauge("kolla_build_image_size_bytes", "The image's compressed layers, config and manifest.", size...)
	m.gauge("kolla_build_image_size_change_bytes", "What the image has grown by since the run before.", grown...)
	m.gauge("kolla_build_image_package_changes", "Packages that the image has in another version than before.", changes...)
}

// lastGood is when the last run ended that succeeded, this one included.
func (r *Run) lastGood(end time.Time) time.Time {
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

// metrics writes families one after the other, until one cannot be written.
// The text is made by Prometheus' own library, so that escapes are its business.
type metrics struct {
	w   io.Writer
	err error
}

func (m *metrics) gauge(name, help string, samples ...sample) {
	if len(samples) == 0 || m.err != nil {
		return
	}
	kind := dto.MetricType_GAUGE
	f := &dto.MetricFamily{Name: &name, Help: &help, Type: &kind}
	for _, s := range samples {
		d := &dto.Metric{Gauge: &dto.Gauge{Value: &s.v}}
		for _, l := range s.labels {
			d.Label = append(d.Label, &dto.LabelPair{Name: &l[0], Value: &l[1]})
		}
		f.Metric = append(f.Metric, d)
	}
	_, m.err = expfmt.MetricFamilyToOpenMetrics(m.w, f)
}
