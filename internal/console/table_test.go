package console

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// countingWriter counts calls of Write, and fails if it has an error.
type countingWriter struct {
	strings.Builder
	writes int
	err    error
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes++
	if w.err != nil {
		return 0, w.err
	}
	return w.Builder.Write(p)
}

func TestTableIsWrittenInOnePiece(t *testing.T) {
	var out countingWriter
	table := NewTable(&out)
	fmt.Fprintln(table, "NAME\tSIZE")
	fmt.Fprintln(table, "memcached\t5 MB")
	if out.Len() > 0 {
		t.Errorf("written before Flush: %q", out.String())
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := "NAME       SIZE\nmemcached  5 MB\n"; out.String() != want || out.writes != 1 {
		t.Errorf("%q in %d writes, want %q in one", out.String(), out.writes, want)
	}
}

func TestTableReportsErrorsOfItsOutput(t *testing.T) {
	for _, rows := range []int{1, 10_000} { // less and more than a buffer
		out := countingWriter{err: errors.New("no space left on device")}
		table := NewTable(&out)
		for range rows {
			fmt.Fprintln(table, "memcached\t5 MB")
		}
		if err := table.Flush(); !errors.Is(err, out.err) {
			t.Errorf("%d rows: %v", rows, err)
		}
	}
}
