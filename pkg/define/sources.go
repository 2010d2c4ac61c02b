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
		Scratch:    opts.Scratch,
		Provided:   opts.Provided,
		Warn:       func(text string) { opts.Console.Notice("warning: %s", text) },
	})
	return &archiver{cfg: cfg, fetcher: f}, err
}

// CheckMirrors finds values of --tarballs-mirrors that can never be used.
func CheckMirrors(cfg *config.Config) error {
	for _, mirror := range cfg.TarballsMirrors {
		// They are for sources of type url only, unlike the base.
		if err := source.CheckURL(mirror); err != nil {
			return cfg.Mistake("tarballs-mirrors", "such as https://mirror.example/tarballs or file:///srv/tarballs",
				err.Error())
		}
	}
	return nil
}

// archives returns the archives of an image; wants selects them by name.
func (a *archiver) archives(
	ctx context.Context, image string, entries []source.ContextEntry, wants func(string) bool,
) ([]source.File, error) {
	req, err := archiveRequest(a.cfg, image, wants)
	if err != nil || len(req.Names()) == 0 {
		return nil, err
	}
	req.Context = entries
	return a.fetcher.Archives(ctx, req)
}

// archiveRequest returns the sources that the configuration has for an image. It fetches
// nothing, so that Check knows from it which archives a build has.
func archiveRequest(cfg *config.Config, image string, wants func(string) bool) (source.Request, error) {
	req := source.Request{Image: image, Wants: wants}
	if !wants(image+"-archive") && !wants("plugins-archive") && !wants("additions-archive") {
		return req, nil
	}
	if s, ok := cfg.Sources[image]; ok && s.Type != "" && wants(image+"-archive") {
		spec, err := sourceSpec(cfg, image)
		if err != nil {
			return req, err
		}
		req.Source = &spec
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Sources)) {
		list := &req.Plugins
		switch {
		case strings.HasPrefix(name, image+"-plugin-"):
		case strings.HasPrefix(name, image+"-additions-"):
			list = &req.Additions
		default:
			continue
		}
		if !cfg.Sources[name].Enabled {
			continue
		}
		spec, err := sourceSpec(cfg, name)
		if err != nil {
			return req, err
		}
		*list = append(*list, spec)
	}
	return req, nil
}

// sourceDisabled reports whether the configuration describes a source of an image and disables it.
func sourceDisabled(cfg *config.Config, image string) bool {
	s, ok := cfg.Sources[image]
	return ok && s.Type != "" && !s.Enabled
}

func sourceSpec(cfg *config.Config, name string) (source.Spec, error) {
	s, err := cfg.ExpandSource(name, nil)
	if err != nil {
		return source.Spec{}, fmt.Errorf("[%s]: %w", name, err)
	}
	return source.Spec{Name: s.Name, Type: s.Type, Location: s.Location, Reference: s.Reference,
		Version: s.Version, Enabled: s.Enabled, SHA256: s.SHA256, Mirrors: s.Mirrors}, nil
}
