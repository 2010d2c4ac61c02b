package main

import (
	"bytes"
	"io"
	"log"
	"strings"
	"testing"
)

// TestLibraryLog checks that messages of libraries to the standard logger are shown
// only with --debug (field case 22).
func TestLibraryLog(t *testing.T) {
	old := log.Writer()
	t.Cleanup(func() { log.SetOutput(old) })
	for _, c := range []struct {
		args []string
		want bool
	}{{[]string{"images", "--data-dir", t.TempDir()}, false},
		{[]string{"--debug", "--images-dir", "/none", "--data-dir", t.TempDir()}, true}} {
		var stderr bytes.Buffer
		run(c.args, nil, io.Discard, &stderr)
		log.Print("http2: server connection error from localhost")
		if got := strings.Contains(stderr.String(), "http2: server"); got != c.want {
			t.Errorf("%q: shown %v, want %v:\n%s", c.args, got, c.want, stderr.String())
		}
	}
}
