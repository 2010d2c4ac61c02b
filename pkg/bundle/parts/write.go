package parts

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/reedsolomon"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/partialfile"
)

// memory is what the blocks that parity is computed from may take, in bytes.
const memory = 16 << 20

// Writer splits what is written to it into parts. The files get their names when Close has
// written all of them. Until then they have temporary names of package partialfile, under
// which a Writer with the same base finds the files of an interrupted one.
type Writer struct {
	ctx    context.Context
	base   string
	size   int64 // of a part, header included
	parity int   // percent of the data parts
	total  int64
	sums   []checksum        // of the complete parts, by number
	files  []string          // names of the incomplete parts, by number
	first  *partialfile.File // its lock protects the set
	cur    *os.File
	out    *disk.EarlyWriter // writes to cur
	sum    hash.Hash         // of cur
	n      int64             // bytes in cur
	closed bool
	set    Header // valid after Close
}

// Create begins a set of parts named base.001 and so on, of at most size bytes each.
// parity, at most 50, is the percentage of the data parts that can be restored. The error
// is a *filelock.HeldError if another Writer writes parts of these names.
func Create(ctx context.Context, base string, size int64, parity int) (*Writer, error) {
	switch {
	case size < MinSize:
		return nil, fmt.Errorf("parts of %d bytes: the smallest size is %d", size, int64(MinSize))
	case parity < 0 || parity > 50:
		return nil, fmt.Errorf("a parity of %d%%: it can be 0 to 50", parity)
	}
	w := &Writer{ctx: ctx, base: base, size: size, parity: parity}
	var err error
	if w.first, err = partialfile.Open(w.data(0)); err != nil {
		return nil, err
	}
	return w, nil
}

// data returns the name of a data part.
func (w *Writer) data(number int) string { return name(w.base, maxParts, number) }

// Partial returns the files that an interrupted Writer has left, data parts in their order
// and then parity parts.
func Partial(base string) []string {
	var found []string
	for _, first := range []int{0, maxParts} {
		for n := range maxParts {
			file := partialfile.Name(name(base, maxParts, first+n))
			if st, err := os.Lstat(file); err != nil || !st.Mode().IsRegular() {
				break
			}
			found = append(found, file)
		}
	}
	return found
}

// Earlier returns the part of the stream that an interrupted Writer with the same part
// size has written. It may be damaged.
func (w *Writer) Earlier() (io.Reader, error) { return &earlierReader{w: w}, nil }

// earlierReader reads the payloads of partial data parts, one after another.
type earlierReader struct {
	w         *Writer
	number    int
	file      *os.File
	remaining int64
}

// Read implements io.Reader.
func (e *earlierReader) Read(p []byte) (int, error) {
	if e.remaining == 0 {
		if e.file != nil {
			e.file.Close()
			e.file = nil
			e.number++
		}
		f, err := os.Open(partialfile.Name(e.w.data(e.number)))
		if errors.Is(err, fs.ErrNotExist) {
			return 0, io.EOF // there are no more
		}
		if err != nil {
			return 0, err
		}
		if _, err := f.Seek(headerSize, io.SeekStart); err != nil {
			f.Close()
			return 0, err
		}
		e.file, e.remaining = f, e.w.payload()
	}
	n, err := e.file.Read(p[:min(int64(len(p)), e.remaining)])
	if e.remaining -= int64(n); err != nil {
		e.file.Close()
	}
	return n, err
}

// Keep keeps the first n bytes of the stream that Earlier returned, and removes the rest.
// It must be called before the first Write if there may have been an earlier Writer.
func (w *Writer) Keep(n int64) error {
	r := &earlierReader{w: w}
	buf := make([]byte, 1<<20)
	for remaining := n; remaining > 0; {
		if err := w.ctx.Err(); err != nil {
			return context.Cause(w.ctx)
		}
		if w.cur == nil {
			if err := w.open(true); err != nil {
				return err
			}
		}
		chunk := buf[:min(remaining, int64(len(buf)), w.payload()-w.n)]
		if _, err := io.ReadFull(r, chunk); err != nil {
			return fmt.Errorf("reading the data of an interrupted save: %w", err)
		}
		if remaining -= int64(len(chunk)); remaining == 0 || w.n+int64(len(chunk)) == w.payload() {
			// The file may be longer even if the part is full, because the parts of the
			// earlier Writer may have been larger.
			end := headerSize + w.n + int64(len(chunk))
			if err := w.cur.Truncate(end); err != nil {
				return err
			}
			if _, err := w.cur.Seek(end, io.SeekStart); err != nil {
				return err
			}
			w.out = disk.NewEarlyWriter(w.cur)
		}
		if err := w.count(chunk); err != nil {
			return err
		}
	}
	// Without this, later parts and parity parts would remain if the new set has fewer.
	for _, file := range Partial(w.base) {
		isWritten := slices.ContainsFunc(w.files, func(f string) bool { return partialfile.Name(f) == file })
		if !isWritten && file != w.first.Name() {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *Writer) payload() int64 { return payloadOf(w.size) }

// payloadOf returns the bytes of the stream in a part of at most size bytes.
func payloadOf(size int64) int64 { return max(align, (size-headerSize)/align*align) }

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if w.cur == nil {
			if err := w.open(false); err != nil {
				return written, err
			}
		}
		part := p[:min(int64(len(p)), w.payload()-w.n)]
		n, err := w.out.Write(part)
		written += n
		if err := errors.Join(err, w.count(part[:n])); err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// count adds to the size of the current part, and closes the part when it is full.
func (w *Writer) count(b []byte) error {
	w.sum.Write(b)
	w.n += int64(len(b))
	w.total += int64(len(b))
	if w.n < w.payload() {
		return nil
	}
	return w.finish()
}

// open begins or continues a part. Its header is written at the end.
func (w *Writer) open(keep bool) error {
	if len(w.files) >= maxParts {
		return fmt.Errorf("more than %d parts: choose a larger size", maxParts)
	}
	return w.begin(w.data(len(w.files)), keep)
}

// begin opens the next file of the set.
func (w *Writer) begin(name string, keep bool) error {
	f := w.first
	if len(w.files) > 0 {
		var err error
		if f, err = partialfile.Open(name); err != nil {
			return err
		}
	}
	w.cur, w.n, w.sum = f.File, 0, newHash(version)
	w.files = append(w.files, name)
	if !keep {
		if err := f.Truncate(0); err != nil {
			return err
		}
	}
	_, err := f.Seek(headerSize, io.SeekStart)
	w.out = disk.NewEarlyWriter(f.File)
	return err
}

func (w *Writer) finish() error {
	w.sums = append(w.sums, newChecksum(version, w.sum.Sum(nil)))
	w.out.Start() // the rest, while the next parts are written
	cur := w.cur
	w.cur = nil
	if cur == w.first.File {
		return nil // its lock is held until the end
	}
	return cur.Close()
}

// Close completes the set and returns the names of its files.
func (w *Writer) Close() (names []string, err error) {
	defer func() {
		if err != nil {
			w.Abort()
		}
	}()
	if w.cur != nil {
		if err := w.finish(); err != nil {
			return nil, err
		}
	}
	data := len(w.sums)
	if data == 0 {
		return nil, errors.New("there is nothing to write")
	}
	parity := parityParts(data, w.parity)
	if data+parity > maxParts {
		return nil, fmt.Errorf("%d parts and %d parity parts are more than %d: choose a larger size", data, parity, maxParts)
	}
	set := Header{
		Version: version,
		Set:     setDigest(w.sums),
		Size:    w.total,
		Data:    data,
		Parity:  parity,
		Payload: min(w.payload(), w.total),
	}
	if parity > 0 {
		if err := w.addParity(&set); err != nil {
			return nil, fmt.Errorf("computing parity: %w", err)
		}
	}
	for i, sum := range w.sums {
		h := set
		h.Number, h.Digest = i, sum
		if err := writeHeader(partialfile.Name(w.files[i]), h); err != nil {
			return nil, err
		}
	}
	// The first part, which holds the lock, gets its name last.
	for i := len(w.files) - 1; i > 0; i-- {
		if err := os.Rename(partialfile.Name(w.files[i]), w.files[i]); err != nil {
			return nil, err
		}
	}
	if err := w.removeStale(w.files); err != nil {
		return nil, err
	}
	if err := w.first.Commit(0o644); err != nil {
		return nil, err
	}
	w.closed, w.set = true, set
	return w.files, nil
}

// ParityParts returns how many of the files are parity parts, after Close.
func (w *Writer) ParityParts() int { return w.set.Parity }

// parityParts returns how many parity parts let a percentage of the data parts be
// lost, at least 1. If half a percent more is enough, the same percentage of all parts,
// parity parts included, can be lost.
func parityParts(data, percent int) int {
	if percent == 0 {
		return 0
	}
	n, limit := 1, max(1, data*(2*percent+1)/200)
	for n < limit && n < (data+n)*percent/100 {
		n++
	}
	return max(n, data*percent/100)
}

// Total returns the bytes of all parts of a stream: those that a Writer with the same part size and
// parity writes.
func Total(stream, size int64, parity int) int64 {
	payload := payloadOf(size)
	data := max(1, (stream+payload-1)/payload)
	set := Header{Payload: min(payload, stream)}
	return stream + data*headerSize + int64(parityParts(int(data), parity))*(headerSize+set.shard())
}

// removeStale removes parts of an earlier, larger set with the same name, which would
// look like parts of this one.
func (w *Writer) removeStale(names []string) error {
	keep := map[string]bool{}
	for _, n := range names {
		keep[strings.ToLower(filepath.Clean(n))] = true // a file system without case can list them in another one
	}
	existing, err := siblings(names[0])
	if err != nil {
		return err
	}
	for _, o := range existing {
		if !keep[strings.ToLower(filepath.Clean(o))] && begins(o) {
			if err := os.Remove(o); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeHeader(file string, h Header) error {
	b, err := h.encode()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = atomicfile.Chmod(f, 0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// addParity reads the data parts once more, block by block, and writes the parity.
func (w *Writer) addParity(set *Header) error {
	data := set.Data
	for i := range set.Parity {
		if err := w.begin(name(w.base, data, data+i), false); err != nil {
			return err
		}
		if err := w.finish(); err != nil {
			return err
		}
	}
	files := make([]*os.File, len(w.files))
	defer func() {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}()
	sums := make([]hash.Hash, len(w.files))
	for i, path := range w.files {
		flag := os.O_RDONLY
		if i >= data {
			flag, sums[i] = os.O_RDWR, newHash(version)
		}
		f, err := os.OpenFile(partialfile.Name(path), flag, 0)
		if err != nil {
			return err
		}
		files[i] = f
	}
	code, err := reedsolomon.New(data, set.Parity)
	if err != nil {
		return err
	}
	shards := make([][]byte, len(files))
	err = blocks(w.ctx, set, func(offset int64, size int) error {
		for i := range shards {
			if cap(shards[i]) < size {
				shards[i] = make([]byte, size)
			}
			shards[i] = shards[i][:size]
			if i < data {
				if err := readBlock(files[i], shards[i], offset); err != nil {
					return err
				}
			}
		}
		if err := code.Encode(shards); err != nil {
			return err
		}
		for i := data; i < len(shards); i++ {
			sums[i].Write(shards[i])
			if _, err := files[i].WriteAt(shards[i], headerSize+offset); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := data; i < len(files); i++ {
		w.sums[i] = newChecksum(version, sums[i].Sum(nil))
	}
	return nil
}

// blocks calls f for the blocks of the parts of a set. All blocks have a multiple
// of align bytes, and together those of all parts fit into memory.
func blocks(ctx context.Context, set *Header, f func(offset int64, size int) error) error {
	block := max(align, min(disk.MaxWrite, int64(memory/(set.Data+set.Parity)))/align*align)
	for offset := int64(0); offset < set.shard(); offset += block {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := f(offset, int(min(block, set.shard()-offset))); err != nil {
			return err
		}
	}
	return nil
}

// readBlock reads a block of a payload, with zeros after its end.
func readBlock(f *os.File, b []byte, offset int64) error {
	n, err := f.ReadAt(b, headerSize+offset)
	if errors.Is(err, io.EOF) {
		clear(b[n:])
		err = nil
	}
	return err
}

// Abort closes the files, so that the next Writer with the same base can continue them. It
// does nothing after Close.
func (w *Writer) Abort() {
	if w.closed {
		return
	}
	if w.cur != nil {
		w.cur.Close()
	}
	w.first.Close()
}
