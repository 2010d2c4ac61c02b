package parts

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/reedsolomon"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
)

// memory is what the blocks that parity is computed from may take, in bytes.
const memory = 32 << 20

// Writer splits what is written to it into parts. The files get their names when
// Close has written all of them; Abort removes what there is.
type Writer struct {
	ctx    context.Context
	base   string
	size   int64 // of a part, header included
	parity int   // percent of the data parts
	whole  hash.Hash
	total  int64
	done   []*Header
	files  []string // temporary names, by number
	cur    *os.File
	sum    hash.Hash
	n      int64 // bytes in cur
	closed bool
}

// Create begins a set of parts named base.001 and so on, of at most size bytes
// each. With parity, at most 50, any that many percent of the data parts can be restored.
func Create(ctx context.Context, base string, size int64, parity int) (*Writer, error) {
	switch {
	case size < MinSize:
		return nil, fmt.Errorf("parts of %d bytes: the smallest size is %d", size, int64(MinSize))
	case parity < 0 || parity > 50:
		return nil, fmt.Errorf("a parity of %d%%: it can be 0 to 50", parity)
	}
	if err := removeTemporary(base); err != nil {
		return nil, err
	}
	return &Writer{ctx: ctx, base: base, size: size, parity: parity, whole: digest.Canonical.Hash()}, nil
}

// removeTemporary removes what a Writer with the same name has left that was killed.
func removeTemporary(base string) error {
	entries, err := os.ReadDir(filepath.Dir(base))
	if err != nil {
		return err
	}
	for _, e := range entries {
		random, ok := strings.CutPrefix(e.Name(), "."+filepath.Base(base)+"-")
		if ok && random != "" && strings.Trim(random, "0123456789") == "" && e.Type().IsRegular() {
			if err := os.Remove(filepath.Join(filepath.Dir(base), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *Writer) payload() int64 { return (w.size - headerSize) / align * align }

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if err := w.ctx.Err(); err != nil {
			return written, context.Cause(w.ctx)
		}
		if w.cur == nil {
			if err := w.open(); err != nil {
				return written, err
			}
		}
		part := p[:min(int64(len(p)), w.payload()-w.n)]
		n, err := w.cur.Write(part)
		w.whole.Write(part[:n])
		w.sum.Write(part[:n])
		w.n += int64(n)
		w.total += int64(n)
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
		if w.n == w.payload() {
			if err := w.finish(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// open begins a part under a temporary name. Its header follows at the end.
func (w *Writer) open() error {
	if len(w.files) >= MaxParts {
		return fmt.Errorf("more than %d parts: choose a larger size", MaxParts)
	}
	f, err := os.CreateTemp(filepath.Dir(w.base), "."+filepath.Base(w.base)+"-*")
	if err != nil {
		return err
	}
	w.cur, w.n, w.sum = f, 0, digest.Canonical.Hash()
	w.files = append(w.files, f.Name())
	_, err = f.Seek(headerSize, io.SeekStart)
	return err
}

func (w *Writer) finish() error {
	w.done = append(w.done, &Header{Digest: digest.NewDigest(digest.Canonical, w.sum)})
	err := w.cur.Close()
	w.cur = nil
	return err
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
	data := len(w.done)
	if data == 0 {
		return nil, errors.New("there is nothing to write")
	}
	parity := parityParts(data, w.parity)
	if data+parity > MaxParts {
		return nil, fmt.Errorf("%d parts and %d parity parts are more than %d: choose a larger size", data, parity, MaxParts)
	}
	set := Header{Version: version, Set: digest.NewDigest(digest.Canonical, w.whole), Size: w.total, Data: data, Parity: parity, Payload: min(w.payload(), w.total)}
	if parity > 0 {
		if err := w.addParity(&set); err != nil {
			return nil, fmt.Errorf("computing parity: %w", err)
		}
	}
	for i, part := range w.done {
		h := set
		h.Number, h.Digest = i, part.Digest
		if err := writeHeader(w.files[i], h); err != nil {
			return nil, err
		}
		names = append(names, name(w.base, data, i))
	}
	for i, to := range names {
		if err := os.Rename(w.files[i], to); err != nil {
			for _, done := range names[:i] {
				os.Remove(done) // leftover parts would look like damage to an earlier set
			}
			return nil, err
		}
	}
	w.closed = true
	if err := atomicfile.SyncDir(filepath.Dir(w.base)); err != nil {
		return nil, err
	}
	return names, w.removeStale(names)
}

// parityParts returns how many parity parts let a percentage of the data parts be
// lost, at least 1. If half a percent more is enough, the same percentage of all parts,
// parity parts included, can be lost.
func parityParts(data, percent int) int {
	if percent == 0 {
		return 0
	}
	n, most := 1, max(1, data*(2*percent+1)/200)
	for n < most && n < (data+n)*percent/100 {
		n++
	}
	return max(n, data*percent/100)
}

// removeStale removes parts of an earlier, larger set with the same name, which would
// look like parts of this one.
func (w *Writer) removeStale(names []string) error {
	keep := map[string]bool{}
	for _, n := range names {
		keep[filepath.Clean(n)] = true
	}
	others, err := siblings(names[0])
	if err != nil {
		return err
	}
	for _, o := range others {
		if !keep[filepath.Clean(o)] && IsPart(o) {
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
		err = f.Chmod(0o644)
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
	for range set.Parity {
		if err := w.open(); err != nil {
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
			flag, sums[i] = os.O_RDWR, digest.Canonical.Hash()
		}
		f, err := os.OpenFile(path, flag, 0)
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
		w.done[i].Digest = digest.NewDigest(digest.Canonical, sums[i])
	}
	return nil
}

// blocks calls f for the blocks of the parts of a set. All blocks have a multiple
// of align bytes, and together those of all parts fit into memory.
func blocks(ctx context.Context, set *Header, f func(offset int64, size int) error) error {
	block := max(align, min(1<<20, int64(memory/(set.Data+set.Parity)))/align*align)
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

// Abort removes the files. It does nothing after Close.
func (w *Writer) Abort() {
	if w.closed {
		return
	}
	if w.cur != nil {
		w.cur.Close()
	}
	for _, f := range w.files {
		os.Remove(f)
	}
}
