package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/containerd/platforms"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// Show does what needs no builder: --template-only, --list-images,
// --list-dependencies and --save-dependency. It reports whether one of them was
// given. Of several platforms it shows the first.
func Show(ctx context.Context, cfg *config.Config, c *console.Console) (bool, error) {
	if !cfg.TemplateOnly && !cfg.ListImages && !cfg.ListDependencies && cfg.SaveDependency == "" {
		return false, nil
	}
	normalized := *cfg
	cfg = &normalized
	if err := normalizeNames(cfg, c); err != nil {
		return true, err
	}
	all, err := imageset.Platforms(cfg)
	if err != nil {
		return true, err
	}
	if len(all) > 1 {
		c.Notice("of several platforms this is %s", platforms.Format(all[0]))
	}
	rendered, err := imageset.Render(ctx, imageset.Options{Config: imageset.ForPlatform(cfg, all[0]), Console: c})
	if err != nil {
		return true, err
	}
	defer rendered.Close()
	s := rendered.First()
	switch {
	case cfg.TemplateOnly:
		if err := checkPatches(cfg); err != nil {
			return true, err
		}
		var dir string
		if dir, err = s.Write(cfg.WorkDir); err == nil {
			c.Notice("Dockerfiles are generated in %s", dir)
		}
	case cfg.SaveDependency != "":
		err = saveDependency(cfg.SaveDependency, s, c)
	case cfg.ListImages:
		for _, im := range rendered.LeftOut() {
			if im.Status == graph.Unbuildable && im.Requested {
				c.Notice("not listed: %s: %s", im.Image, im.Reason)
			}
		}
		err = s.Selection.WriteList(c.Stdout)
	default:
		err = s.Selection.WriteDependencies(c.Stdout)
	}
	return true, cmp.Or(err, s.Mistakes())
}

func saveDependency(path string, s *imageset.Set, c *console.Console) error {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return usererr.Errorf("name a file in it, such as "+filepath.Join(path, "images.dot"), "--save-dependency %s: it is a directory", path)
	}
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		// A pipe or /dev/stdout is written to, as upstream does, not replaced.
		err = atomicfile.Output(path, atomicfile.Options{}, func(w io.Writer) error { return s.Selection.WriteDependencyGraph(w, path) })
	}
	if err != nil {
		return fmt.Errorf("writing the images' dependencies: %w", err)
	}
	c.Notice("Container images dependency are saved in %s", path)
	return nil
}

// Render prints one rendered template, with nothing added: a file, or the Dockerfile of
// an image of the tree as a build makes it.
func Render(ctx context.Context, cfg *config.Config, c *console.Console, opts render.FileOptions) error {
	tree, err := imageset.OpenTree(cfg)
	if err != nil {
		return err
	}
	defer tree.Close()
	if name := treeImage(tree, opts.Template); name != "" {
		if opts.Parent != "" || opts.VarsFile != "" || len(opts.Search)+len(opts.Set)+len(opts.SetJSON) > 0 {
			return usererr.Usage(usererr.Errorf("an override changes it: --template-override FILE",
				"%s is an image of the tree: --search, --parent, --vars, --set and --set-json are for template files", name))
		}
		return renderImage(ctx, cfg, c, tree, name)
	}
	if len(cfg.TemplateOverride) > 0 && cfg.Origin("template-override").Kind == config.OriginFlag {
		return usererr.Usage(usererr.Errorf("kolla-build render IMAGE --template-override FILE shows what an override makes of an image",
			"--template-override is for images of the tree, and %s is none", opts.Template))
	}
	if opts.Repos, opts.ReposName, err = imageset.Repos(); err != nil {
		return err
	}
	opts.Version, opts.Env = c.Version, imageset.Environment(c)
	text, err := render.RenderFile(ctx, opts)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && usererr.Hint(err) == "" {
			hint := suggest.DidYouMean(opts.Template, imageset.Names(cfg))
			err = usererr.WithHint(err, cmp.Or(hint, "kolla-build render IMAGE renders an image of the tree; kolla-build --list-images lists them"))
		}
		return err
	}
	_, err = io.WriteString(c.Stdout, text)
	return err
}

// treeImage returns the image that an argument of render names, as IMAGE or
// IMAGE/Dockerfile.j2, "" if there is a file of that name or no such image.
func treeImage(tree *render.Tree, template string) string {
	if st, err := os.Stat(template); err == nil && !st.IsDir() {
		return ""
	}
	dir := strings.TrimSuffix(strings.TrimSuffix(filepath.ToSlash(template), "/"), "/Dockerfile.j2")
	for _, im := range tree.Images() {
		if im == dir || path.Base(im) == dir {
			return path.Base(im)
		}
	}
	return ""
}

// renderImage prints the Dockerfile of an image of the tree.
func renderImage(ctx context.Context, cfg *config.Config, c *console.Console, tree *render.Tree, name string) error {
	normalized := *cfg
	if err := normalizeNames(&normalized, c); err != nil {
		return err
	}
	files, err := render.Render(ctx, render.Options{Tree: tree, Config: &normalized, Env: imageset.Environment(c), Version: c.Version})
	if files == nil {
		return err
	}
	for _, f := range files {
		if f.Name == name && f.Err != nil {
			return f.Err
		}
		if f.Name == name {
			_, err = c.Stdout.Write(f.Content)
			return err
		}
	}
	return fmt.Errorf("rendering %s: the tree has no Dockerfile of it", name)
}
