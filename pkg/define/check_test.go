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
				cfg, err := cli.Load(cli.Input{Dir: dir, SystemFile: filepath.Join(dir, "none"), Args: []string{"-b", distribution, "-t", kind, "--data-dir", dir}})
				if err != nil {
					t.Fatal(err)
				}
				rendered, err := imageset.Render(t.Context(), imageset.Options{Config: cfg, Console: &console.Console{Stdout: io.Discard, Stderr: io.Discard}})
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
