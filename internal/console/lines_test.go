package console

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestLinesFollowTheFormatOfNotices(t *testing.T) {
	for json, want := range map[bool]string{false: "one\ntwo\nthree\n", true: `"text":"two"}`} {
		var out bytes.Buffer
		c := &Console{Stderr: &out}
		c.SetJSON(json)
		w := c.Lines()
		fmt.Fprint(w, "one\nt")
		fmt.Fprint(w, "wo\nthree")
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); !strings.Contains(got, want) || strings.Count(got, "\n") != 3 {
			t.Errorf("JSON %v: %q", json, got)
		}
	}
}
