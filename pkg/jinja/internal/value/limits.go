package value

import (
	"strconv"
)

// Limits bound the resources of one render, so that a template cannot exhaust the
// process. A zero field means its default. Exceeding a limit is an error of KindLimit.
type Limits struct {
	// Depth bounds the nesting of includes, blocks, macro calls and expressions.
	// Default 200.
	Depth int
	// Range is the length of the longest range() allowed. Default 100,000, as in
	// Jinja2's sandbox.
	Range int
	// Output is the size of the longest text of one render, in bytes. Default 8 MiB: a Dockerfile
	// has 50,000 lines at most, and what reads the text takes a multiple of its size.
	Output int
	// Steps bounds the work of one render: rounds of loops, calls, items, and one step
	// for every 64 bytes of text that an operation reads. Default 20,000,000, which
	// takes about one or two seconds.
	Steps int
	// Memory bounds the size of all values built during one render, in bytes. Default
	// 64 MiB.
	Memory int
	// Source is the size of the longest source of a template, in bytes. Default 4 MiB.
	Source int
}

// WithDefaults returns the limits with defaults for those that are not positive.
func (l Limits) WithDefaults() Limits {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&l.Depth, 200)
	set(&l.Range, 100_000)
	set(&l.Output, 8<<20)
	set(&l.Steps, 20_000_000)
	set(&l.Memory, 64<<20)
	set(&l.Source, 4<<20)
	return l
}

// checkInterval is the number of steps after which the limit and the context are
// checked again.
const checkInterval = 4096

// MaxIntBits bounds the size of integers: arithmetic with larger ones is slow.
const MaxIntBits = 1 << 20

// ByteSize returns a number of bytes in the unit that limits are set in.
func ByteSize(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + " KiB"
	}
	return strconv.Itoa(n) + " bytes"
}
