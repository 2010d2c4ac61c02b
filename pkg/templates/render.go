package templates

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

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/render"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// Render prints one rendered template without additions: a file, or the Dockerfile of
// an image of the tree as in a build.
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
		return usererr.Usage(
			usererr.Errorf("kolla-build render IMAGE --template-override FILE shows the effect of an override",
				"--template-override is for images of the tree, and %s is not one", opts.Template))
	}
	if opts.Repos, opts.ReposName, err = imageset.Repos(); err != nil {
		return err
	}
	opts.Version, opts.Env = c.Version, imageset.Environment(c)
	text, undefined, err := render.RenderFile(ctx, opts)
	warnUndefined(c, undefined)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && usererr.Hint(err) == "" {
			hint := suggest.DidYouMean(opts.Template, imageset.Names(cfg))
			err = usererr.WithHint(err,
				cmp.Or(hint, "kolla-build render IMAGE renders an image of the tree; kolla-build --list-images lists them"))
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

// warnUndefined warns of values that a template uses, and that do not exist.
func warnUndefined(c *console.Console, undefined []render.Finding) {
	for _, f := range render.SortFindings(undefined) {
		c.Notice("%s", f.Notice())
	}
}

// renderImage prints the Dockerfile of an image of the tree.
func renderImage(ctx context.Context, cfg *config.Config, c *console.Console, tree *render.Tree, name string) error {
	normalized := *cfg
	normalized.BaseImage = define.BaseImageName(cfg.BaseImage, cfg.Base)
	if err := workspace.NormalizeNames(&normalized, c); err != nil {
		return err
	}
	files, err := render.Render(ctx, render.Options{
		Tree:    tree,
		Config:  &normalized,
		Env:     imageset.Environment(c),
		Version: c.Version,
	})
	if files == nil {
		return err
	}
	for _, f := range files {
		if f.Name == name && f.Err != nil {
			return f.Err
		}
		if f.Name == name {
			warnUndefined(c, f.Undefined)
			_, err = c.Stdout.Write(f.Content)
			return err
		}
	}
	return fmt.Errorf("rendering %s: the tree has no Dockerfile of it", name)
}
