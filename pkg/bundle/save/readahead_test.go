package save

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestReadAhead(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), readAheadSize/3)
	failed := errors.New("failed")
	for name, tc := range map[string]struct {
		r    io.Reader
		want []byte
		err  error
	}{
		"whole":         {bytes.NewReader(content), content, nil},
		"small reads":   {iotest.HalfReader(bytes.NewReader(content)), content, nil},
		"data with EOF": {iotest.DataErrReader(bytes.NewReader(content)), content, nil},
		"empty":         {bytes.NewReader(nil), nil, nil},
		"error":         {io.MultiReader(bytes.NewReader(content), iotest.ErrReader(failed)), content, failed},
		"error with data": {io.MultiReader(bytes.NewReader(content[:7]), iotest.DataErrReader(iotest.ErrReader(failed))),
			content[:7], failed},
	} {
		r := newReadAhead(io.NopCloser(tc.r))
		got, err := io.ReadAll(r)
		if !bytes.Equal(got, tc.want) || !errors.Is(err, tc.err) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(tc.want), err)
		}
		if _, again := r.Read(make([]byte, 1)); again == nil || tc.err != nil && !errors.Is(again, tc.err) {
			t.Errorf("%s: after the end: %v", name, again)
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Closed in the middle, it ends.
	r := newReadAhead(io.NopCloser(bytes.NewReader(content)))
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
