package templates

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/platforms"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/render"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// Show implements the options that need no builder: --template-only, --list-images,
// --list-dependencies and --save-dependency. It reports whether one of them was given.
// With several platforms it shows the first.
func Show(ctx context.Context, cfg *config.Config, c *console.Console) (bool, error) {
	if !cfg.TemplateOnly && !cfg.ListImages && !cfg.ListDependencies && cfg.SaveDependency == "" {
		return false, nil
	}
	if cfg.RerunFailed {
		return true, usererr.Usage(cfg.Mistake("rerun-failed",
			"kolla-build plan --rerun-failed shows the images of the last run",
			"lists and --template-only do not read the last run"))
	}
	normalized := *cfg
	cfg = &normalized
	if err := workspace.NormalizeNames(cfg, c); err != nil {
		return true, err
	}
	selected, err := imageset.Platforms(cfg)
	if err != nil {
		return true, err
	}
	if len(selected) > 1 {
		c.Notice("of several platforms this is %s", platforms.Format(selected[0]))
	}
	rendered, err := imageset.Render(ctx, imageset.Options{Config: imageset.ForPlatform(cfg, selected[0]), Console: c})
	if err != nil {
		return true, err
	}
	defer rendered.Close()
	s := rendered.First()
	switch {
	case cfg.TemplateOnly:
		if err := render.CheckPatchesPath(cfg); err != nil {
			return true, err
		}
		if err := checkWorkDir(cfg); err != nil {
			return true, err
		}
		var dir string
		if dir, err = s.Write(cfg.WorkDir); err == nil {
			c.Notice("Dockerfiles are generated in %s", dir)
		}
		err = cfg.UsageIfUnreadable("work-dir", err)
	case cfg.SaveDependency != "":
		err = saveDependency(cfg.SaveDependency, s, c)
	case cfg.ListImages:
		noticeUnlisted(c, rendered.LeftOut(), cfg.Debug)
		err = s.Selection.WriteList(c.Stdout)
	default:
		err = s.Selection.WriteDependencies(c.Stdout)
	}
	return true, cmp.Or(err, s.Mistakes())
}

// checkWorkDir returns an error if the Dockerfiles, which are written to the directory docker
// in the working directory, would be written into a template tree.
func checkWorkDir(cfg *config.Config) error {
	for _, tree := range append([]string{cfg.ImagesDir}, cfg.DockerDir...) {
		info, err := os.Stat(tree)
		if tree == "" || err != nil {
			continue
		}
		for _, dir := range []string{cfg.WorkDir, filepath.Join(cfg.WorkDir, "docker")} {
			if other, err := os.Stat(dir); cfg.WorkDir != "" && err == nil && os.SameFile(info, other) {
				return cfg.Mistake("work-dir", "name another directory",
					fmt.Sprintf("Dockerfiles would be written into the templates in %s", tree))
			}
		}
	}
	return nil
}

// maxUnlisted is how many images that cannot be built are named without --debug.
const maxUnlisted = 3

// noticeUnlisted prints which requested images cannot be built, and why.
func noticeUnlisted(c *console.Console, leftOut []imageset.LeftOut, all bool) {
	leftOut = slices.DeleteFunc(slices.Clone(leftOut),
		func(im imageset.LeftOut) bool { return im.Status != graph.Unbuildable || !im.Requested })
	if len(leftOut) > maxUnlisted && !all {
		c.Notice("not listed: %s that cannot be built, such as %s (%s); add --debug for all of them",
			units.Count(len(leftOut), "image"), leftOut[0].Image, strings.TrimPrefix(leftOut[0].Reason, "cannot be built: "))
		return
	}
	for _, im := range leftOut {
		c.Notice("not listed: %s: %s", im.Image, im.Reason)
	}
}

func saveDependency(path string, s *imageset.Set, c *console.Console) error {
	if path == "-" {
		return s.Selection.WriteDependencyGraph(c.Stdout, path)
	}
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return usererr.Errorf("name a file in it, such as "+filepath.Join(path, "images.dot"),
			"--save-dependency %s: it is a directory", path)
	}
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		// Pipes and /dev/stdout are written to instead of being replaced, as upstream
		// does.
		err = atomicfile.Output(path, atomicfile.Options{}, func(w io.Writer) error {
			return s.Selection.WriteDependencyGraph(w, path)
		})
	}
	if err != nil {
		return fmt.Errorf("writing the images' dependencies: %w", err)
	}
	c.Notice("the dependencies of the images are saved in %s", path)
	return nil
}
