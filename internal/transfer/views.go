package transfer

import (
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
)

// statusView is a line at the end of a terminal.
type statusView struct{ con *console.Console }

func (v *statusView) show(_ time.Time, s state, end bool) {
	switch {
	case end:
		v.con.Status("")
	case s.Done > 0:
		v.con.Status(s.String())
	}
}

// silence is the time between two lines of plain progress. A shorter transfer prints no
// line.
const silence = 10 * time.Second

// plainView prints a line at intervals.
type plainView struct {
	con  *console.Console
	last time.Time
}

func (v *plainView) show(now time.Time, s state, end bool) {
	if v.last.IsZero() {
		v.last = now
	}
	if !end && now.Sub(v.last) >= silence {
		v.last = now
		v.con.Notice("%s", s)
	}
}

// jsonView prints "transfer" events.
type jsonView struct{ con *console.Console }

func (v *jsonView) show(now time.Time, s state, end bool) {
	if s.Done == 0 && !end {
		return
	}
	v.con.Event("transfer", now, struct {
		Action    string  `json:"action"`
		Bytes     int64   `json:"bytes"`
		Total     int64   `json:"total_bytes,omitempty"`
		Rate      int64   `json:"bytes_per_second,omitempty"`
		Remaining float64 `json:"remaining,omitempty"` // seconds
	}{s.Action, s.Done, s.Total, s.Rate, s.Remaining.Round(100 * time.Millisecond).Seconds()})
}
