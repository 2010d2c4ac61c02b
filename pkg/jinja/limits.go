package jinja

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
	// Steps is the number of loop rounds, calls and the like. Default 20,000,000.
	Steps int
	// Memory is the sum, in bytes, of all the values built during one render. Default 256 MiB.
	Memory int
}

func (l Limits) withDefaults() Limits {
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
	return l
}

// maxIntBits bounds integers: above it arithmetic gets slow enough to matter.
const maxIntBits = 1 << 20

// maxIntDigits is Python's own bound on turning integers into decimal text and back.
const maxIntDigits = 4300
