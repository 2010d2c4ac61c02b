package parts

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/asynchash"
	"github.com/kolla-build/kolla-build/internal/ctxio"
)

// Part is a file of a set.
type Part struct {
	File   string
	Number int // from 0, parity parts after data parts; -1 if it is not known
	Parity bool
	Err    error // why it cannot be used; nil if it is not known to be damaged
}

// Parts returns the parts that were found, by number, those without a usable header last.
func (s *Set) Parts() []Part {
	var out []Part
	for _, n := range s.numbers() {
		out = append(out, *s.parts[n])
	}
	for _, p := range s.bad {
		out = append(out, *p)
	}
	return out
}

// Needed returns how many more parts are needed before the stream can be read.
func (s *Set) Needed() int { return max(0, s.header.Data-s.usable()) }

// Lost returns the ranges of the stream that are in missing or damaged parts: pairs of
// the first byte and the byte after the last.
func (s *Set) Lost() [][2]int64 {
	var out [][2]int64
	for n := range s.header.Data {
		if p := s.parts[n]; p == nil || p.Err != nil {
			start := int64(n) * s.header.Payload
			out = append(out, [2]int64{start, min(start+s.header.Payload, s.header.Size)})
		}
	}
	return out
}

// Set is the available parts of one set.
type Set struct {
	header   Header
	parts    map[int]*Part // by number; those without a usable header are in bad
	bad      []*Part
	explicit bool // parts that are not given are not reported as missing

	// Progress, if it is not nil, is called while parts are read, with the bytes that were
	// read and the total. It is called from several goroutines and must not block.
	Progress func(done, total int64)
	// TempDir is where lost parts are restored, in files without a name; "" is the system's
	// directory. Without enough space there, all parts are read once for each lost one.
	TempDir string

	mu           sync.Mutex
	read, toRead int64
}

// count reports that bytes were read.
func (s *Set) count(n int64) {
	s.mu.Lock()
	s.read += n
	done, total := s.read, s.toRead
	s.mu.Unlock()
	if s.Progress != nil {
		s.Progress(done, total)
	}
}

// plan notes that bytes will be read.
func (s *Set) plan(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.toRead += n
}

// SetError reports that the stream cannot be read from the available parts.
type SetError struct {
	Detail string
	Parts  []string // a line for each missing or damaged part
	Advice string
}

func (e *SetError) Error() string {
	if len(e.Parts) == 0 {
		return e.Detail
	}
	names := e.Parts
	if len(names) > 10 {
		names = append(slices.Clone(names[:10]), fmt.Sprintf("and %d more", len(e.Parts)-10))
	}
	return e.Detail + ": " + strings.Join(names, "; ")
}

// Hint returns a hint for the user.
func (e *SetError) Hint() string { return e.Advice }

// Open opens a set from files in any order. Parts of the set that are beside them are
// found. It reads the headers only: see Verify.
func Open(files ...string) (*Set, error) {
	var neighbours []string
	seen := map[string]bool{}
	for _, file := range files {
		seen[filepath.Clean(file)] = true
	}
	searched := map[string]bool{}
	for _, file := range files {
		base, ok := baseName(file)
		if !ok || searched[base] {
			continue
		}
		searched[base] = true
		others, err := siblings(file)
		if err != nil && len(files) == 1 {
			return nil, err // of several files, each is reported as a part
		}
		for _, other := range others {
			if !seen[filepath.Clean(other)] {
				neighbours = append(neighbours, other)
			}
		}
	}
	return open(files, neighbours)
}

// OpenThese opens the given parts. Unlike Open, it does not look for others, and Problems
// does not list those as missing.
func OpenThese(files ...string) (*Set, error) {
	s, err := open(files, nil)
	if err == nil {
		s.explicit = true
	}
	return s, err
}

// open opens a set from the files that were named and those beside them. If a named one
// tells the set, parts of other sets beside them are left-overs.
func open(files, neighbours []string) (*Set, error) {
	if n := len(files) + len(neighbours); n > maxParts*2 {
		return nil, &SetError{Detail: fmt.Sprintf("%d files: a set has at most %d parts", n, maxParts)}
	}
	s := &Set{parts: map[int]*Part{}}
	first, named := "", false
	for i, file := range slices.Concat(files, neighbours) {
		h, err := header(file)
		switch {
		case err != nil:
			s.bad = append(s.bad, &Part{File: file, Number: -1, Err: err})
			continue
		case first == "":
			first, s.header, named = file, *h, i < len(files)
		case !h.sameSet(&s.header) && named && i >= len(files):
			s.bad = append(s.bad, &Part{File: file, Number: -1, Err: errOtherSet})
			continue
		case !h.sameSet(&s.header):
			return nil, &SetError{Detail: fmt.Sprintf("%s and %s are parts of different sets", first, file), Advice: "name the parts of one set"}
		}
		p := &Part{File: file, Number: h.Number, Parity: h.Number >= h.Data}
		if st, err := os.Stat(file); err != nil {
			p.Err = err
		} else if want := headerSize + h.length(); st.Size() != want {
			p.Err = fmt.Errorf("it has %d bytes instead of %d", st.Size(), want)
		}
		if other, ok := s.parts[h.Number]; !ok || other.Err != nil && p.Err == nil {
			s.parts[h.Number] = p
		}
	}
	if first == "" {
		return nil, &SetError{Detail: "no part can be used", Parts: problems(s.bad)}
	}
	return s, nil
}

func header(file string) (*Header, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readHeader(f)
}

func problems(parts []*Part) []string {
	var out []string
	for _, p := range parts {
		if p.Err != nil {
			out = append(out, p.File+": "+p.Err.Error())
		}
	}
	return out
}

// length returns the bytes of the payload of a part.
func (s *Set) length(number int) int64 {
	h := s.header
	h.Number = number
	return h.length()
}

// Counts returns how many data and parity parts the set has.
func (s *Set) Counts() (data, parity int) { return s.header.Data, s.header.Parity }

// Problems returns a line for each part that is known to be missing or damaged.
func (s *Set) Problems() []string {
	out := problems(s.bad)
	for n := range s.header.Data + s.header.Parity {
		p := s.parts[n]
		switch {
		case p == nil && s.explicit:
		case p == nil && n < s.header.Data:
			out = append(out, fmt.Sprintf("part %03d is missing", n+1))
		case p == nil:
			out = append(out, fmt.Sprintf("parity part p%02d is missing", n-s.header.Data+1))
		case p.Err != nil:
			out = append(out, p.File+": "+p.Err.Error())
		}
	}
	return out
}

// usable returns the parts that are not known to be missing or damaged.
func (s *Set) usable() int {
	n := 0
	for _, p := range s.parts {
		if p.Err == nil {
			n++
		}
	}
	return n
}

// complete returns an error if the stream cannot be restored.
func (s *Set) complete() error {
	if missing := s.Needed(); missing > 0 {
		return &SetError{Detail: NeededText(missing, s.header.Data), Parts: s.Problems(), Advice: "copy the missing and damaged parts again"}
	}
	return nil
}

// NeededText says how many more parts are needed of a set of data parts.
func NeededText(missing, data int) string {
	if missing == 1 {
		return fmt.Sprintf("1 more part is needed (it takes %d)", data)
	}
	return fmt.Sprintf("%d more parts are needed (it takes %d)", missing, data)
}

// Verify reads all parts, several at the same time, and records which are damaged. The
// error is nil if the stream can be read; Problems returns the damaged parts.
func (s *Set) Verify(ctx context.Context) error {
	if err := s.verifyAll(ctx, func(*Part) bool { return true }); err != nil {
		return err
	}
	return s.complete()
}

// verifyAll verifies the parts that a function selects.
func (s *Set) verifyAll(ctx context.Context, selected func(*Part) bool) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, n := range s.numbers() {
		p := s.parts[n]
		if p.Err != nil || !selected(p) {
			continue
		}
		s.plan(s.length(p.Number))
		g.Go(func() error {
			if err := s.verify(ctx, p, make([]byte, 1<<20)); ctx.Err() != nil {
				return context.Cause(ctx)
			} else if err != nil {
				p.Err = err
			}
			return nil
		})
	}
	return g.Wait()
}

func (s *Set) numbers() []int {
	var out []int
	for n := range s.parts {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

var (
	errDamaged  = errors.New("its content is damaged")
	errOtherSet = errors.New("it is a part of another bundle")
)

func (s *Set) verify(ctx context.Context, p *Part, buf []byte) error {
	f, h, err := s.open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := digest.Canonical.Hash()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(buf)
		sum.Write(buf[:n])
		s.count(int64(n))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if got := digest.NewDigest(digest.Canonical, sum); got != h.Digest {
		return errDamaged
	}
	return nil
}

// open opens a part whose header has been read, positioned after the header.
func (s *Set) open(p *Part) (*os.File, *Header, error) {
	f, err := os.Open(p.File)
	if err != nil {
		return nil, nil, err
	}
	h, err := readHeader(f)
	if err == nil && (!h.sameSet(&s.header) || h.Number != p.Number) {
		err = errors.New("it was replaced while it was read")
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, h, nil
}

// Reader returns the stream. Missing and damaged parts are restored while it is
// read. A set with parity is verified first; without parity, damage is found while
// the damaged part is read. At its end the whole stream has been verified.
func (s *Set) Reader(ctx context.Context) (io.ReadCloser, error) {
	s.plan(s.header.Size)
	if s.header.Parity > 0 {
		if err := s.Verify(ctx); err != nil {
			return nil, err
		}
	} else if err := s.complete(); err != nil {
		return nil, err
	}
	return pipe(ctx, s.write), nil
}

// Scan returns the stream as the parts have it, damage included, up to the first data part
// that is missing or has another size. At its end, all parts have been verified, and Problems
// returns the damaged ones.
func (s *Set) Scan(ctx context.Context) io.ReadCloser { return pipe(ctx, s.scan) }

func (s *Set) scan(ctx context.Context, w io.Writer) error {
	scanned := 0
	for n := range s.header.Data {
		p := s.parts[n]
		if p == nil || p.Err != nil {
			break
		}
		scanned++
		s.plan(s.length(n))
		var damaged *SetError
		if err := s.copyPart(ctx, w, p); errors.As(err, &damaged) {
			p.Err = errDamaged
		} else if err != nil {
			return err
		}
	}
	return s.verifyAll(ctx, func(p *Part) bool { return p.Number >= scanned })
}

// pipe returns a reader of the output of a function.
func pipe(ctx context.Context, write func(context.Context, io.Writer) error) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w := bufio.NewWriterSize(pw, 1<<20)
		err := write(ctx, w)
		if err == nil {
			err = w.Flush()
		}
		pw.CloseWithError(err)
	}()
	return &reader{PipeReader: pr, cancel: cancel, done: done}
}

type reader struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

func (r *reader) Close() error {
	r.cancel()
	err := r.PipeReader.Close()
	<-r.done
	return err
}

func (s *Set) write(ctx context.Context, w io.Writer) error {
	streamHash := asynchash.New(digest.Canonical.Hash())
	defer streamHash.Sum()
	w = io.MultiWriter(w, streamHash)
	restored, err := s.restore(ctx)
	if err != nil {
		return err
	}
	defer restored.close()
	for n := range s.header.Data {
		if p := s.parts[n]; p != nil && p.Err == nil {
			err = s.copyPart(ctx, w, p)
		} else if f := restored[n]; f != nil {
			_, err = io.CopyBuffer(w, &countingReader{ctxio.NewReader(ctx, f), s}, make([]byte, 1<<20))
		} else {
			err = s.reconstruct(ctx, map[int]io.Writer{n: w})
			s.count(s.length(n))
		}
		if err != nil {
			return err
		}
	}
	if digest.NewDigestFromBytes(digest.Canonical, streamHash.Sum()) != s.header.Set {
		return &SetError{Detail: "the parts do not contain the saved stream", Advice: "copy the parts again"}
	}
	return nil
}

func (s *Set) copyPart(ctx context.Context, w io.Writer, p *Part) error {
	f, h, err := s.open(p)
	if err != nil {
		return fmt.Errorf("%s: %w", p.File, err)
	}
	defer f.Close()
	sum := asynchash.New(digest.Canonical.Hash())
	defer sum.Sum()
	n, err := io.CopyBuffer(io.MultiWriter(w, sum), &countingReader{ctxio.NewReader(ctx, io.LimitReader(f, h.length())), s},
		make([]byte, 1<<20))
	switch {
	case err != nil:
		return err
	case n != h.length() || digest.NewDigestFromBytes(digest.Canonical, sum.Sum()) != h.Digest:
		return &SetError{Detail: p.File + ": its content is damaged", Advice: "copy this part again"}
	}
	return nil
}

// countingReader counts the bytes that are read of a set.
type countingReader struct {
	r   io.Reader
	set *Set
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.set.count(int64(n))
	return n, err
}
