package define

import (
	"io"
	"path/filepath"
	"testing"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/kolla-build/kolla-build/pkg/imageset"
)

// TestCheckBuiltInTree checks that the built-in images have no findings for any distribution
// and type: the archives that they copy are those that a build makes.
func TestCheckBuiltInTree(t *testing.T) {
	distributions := facts.DistroNames()
	if testing.Short() {
		distributions = distributions[:1]
	}
	for _, distribution := range distributions {
		for _, kind := range []string{"source", "binary"} {
			t.Run(distribution+"/"+kind, func(t *testing.T) {
				dir := t.TempDir()
				cfg, err := cli.Load(cli.Input{Dir: dir, SystemFile: filepath.Join(dir, "none"),
					Args: []string{"-b", distribution, "-t", kind, "--data-dir", dir}})
				if err != nil {
					t.Fatal(err)
				}
				quiet := &console.Console{Stdout: io.Discard, Stderr: io.Discard}
				rendered, err := imageset.Render(t.Context(), imageset.Options{Config: cfg, Console: quiet})
				if err != nil {
					t.Fatal(err)
				}
				defer rendered.Close()
				if n := len(rendered.First().SelectedReferences()); n < 50 {
					t.Errorf("%d images are selected", n)
				}
				for _, f := range Check(t.Context(), rendered.First()) {
					t.Error(f)
				}
			})
		}
	}
}

func TestWithoutInstruction(t *testing.T) {
	const file = "FROM a\nRUN x \\\n\n# c\n  y\nRUN z\nRUN <<EOF\nb\nEOF\nENV x"
	for line, want := range map[int]string{
		0: "", 1: "", 3: "", 7: "", 11: "",
		2:  "FROM a\n\n\n\n\nRUN z\nRUN <<EOF\nb\nEOF\nENV x",
		6:  "FROM a\nRUN x \\\n\n# c\n  y\n\nRUN <<EOF\nb\nEOF\nENV x",
		10: "FROM a\nRUN x \\\n\n# c\n  y\nRUN z\nRUN <<EOF\nb\nEOF\n",
	} {
		if got := string(withoutInstruction([]byte(file), line)); got != want {
			t.Errorf("line %d: got %q, want %q", line, got, want)
		}
	}
}
