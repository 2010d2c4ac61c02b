package report

import (
	"bytes"
	"encoding/base64"
	"time"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// jsonEvent is a line of JSON progress. The format is stable: fields may be added, but
// fields do not change their meaning.
//
//	event        run_start, image_start, step_start, step_end, output, transfer,
//	             image_end, push_start, push_end, message, run_end
//	time         RFC 3339 with nanoseconds, UTC
//	image        name of the image; not in run_start, run_end and message
//	step         id, name; in step_end also cached, error, duration (seconds)
//	text         output: as it was printed, if it is UTF-8; message: the line;
//	             push_end: the error, absent on success
//	data         output that is not UTF-8, in base64
//	bytes        transfer: transferred so far
//	total_bytes  transfer: in total, absent while unknown
//	total        run_start: images that will be built
//	estimate     run_start, image_start: seconds expected, absent if unknown
//	duration     run_end: seconds
//	result       image_end: the object that the JSON summary has for the image,
//	             with status built, unchanged, error, parent_error, push_error,
//	             canceled, skipped or unbuildable
//	dropped      event "dropped": the number of output and transfer events that
//	             were discarded because the reader was too slow
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
	shown map[transferKey]time.Time // time of the last event of a transfer
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
			// Our own statuses, which distinguish more than upstream's.
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

// due limits the rate of transfer events. The last one of each transfer is shown.
func (v *jsonView) due(e build.Event) bool {
	if v.shown == nil {
		v.shown = map[transferKey]time.Time{}
	}
	key := transferKey{e.Image, e.Step.ID}
	if e.TotalBytes > 0 && e.Current >= e.TotalBytes {
		delete(v.shown, key)
		return true
	}
	if last, ok := v.shown[key]; ok && e.Time.Sub(last) < transferEvery {
		return false
	}
	v.shown[key] = e.Time
	return true
}

func (v *jsonView) tick(*model, time.Time, bool) {}

func marshalLine(j jsonEvent) string {
	var b bytes.Buffer
	// Strings, numbers and structs of them can always be encoded.
	_ = encode(&b, j, "")
	return b.String()
}
