package disk

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// What is written is in the file, wherever it begins.
func TestEarlyWriter(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), earlyBytes/6)
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(content[:1000]); err != nil {
		t.Fatal(err)
	}
	w := NewEarlyWriter(f)
	for rest := content[1000:]; len(rest) > 0; {
		n, err := w.Write(rest[:min(len(rest), 1<<20)])
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes differ from the %d that were written (%v)", len(got), len(content), err)
	}
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = NewEarlyWriter(pipe).Write(content)
		pipe.Close()
	}()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
		t.Errorf("a pipe got %d bytes (%v)", len(got), err)
	}
}
