package storecmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/usererr"
)

// --since takes a bundle in every form in which it can be saved: the file, a part, a directory and
// a pipe give the same delta.
func TestFormsOfSince(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	save := func(output string, o SaveOptions, args ...string) string {
		t.Helper()
		f.stderr.Reset()
		if err := Save(t.Context(), f.config(args...), f.con,
			filepath.Join(dir, output)+output[len(strings.TrimRight(output, "/")):], o); err != nil {
			t.Fatalf("%s since %s: %v", output, o.Since, err)
		}
		return filepath.Join(dir, output)
	}
	file := save("set.tar", SaveOptions{}, "nova")
	directory := save("set/", SaveOptions{}, "nova")
	parts := save("parts.tar", SaveOptions{Split: "66K", Parity: "10%"}, "nova")
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = os.WriteFile(pipe, content, 0o600) }()
	var want []byte
	for _, since := range []string{file, directory, directory + "/", parts + ".001", pipe} {
		delta, err := os.ReadFile(save("delta.tar", SaveOptions{Since: since}))
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = delta
		}
		// Only delta.json, which names the place, its digest and its size differ.
		if len(delta) != len(want) || !bytes.Equal(delta[len(delta)/2:], want[len(want)/2:]) ||
			!strings.Contains(f.stderr.String(), "a delta: it requires ") {
			t.Errorf("since %s: %d bytes, want %d; %s", since, len(delta), len(want), &f.stderr)
		}
	}
	_, err = readSince(t.Context(), f.config(), f.con, nil, parts)
	if !strings.Contains(usererr.Hint(err), parts+".") {
		t.Errorf("a bundle in parts, without the number: %v, hint %q", err, usererr.Hint(err))
	}
}
