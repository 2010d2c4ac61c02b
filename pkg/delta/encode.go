package delta

import (
	"bufio"
	"encoding/binary"
	"io"
	"math/bits"
)

// Blocks of the base are found by a rolling hash.
const (
	minBlock  = 32      // bytes; doubled until the table is large enough
	maxBlocks = 2 << 20 // 8 bytes each, in a table of twice that number
	multiply  = 0x9E3779B97F4A7C15

	// similarity is how many bytes of a window must be equal for the window to be
	// stored as a difference. As in bsdiff, this covers code with changed addresses.
	window     = 64
	similarity = 32
)

// blockTable finds blocks of the base by their hash.
type blockTable struct {
	size  int // bytes of a block
	shift uint
	slots []slot
	out   uint64 // multiply^(size-1), the weight of the byte that leaves the hash
}

type slot struct {
	check  uint32 // some bits of the hash
	number uint32 // of the block, 1-based; 0 is an empty slot
}

func newBlockTable(base io.ReaderAt, size int64) (*blockTable, error) {
	t := &blockTable{size: minBlock}
	for size/int64(t.size) > maxBlocks {
		t.size *= 2
	}
	t.out = 1
	for range t.size - 1 {
		t.out *= multiply
	}
	blocks := size / int64(t.size)
	n := bits.Len64(uint64(max(2*blocks, 1) - 1)) // at most half of the slots are used
	t.shift, t.slots = uint(64-n), make([]slot, 1<<n)
	r := bufio.NewReaderSize(io.NewSectionReader(base, 0, size), 256<<10)
	b := make([]byte, t.size)
	for i := range blocks {
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		t.insert(t.hash(b), uint32(i+1))
	}
	return t, nil
}

func (t *blockTable) hash(b []byte) uint64 {
	var h uint64
	for _, c := range b {
		h = h*multiply + uint64(c) + 1
	}
	return h
}

func (t *blockTable) roll(h uint64, out, in byte) uint64 {
	return (h-(uint64(out)+1)*t.out)*multiply + uint64(in) + 1
}

// mix spreads a hash: the low bits of the rolling hash depend on the last bytes only.
func mix(h uint64) uint64 {
	h ^= h >> 32
	h *= 0xD6E8FEB86659FD93
	return h ^ h>>32
}

func (t *blockTable) insert(h uint64, number uint32) {
	h = mix(h)
	check := uint32(h)
	for i, tries := h>>t.shift, 0; tries < 16; i, tries = (i+1)&uint64(len(t.slots)-1), tries+1 {
		switch s := &t.slots[i]; {
		case s.number == 0:
			*s = slot{check, number}
			return
		case s.check == check:
			return // equal blocks, such as zeros: the first one is enough
		}
	}
}

// find returns the offset of a block in the base that may be equal, or -1.
func (t *blockTable) find(h uint64) int64 {
	h = mix(h)
	check := uint32(h)
	for i, tries := h>>t.shift, 0; tries < 16; i, tries = (i+1)&uint64(len(t.slots)-1), tries+1 {
		switch s := t.slots[i]; {
		case s.number == 0:
			return -1
		case s.check == check:
			return int64(s.number-1) * int64(t.size)
		}
	}
	return -1
}

// cachedReader reads parts of the base that are near each other.
type cachedReader struct {
	r     io.ReaderAt
	size  int64
	block []byte
	start int64
	err   error
}

// behind is how many bytes before an offset of the base are read together with it,
// because matches are extended in both directions.
const behind = 4096

func newCachedReader(r io.ReaderAt, size int64, block int) *cachedReader {
	return &cachedReader{r: r, size: size, block: make([]byte, 0, max(64<<10, behind+block))}
}

// at returns up to n bytes of the base from an offset, fewer at its end. n is at most the
// size of a block, or 32 KiB.
func (c *cachedReader) at(off int64, n int) []byte {
	n = int(min(int64(n), c.size-off))
	if n <= 0 || off < 0 {
		return nil
	}
	if off < c.start || off+int64(n) > c.start+int64(len(c.block)) {
		c.start = max(0, off-behind)
		c.block = c.block[:min(int64(cap(c.block)), c.size-c.start)]
		if m, err := c.r.ReadAt(c.block, c.start); err != nil && m < len(c.block) {
			c.err, c.block = err, c.block[:0]
			return nil
		}
	}
	return c.block[off-c.start:][:n]
}

// encoder compares a tar with the base.
type encoder struct {
	base  *cachedReader
	table *blockTable
	in    io.Reader
	out   *operations
	buf   []byte
	pos   int // position of the next comparison
	lits  int // beginning of the bytes before pos that are not in the base
	eof   bool
}

// lookAhead is how much of the tar is in memory.
const lookAhead = 1 << 20

// encode writes the operations that make the tar from the base.
func encode(w *bufio.Writer, base io.ReaderAt, baseSize int64, tar io.Reader) error {
	table, err := newBlockTable(base, baseSize)
	if err != nil {
		return err
	}
	e := &encoder{base: newCachedReader(base, baseSize, table.size), table: table,
		in: tar, out: &operations{w: w}, buf: make([]byte, 0, 2*lookAhead)}
	if err := e.run(); err != nil {
		return err
	}
	return e.out.end()
}

// fill makes sure that n bytes from pos are in memory, unless the tar ends before.
func (e *encoder) fill(n int) error {
	if len(e.buf)-e.pos >= n || e.eof {
		return nil
	}
	if e.pos-e.lits > maxRun {
		e.flush()
	}
	e.buf = e.buf[:copy(e.buf, e.buf[e.lits:])]
	e.pos -= e.lits
	e.lits = 0
	for len(e.buf)-e.pos < lookAhead && !e.eof {
		m, err := e.in.Read(e.buf[len(e.buf):min(cap(e.buf), len(e.buf)+256<<10)])
		e.buf = e.buf[:len(e.buf)+m]
		if err == io.EOF {
			e.eof = true
		} else if err != nil {
			return err
		}
	}
	return nil
}

// flush writes the bytes that are not in the base.
func (e *encoder) flush() {
	e.out.insert(e.buf[e.lits:e.pos])
	e.lits = e.pos
}

func (e *encoder) run() error {
	size := e.table.size
	var h uint64
	known := false // h is the hash of the block at pos
	for {
		if err := e.fill(max(size+1, window)); err != nil {
			return err
		}
		if len(e.buf)-e.pos < size {
			e.pos = len(e.buf)
			e.flush()
			return e.base.err
		}
		if !known {
			h, known = e.table.hash(e.buf[e.pos:e.pos+size]), true
		}
		if off := e.table.find(h); off >= 0 && string(e.base.at(off, size)) == string(e.buf[e.pos:e.pos+size]) {
			if err := e.match(off); err != nil {
				return err
			}
			known = false
			continue
		}
		if e.base.err != nil {
			return e.base.err
		}
		if e.pos+size < len(e.buf) {
			h = e.table.roll(h, e.buf[e.pos], e.buf[e.pos+size])
		} else {
			known = false
		}
		e.pos++
	}
}

// match writes a match with the base at off, as long as it can be made.
func (e *encoder) match(off int64) error {
	for e.pos > e.lits {
		b := e.base.at(off-1, 1)
		if len(b) == 0 || b[0] != e.buf[e.pos-1] {
			break
		}
		off--
		e.pos--
	}
	e.flush()
	for {
		if err := e.fill(32 << 10); err != nil {
			return err
		}
		old := e.base.at(off, min(len(e.buf)-e.pos, 32<<10))
		tar := e.buf[e.pos:][:len(old)]
		n := equal(old, tar)
		e.out.copy(off, n)
		e.advance(&off, n)
		if n == 32<<10 {
			continue
		}
		old, tar = old[n:min(len(old), n+window)], tar[n:min(len(tar), n+window)]
		same := 0
		for i := range old {
			if old[i] == tar[i] {
				same++
			}
		}
		if len(old) < window && n > 0 && off < e.base.size && !e.eof {
			continue // the compared bytes ended, not the match
		}
		if same < similarity {
			return e.base.err
		}
		e.out.difference(off, old, tar)
		e.advance(&off, len(old))
	}
}

func (e *encoder) advance(off *int64, n int) {
	*off += int64(n)
	e.pos += n
	e.lits = e.pos
}

// equal returns how many bytes a and b have in common at their beginning. They have the
// same length.
func equal(a, b []byte) int {
	n := 0
	for ; len(a)-n >= 8; n += 8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
	}
	for n < len(a) && a[n] == b[n] {
		n++
	}
	return n
}

// operations writes operations and joins neighbours of the same kind.
type operations struct {
	w       *bufio.Writer
	kind    int
	off     int64 // in the base
	length  int64
	data    []byte // of a difference
	baseEnd int64  // end of the last copy or difference that was written
}

// shortCopy is the length up to which a copy between differences is part of them.
const shortCopy = 24

func (o *operations) copy(off int64, n int) {
	switch {
	case n == 0:
		return
	case o.kind == opCopy && o.off+o.length == off:
		o.length += int64(n)
		return
	case o.kind == opDifference && o.off+o.length == off && n <= shortCopy && len(o.data)+n <= maxRun:
		o.data = append(o.data, make([]byte, n)...)
		o.length += int64(n)
		return
	}
	o.write()
	o.kind, o.off, o.length = opCopy, off, int64(n)
}

func (o *operations) difference(off int64, old, tar []byte) {
	if o.kind != opDifference || o.off+o.length != off || len(o.data)+len(old) > maxRun {
		o.write()
		o.kind, o.off = opDifference, off
	}
	for i := range old {
		o.data = append(o.data, tar[i]-old[i])
	}
	o.length += int64(len(old))
}

func (o *operations) insert(b []byte) {
	if len(b) > 0 {
		o.write()
	}
	for len(b) > 0 {
		n := min(len(b), maxRun)
		o.varint(uint64(n)<<2 | opInsert)
		_, _ = o.w.Write(b[:n]) // bufio keeps the error
		b = b[n:]
	}
}

// write writes the joined operation.
func (o *operations) write() {
	if o.kind != 0 {
		o.varint(uint64(o.length)<<2 | uint64(o.kind))
		_, _ = o.w.Write(binary.AppendVarint(nil, o.off-o.baseEnd))
		_, _ = o.w.Write(o.data)
		o.baseEnd = o.off + o.length
	}
	o.kind, o.length, o.data = 0, 0, o.data[:0]
}

func (o *operations) varint(n uint64) { _, _ = o.w.Write(binary.AppendUvarint(nil, n)) }

func (o *operations) end() error {
	o.write()
	o.varint(opEnd)
	return o.w.Flush()
}
