package parts

import (
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

	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/units"
)

// Part is a file of a set.
type Part struct {
	File   string
	Number int // from 0, parity parts after data parts; -1 if it is not known
	Parity bool
	Err    error // why it cannot be used; nil if it is not known to be damaged

	digest checksum // of its payload, by its header
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
			return nil, &SetError{Detail: fmt.Sprintf("%s and %s are parts of different sets", first, file),
				Advice: "name the parts of one set"}
		}
		p := &Part{File: file, Number: h.Number, Parity: h.Number >= h.Data, digest: h.Digest}
		p.Err = checkLength(file, headerSize+h.length())
		if other, ok := s.parts[h.Number]; !ok || other.Err != nil && p.Err == nil {
			s.parts[h.Number] = p
		}
	}
	if first != "" {
		return s, nil
	}
	for _, p := range s.bad {
		if later := versionError(0); errors.As(p.Err, &later) {
			return nil, &SetError{Detail: p.File + ": " + later.Error(),
				Advice: "use the release of kolla-build that saved it, or a later one"}
		}
	}
	advice := ""
	if len(files) > 1 {
		advice = "several files must be parts of one bundle: name whole bundles one at a time"
	}
	return nil, &SetError{Detail: "no part can be used", Parts: problems(s.bad), Advice: advice}
}

// checkLength compares the size of a part with the one in its header.
func checkLength(file string, want int64) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return err
	case st.Size() == want:
		return nil
	case st.Size() > want && beginsAt(f, want):
		return joinedError(want)
	}
	return fmt.Errorf("it has %d bytes instead of %d", st.Size(), want)
}

// joinedError reports that a file has several parts, one after another: the size of the first one.
type joinedError int64

func (joinedError) Error() string { return "it contains several parts, which must be separate files" }

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
	absent := func(n int) bool { return s.parts[n] == nil && !s.explicit }
	for n, end := 0, 0; n < s.header.Data+s.header.Parity; n = end {
		p := s.parts[n]
		for end = n + 1; absent(n) && absent(end) && end != s.header.Data && end < s.header.Data+s.header.Parity; {
			end++
		}
		switch {
		case p != nil && p.Err != nil:
			out = append(out, p.File+": "+p.Err.Error())
		case absent(n) && n < s.header.Data:
			out = append(out, missing("part", "%03d", n+1, end))
		case absent(n):
			out = append(out, missing("parity part", "p%02d", n-s.header.Data+1, end-s.header.Data))
		}
	}
	return out
}

// missing reports that parts are missing whose numbers have a format.
func missing(kind, format string, first, last int) string {
	if first == last {
		return fmt.Sprintf(kind+" "+format+" is missing", first)
	}
	return fmt.Sprintf(kind+"s "+format+" to "+format+" are missing", first, last)
}

// Consistent returns a *SetError if all data parts are usable, and their headers contradict the
// digest of the set. In sets of version 1, which only their whole content can contradict, it finds
// nothing.
func (s *Set) Consistent() error {
	if s.header.Version == 1 || len(s.Lost()) > 0 {
		return nil
	}
	sums := make([]checksum, s.header.Data)
	for n := range sums {
		sums[n] = s.parts[n].digest
	}
	if setDigest(sums) != s.header.Set {
		return errNotTheStream
	}
	return nil
}

var errNotTheStream = &SetError{Detail: "the parts do not contain the saved stream", Advice: "copy the parts again"}

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
		for _, p := range s.parts {
			if joined := joinedError(0); errors.As(p.Err, &joined) {
				return &SetError{Detail: p.File + ": " + joined.Error(),
					Advice: fmt.Sprintf("separate them with split -b %d, or copy them again", int64(joined))}
			}
		}
		return &SetError{Detail: NeededText(missing, s.header.Data), Parts: s.Problems(),
			Advice: "copy the missing and damaged parts again"}
	}
	return nil
}

// NeededText says how many more parts of a set are needed. data is the number of data parts: any as many
// parts, parity parts included, have the whole content.
func NeededText(missing, data int) string {
	if missing == 1 {
		return "1 more part is needed: it takes any " + units.Count(data, "part")
	}
	return fmt.Sprintf("%d more parts are needed: it takes any %s", missing, units.Count(data, "part"))
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
	buffers := sync.Pool{New: func() any { return new([1 << 20]byte) }}
	for _, n := range s.numbers() {
		p := s.parts[n]
		if p.Err != nil || !selected(p) {
			continue
		}
		s.plan(s.length(p.Number))
		g.Go(func() error {
			buf := buffers.Get().(*[1 << 20]byte)
			defer buffers.Put(buf)
			if err := s.verify(ctx, p, buf[:]); ctx.Err() != nil {
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
	sum := newHash(h.Version)
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
	if newChecksum(h.Version, sum.Sum(nil)) != h.Digest {
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
