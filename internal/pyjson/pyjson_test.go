package pyjson

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// TestAsPython compares with json.dumps.
func TestAsPython(t *testing.T) {
	python := testenv.Program(t, "python3", "python3")
	var all strings.Builder
	for r := rune(0); r < 0x250; r++ {
		all.WriteRune(r)
	}
	for _, s := range []string{"", "nova-api", all.String(),
		"\u2028\uffff\U00010000\U0001f600\U0010ffff", `a "quoted" \ one`} {
		in, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(python, "-c", "import json,sys; sys.stdout.write(json.dumps(json.load(sys.stdin)))")
		cmd.Stdin = strings.NewReader(string(in))
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := Quote(s); got != string(want) {
			t.Errorf("%q:\ngot  %s\nwant %s", s, got, want)
		}
	}
}
