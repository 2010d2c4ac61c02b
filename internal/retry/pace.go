package retry

import (
	"fmt"
	"time"
)

const (
	// LeastPace is how many bytes a second a transfer must have on average.
	LeastPace = 1 << 10
	// DocumentPace is the same for short documents, whose time is mostly latency.
	DocumentPace = 64
	// paceWindow is the time over which a transfer's pace is averaged, in stall limits. Its
	// end also ends the credit of what was transferred before.
	paceWindow = 5
)

// SlowError reports that a transfer was ended because it was slower than the least pace. A
// server that sends a byte now and then never stalls.
type SlowError struct {
	Bytes int64 // transferred in the time After
	After time.Duration
}

// Error implements error.
func (e *SlowError) Error() string {
	return fmt.Sprintf("only %d bytes were transferred in %s", e.Bytes, e.After.Round(time.Millisecond))
}

// Timeout marks the error as a timeout, as net.Error does.
func (e *SlowError) Timeout() bool { return true }

// Pace measures one transfer. Only the time counts in which this side waits for the other.
type Pace struct {
	rate   int64 // bytes per second
	window time.Duration
	waited time.Duration // in this window
	bytes  int64         // in this window
}

// NewPace returns the pace of a blob or a source whose stall limit is given.
func NewPace(stall time.Duration) *Pace { return &Pace{rate: LeastPace, window: paceWindow * stall} }

// NewDocumentPace returns the pace of a short document, whose window is one stall limit.
func NewDocumentPace(stall time.Duration) *Pace { return &Pace{rate: DocumentPace, window: stall} }

// Add records that n bytes were transferred after waiting. The error is a *SlowError if a
// window has ended with too few.
func (p *Pace) Add(n int, waited time.Duration) error {
	p.bytes += int64(n)
	p.waited += waited
	if p.waited < p.window {
		return nil
	}
	bytes, passed := p.bytes, p.waited
	p.bytes, p.waited = 0, 0
	if float64(bytes) < float64(p.rate)*passed.Seconds() {
		return &SlowError{Bytes: bytes, After: passed}
	}
	return nil
}
