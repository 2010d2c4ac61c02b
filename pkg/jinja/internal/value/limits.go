package value

import (
	"strconv"
)

// Limits bounds what one render may use, so that no template can take the
// process down. A zero field stands for its default. A bound that is reached is
// an *Error of KindLimit.
type Limits struct {
	// Depth is how deep includes, blocks, macro calls and nested expressions may go. Default 200.
	Depth int
	// Range is the longest range() allowed, in items. Default 100,000, as in Jinja2's sandbox.
	Range int
	// Output is the longest text of one render, in bytes. Default 64 MiB.
	Output int
	// Steps is the work of one render: loop rounds, calls, items looked at, and one
	// more for every 64 bytes of text that an operation goes through. Default
	// 20,000,000, which is in the order of a second or two.
	Steps int
	// Memory is the sum, in bytes, of all the values built during one render. Default 256 MiB.
	Memory int
	// Source is the longest source of a template, in bytes. Default 4 MiB.
	Source int
}

func (l Limits) WithDefaults() Limits {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&l.Depth, 200)
	set(&l.Range, 100_000)
	set(&l.Output, 64<<20)
	set(&l.Steps, 20_000_000)
	set(&l.Memory, 256<<20)
	set(&l.Source, 4<<20)
	return l
}

// checkInterval is how many steps may pass between two looks at the context.
const checkInterval = 4096

// MaxIntBits bounds integers: above it arithmetic gets slow enough to matter.
const MaxIntBits = 1 << 20

// ByteSize names a number of bytes in the unit that people set limits in.
func ByteSize(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + " KiB"
	}
	return strconv.Itoa(n) + " bytes"
}
