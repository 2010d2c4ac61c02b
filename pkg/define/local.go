package define

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/containerd/platforms"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bootstrap"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/kolla-build/kolla-build/pkg/render"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// BaseImageName returns the name of a --base-image in FROM lines: the image itself, or
// a generated name for an archive or a layout.
func BaseImageName(baseImage, distro string) string {
	if _, _, ok := localBase(baseImage); ok {
		return "kolla-build.local/" + distro
	}
	return baseImage
}

// importFile imports a base image that is an archive or a layout into the store,
// under the name that BaseImageName gave it.
func (b *bases) importFile(ctx context.Context) error {
	path, name, ok := localBase(b.BaseImage)
	if !ok || b.Offline {
		return nil
	}
	opts := bootstrap.ImportOptions{Name: name}
	if b.cfg.Platform != "" {
		opts.Platform = platforms.Format(b.platform)
	}
	e, err := bootstrap.Import(ctx, b.Store, path, opts)
	if err != nil {
		err = fmt.Errorf("base image %s: %w", b.BaseImage, err)
		if errors.Is(err, fs.ErrNotExist) {
			hint := cmp.Or(usererr.Hint(err),
				"oci:DIR[:NAME] is the path of an OCI layout, FILE.tar that of an archive or a root file system")
			err = b.cfg.UsageIfTyped("base-image", usererr.WithHint(err, hint))
		}
		return err
	}
	return b.Store.Put(store.Entry{Name: nameFor(b.Store, render.BaseReference(b.cfg), b.platform), Digest: e.Digest,
		Kind: store.KindBase, Origin: path})
}

// localBase splits a --base-image that is a path: oci:DIR[:NAME] or an archive.
func localBase(image string) (path, name string, ok bool) {
	if rest, isLayout := strings.CutPrefix(image, "oci:"); isLayout {
		// The name may contain colons: it starts after the first one that follows the
		// directory's last slash.
		i := strings.LastIndexByte(rest, '/')
		if j := strings.IndexByte(rest[i+1:], ':'); j >= 0 {
			return rest[:i+1+j], rest[i+1+j+1:], true
		}
		return rest, "", true
	}
	if strings.HasPrefix(image, "/") || strings.HasPrefix(image, "./") || strings.HasPrefix(image, "../") {
		return image, "", true // names of repositories cannot start like this
	}
	switch filepath.Ext(image) {
	case ".tar", ".tgz", ".gz", ".xz", ".zst":
		return image, "", true
	}
	return "", "", false
}

// CheckBaseOptions finds values of --base-image and --base-mirror that can never be used.
func CheckBaseOptions(cfg *config.Config) error {
	path, _, local := localBase(cfg.BaseImage)
	if local && path == "" {
		return cfg.Mistake("base-image", "oci:DIR[:NAME] is the path of an OCI layout", "the path is empty")
	}
	if !local && cfg.BaseImage != "" {
		if _, err := dockerfile.FamiliarName(cfg.BaseImage); err != nil {
			return cfg.Mistake("base-image", "write NAME or HOST/NAME, and the tag with --base-tag; oci:DIR is an OCI layout",
				err.Error())
		}
	}
	if err := bootstrap.CheckMirror(cfg.BaseMirror); err != nil {
		return cfg.Mistake("base-mirror", usererr.Hint(err), err.Error())
	}
	return nil
}

// Bootstrap makes a base image from a package mirror and stores it as ref.
func Bootstrap(ctx context.Context, s *store.Store, c *console.Console, opts bootstrap.Options, ref string) (
	store.Entry, error) {
	if opts.Progress == nil {
		lines := c.Lines()
		defer lines.Close()
		opts.Progress = lines
	}
	if strings.Contains(ref, "@") {
		opts.Name = ref // the plain name belongs to an image for another platform
	}
	e, err := bootstrap.Bootstrap(ctx, s, opts)
	if err != nil {
		return store.Entry{}, err
	}
	if e.Name != ref {
		if err := s.Tag(ref, e.Digest); err != nil {
			return store.Entry{}, err
		}
	}
	entry, _, err := s.Lookup(ref)
	return entry, err
}
