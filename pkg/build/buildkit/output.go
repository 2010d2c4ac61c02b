package buildkit

import (
	"bytes"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
)

// tailLines is the number of a step's last lines that a failure contains.
const tailLines = 30

// The streams of a step's output.
const (
	stdout = 1
	stderr = 2
)

// orderingTime is how far apart two lines of different streams must be for their order to
// be known. The builder reads the streams independently, in the same process.
const orderingTime = 100 * time.Millisecond

// maxHeld limits the lines that wait to be examined.
const maxHeld = 10_000

// stepOutput is the end of a step's output, as its failure reports it. The order of two
// lines of different streams that come close together is random, and what is reported must
// not be: such lines of standard error are examined last, because programs write there why
// they failed.
type stepOutput struct {
	shown   []string // the last lines, in the order in which they came
	streams map[int]*lineTail

	held  []heldLine // lines of standard error that have not been examined
	cause build.CauseFinder
	last  string // the last line that was examined and is not blank
	trace string // the same, of the commands that "set -x" prints
}

type heldLine struct {
	text string
	at   time.Time
}

// write adds complete lines of a stream.
func (o *stepOutput) write(stream int, at time.Time, data []byte) {
	t := o.streams[stream]
	if t == nil {
		t = &lineTail{}
		if o.streams == nil {
			o.streams = map[int]*lineTail{}
		}
		o.streams[stream] = t
	}
	t.write(data, func(line string) {
		o.shown = append(o.shown, line)
		if len(o.shown) > tailLines {
			o.shown = o.shown[1:]
		}
		if stream == stderr {
			o.held = append(o.held, heldLine{line, at})
		}
		for len(o.held) > 0 && (at.Sub(o.held[0].at) >= orderingTime || len(o.held) > maxHeld) {
			o.examine(o.held[0].text)
			o.held = o.held[1:]
		}
		if stream != stderr {
			o.examine(line)
		}
	})
}

func (o *stepOutput) examine(line string) {
	o.cause.Line(line)
	switch {
	case strings.TrimSpace(line) == "":
	case strings.HasPrefix(line, "+ "):
		o.trace = line
	default:
		o.last = line
	}
}

// end examines the remaining lines. The step has ended.
func (o *stepOutput) end() {
	for _, h := range o.held {
		o.examine(h.text)
	}
	o.held = nil
}

// lastLine returns the most likely cause of a failure that no pattern matches, "" if the
// step has printed nothing.
func (o *stepOutput) lastLine() string {
	if o.last == "" {
		return o.trace
	}
	return o.last
}

// tails returns the last lines of each stream.
func (o *stepOutput) tails() [][]string {
	var tails [][]string
	for _, stream := range []int{stdout, stderr} {
		if t := o.streams[stream]; t != nil {
			tails = append(tails, t.lines)
		}
	}
	return tails
}

// lineTail keeps the last lines of a stream.
type lineTail struct {
	lines   []string
	partial []byte
}

// write calls each with every line that data completes.
func (t *lineTail) write(data []byte, each func(line string)) {
	for {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			break
		}
		line := strings.TrimRight(string(append(t.partial, data[:i]...)), "\r")
		t.partial, data = nil, data[i+1:]
		t.lines = append(t.lines, line)
		if len(t.lines) > tailLines {
			t.lines = t.lines[1:]
		}
		each(line)
	}
	// A line without an end is truncated, because it may have any length.
	if len(t.partial)+len(data) <= 64<<10 {
		t.partial = append(t.partial, data...)
	}
}
