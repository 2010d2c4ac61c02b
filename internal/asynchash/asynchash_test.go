package asynchash

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

func TestHash(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 777_777)
	for _, size := range []int{1, 10, bufferSize, bufferSize + 1, len(content)} {
		h := New(sha256.New())
		want := sha256.New()
		for rest := content[:min(len(content), 2000*size)]; len(rest) > 0; {
			n := min(size, len(rest))
			if written, err := h.Write(rest[:n]); written != n || err != nil {
				t.Fatal(written, err)
			}
			want.Write(rest[:n])
			rest = rest[n:]
		}
		if got := h.Sum(); !bytes.Equal(got, want.Sum(nil)) {
			t.Errorf("writes of %d bytes: %x", size, got)
		}
	}
	if got, want := New(sha256.New()).Sum(), sha256.Sum256(nil); !bytes.Equal(got, want[:]) {
		t.Errorf("of nothing: %x", got)
	}
}
