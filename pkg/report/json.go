package report

import (
	"bytes"
	"encoding/base64"
	"time"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// jsonEvent is one line of JSON progress. The names are stable: fields may be
// added, none changes its meaning.
//
//	event        run_start, image_start, step_start, step_end, output, transfer,
//	             image_end, push_start, push_end, message, run_end
//	time         RFC 3339 with nanoseconds, UTC
//	image        the image's name; not in run_start, run_end and message
//	step         id, name; in step_end also cached, error, duration (seconds)
//	text         output: as it came, if it is UTF-8; message: the line; push_end:
//	             why it failed, absent if it did not
//	data         output that is not UTF-8, in base64
//	bytes        transfer: moved so far
//	total_bytes  transfer: to be moved, absent while unknown
//	total        run_start: images that will be built
//	estimate     run_start, image_start: seconds expected, absent if unknown
//	duration     run_end: seconds
//	result       image_end: the object that the JSON summary has for the image,
//	             with status built, unchanged, error, parent_error, push_error,
//	             canceled, skipped or unbuildable
//	dropped      with event "dropped": how many output and transfer events were
//	             left out because the reader took nothing
type jsonEvent struct {
	Time       string     `json:"time"`
	Event      string     `json:"event"`
	Image      string     `json:"image,omitempty"`
	Step       *jsonStep  `json:"step,omitempty"`
	Text       *string    `json:"text,omitempty"`
	Data       string     `json:"data,omitempty"`
	Bytes      *int64     `json:"bytes,omitempty"`
	TotalBytes int64      `json:"total_bytes,omitempty"`
	Total      *int       `json:"total,omitempty"`
	Estimate   float64    `json:"estimate,omitempty"`
	Duration   *float64   `json:"duration,omitempty"`
	Result     *jsonImage `json:"result,omitempty"`
	Dropped    int        `json:"dropped,omitempty"`
}

type jsonStep struct {
	ID       string   `json:"id"`
	Name     string   `json:"name,omitempty"`
	Cached   bool     `json:"cached,omitempty"`
	Error    string   `json:"error,omitempty"`
	Duration *float64 `json:"duration,omitempty"`
}

// transferEvery is the shortest time between two transfer events of one step.
const transferEvery = 500 * time.Millisecond

type jsonView struct {
	q     *queue
	moved map[transferKey]time.Time // when a transfer was last shown
}

type transferKey struct {
	image image.ID
	step  string
}

func (v *jsonView) event(_ *model, e build.Event, _ *imageState) {
	j := jsonEvent{Time: e.Time.UTC().Format(time.RFC3339Nano), Image: e.Image.String(), Estimate: seconds(e.Estimate)}
	droppable := false
	step := func() *jsonStep { return &jsonStep{ID: e.Step.ID, Name: e.Step.Name} }
	switch e.Kind {
	case build.EventRunStart:
		total := e.Total
		j.Event, j.Total = "run_start", &total
	case build.EventImageStart:
		j.Event = "image_start"
	case build.EventStepStart:
		j.Event, j.Step = "step_start", step()
	case build.EventStepEnd:
		d := seconds(e.Step.Duration)
		j.Event, j.Step = "step_end", step()
		j.Step.Cached, j.Step.Error, j.Step.Duration = e.Step.Cached, e.Step.Err, &d
	case build.EventLog:
		droppable = true
		j.Event, j.Step = "output", step()
		if utf8.Valid(e.Data) {
			text := string(e.Data)
			j.Text = &text
		} else {
			j.Data = base64.StdEncoding.EncodeToString(e.Data)
		}
	case build.EventTransfer:
		if !v.due(e) {
			return
		}
		droppable = true
		n := e.Current
		j.Event, j.Step, j.Bytes, j.TotalBytes = "transfer", step(), &n, e.TotalBytes
	case build.EventImageEnd:
		j.Event = "image_end"
		if e.Result != nil {
			r := newJSONImage(Result{Result: *e.Result, Log: e.Log})
			// The event tells our own statuses, which are finer than upstream's.
			r.Status = string(e.Result.Status)
			j.Result = &r
		}
	case build.EventMessage:
		text := e.Text
		j.Event, j.Text = "message", &text
	case build.EventPushStart:
		j.Event = "push_start"
	case build.EventPushEnd:
		j.Event = "push_end"
		if e.Step.Err != "" {
			j.Text = &e.Step.Err
		}
	case build.EventRunEnd:
		d := seconds(e.Duration)
		j.Event, j.Duration = "run_end", &d
	default:
		return
	}
	line := marshalLine(j)
	if droppable {
		v.q.addDroppable(line)
	} else {
		v.q.add(line)
	}
}

// due holds transfers to a readable rate; the last of each always passes.
func (v *jsonView) due(e build.Event) bool {
	if v.moved == nil {
		v.moved = map[transferKey]time.Time{}
	}
	key := transferKey{e.Image, e.Step.ID}
	if e.TotalBytes > 0 && e.Current >= e.TotalBytes {
		delete(v.moved, key)
		return true
	}
	if last, ok := v.moved[key]; ok && e.Time.Sub(last) < transferEvery {
		return false
	}
	v.moved[key] = e.Time
	return true
}

func (v *jsonView) tick(*model, time.Time, bool) {}

func marshalLine(j jsonEvent) string {
	var b bytes.Buffer
	// Only strings, numbers and structs of them: it cannot go wrong.
	_ = encode(&b, j, "")
	return b.String()
}
