package delta

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A delta of a few bytes must not make this program copy and compress a small base for hours, whatever
// sizes it claims. The tar may have ownBytes, and perBase and perRead times the bytes of the base and
// those that were read of the delta. There may be ownOperations, and one for each bytesPerOperation of
// the tar. Make carries layers whole whose deltas are not within these limits.
const (
	ownBytes          = 1 << 20
	perBase           = 2
	perRead           = 64
	ownOperations     = 64 << 10
	bytesPerOperation = 8
)

var errTooMuchWork = errors.New("more than a byte delta of this size may make")

// decode writes the tar that the operations make from the base. read returns how many bytes of the
// compressed delta were read.
func decode(w io.Writer, r *bufio.Reader, base io.ReaderAt, baseSize, tarSize int64, read func() int64) error {
	var done, number, end int64
	buf, old := make([]byte, maxRun), make([]byte, maxRun)
	for {
		number++
		fail := func(err error, format string, args ...any) error {
			return &FormatError{Operation: number, At: done, Detail: fmt.Sprintf(format, args...), Err: noEOF(err),
				Limit: errors.Is(err, errTooMuchWork)}
		}
		word, err := binary.ReadUvarint(r)
		if err != nil {
			return fail(err, "it ends without an end operation")
		}
		kind, n := int(word&3), int64(word>>2)
		if kind == opEnd {
			switch _, err := r.ReadByte(); {
			case n != 0:
				return fail(nil, "an end operation of %d bytes", n)
			case done != tarSize:
				return fail(nil, "the tar ends after %d of %d bytes", done, tarSize)
			case err == nil:
				return fail(nil, "something follows the end operation")
			case err != io.EOF:
				return fail(err, "after the end operation")
			}
			return nil
		}
		switch {
		case n == 0:
			return fail(nil, "an operation without bytes")
		case n > tarSize-done:
			return fail(nil, "it makes more than the %d bytes of the tar", tarSize)
		case kind != opCopy && n > maxRun:
			return fail(nil, "%d bytes at once, more than %d", n, maxRun)
		case done+n > ownBytes+perBase*baseSize+perRead*read():
			return fail(errTooMuchWork, "%d bytes from a base of %d bytes", done+n, baseSize)
		case number > ownOperations+done/bytesPerOperation:
			return fail(errTooMuchWork, "too many operations")
		}
		var off int64
		if kind != opInsert {
			relative, err := binary.ReadVarint(r)
			if err != nil {
				return fail(err, "its offset")
			}
			// end is in the range of the base, so that the sum does not overflow twice.
			if off = end + relative; relative < -end || relative > baseSize-end || n > baseSize-off {
				return fail(nil, "bytes %d to %d of the base, which has %d", off, off+n, baseSize)
			}
			end = off + n
		}
		if kind != opCopy {
			if _, err := io.ReadFull(r, buf[:n]); err != nil {
				return fail(err, "its bytes")
			}
		}
		switch kind {
		case opCopy:
			_, err = io.CopyBuffer(onlyWriter{w}, onlyReader{io.NewSectionReader(base, off, n)}, buf)
		case opDifference:
			if _, err = base.ReadAt(old[:n], off); err == io.EOF {
				err = nil // the last bytes of the base
			}
			for i, c := range old[:n] {
				buf[i] += c
			}
			if err == nil {
				_, err = w.Write(buf[:n])
			}
		case opInsert:
			_, err = w.Write(buf[:n])
		}
		if err != nil {
			return err
		}
		done += n
	}
}

// onlyWriter and onlyReader hide other methods, so that io.CopyBuffer uses the buffer.
type onlyWriter struct{ io.Writer }

type onlyReader struct{ io.Reader }
