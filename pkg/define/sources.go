package define

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/source"
)

// archiver fetches the sources of images that the configuration describes: those
// of the image's section, of its plugins and of its additions.
type archiver struct {
	cfg     *config.Config
	fetcher *source.Fetcher
}

// newArchiver makes an archiver; an offline one uses only the cache and provided
// archives.
func newArchiver(cfg *config.Config, opts Options) (*archiver, error) {
	mirrors := map[string][]string{}
	if cfg.TarballsBase != "" && len(cfg.TarballsMirrors) > 0 {
		for _, m := range cfg.TarballsMirrors {
			mirrors[cfg.TarballsBase+"/"] = append(mirrors[cfg.TarballsBase+"/"], strings.TrimSuffix(m, "/")+"/")
		}
	}
	retries := cfg.Retries
	if retries == 0 {
		retries = -1 // none; 0 is the fetcher's default
	}
	f, err := source.New(source.Options{
		Mirrors:    mirrors,
		CacheDir:   filepath.Join(cfg.DataDir, "sources"),
		Arch:       cfg.DebianArch,
		LocalsBase: cfg.LocalsBase,
		Retries:    retries,
		MaxElapsed: time.Duration(cfg.RetryTime) * time.Second,
		Timeout:    time.Duration(cfg.Timeout) * time.Second,
		UserAgent:  "kolla-build/" + opts.Console.Version,
		Offline:    opts.Offline,
		Provided:   opts.Provided,
	})
	return &archiver{cfg: cfg, fetcher: f}, err
}

// archives returns the archives of an image; wants selects them by name.
func (a *archiver) archives(
	ctx context.Context, image string, entries []source.ContextEntry, wants func(string) bool,
) ([]source.File, error) {
	archive := image + "-archive"
	if !wants(archive) && !wants("plugins-archive") && !wants("additions-archive") {
		return nil, nil
	}
	req := source.Request{Image: image, Wants: wants, Context: entries}
	if s, ok := a.cfg.Sources[image]; ok && s.Type != "" && wants(archive) {
		spec, err := a.spec(image)
		if err != nil {
			return nil, err
		}
		req.Source = &spec
	}
	for _, name := range slices.Sorted(maps.Keys(a.cfg.Sources)) {
		list := &req.Plugins
		switch {
		case strings.HasPrefix(name, image+"-plugin-"):
		case strings.HasPrefix(name, image+"-additions-"):
			list = &req.Additions
		default:
			continue
		}
		if !a.cfg.Sources[name].Enabled {
			continue
		}
		spec, err := a.spec(name)
		if err != nil {
			return nil, err
		}
		*list = append(*list, spec)
	}
	return a.fetcher.Archives(ctx, req)
}

func (a *archiver) spec(name string) (source.Spec, error) {
	s, err := a.cfg.ExpandSource(name, nil)
	if err != nil {
		return source.Spec{}, fmt.Errorf("[%s]: %w", name, err)
	}
	return source.Spec{Name: s.Name, Type: s.Type, Location: s.Location, Reference: s.Reference,
		Version: s.Version, Enabled: s.Enabled, SHA256: s.SHA256, Mirrors: s.Mirrors}, nil
}
