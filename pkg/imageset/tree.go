package imageset

import (
	"io/fs"
	"path"
	"slices"

	"github.com/kolla-build/kolla-build/dockerfiles"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// OpenTree opens the configuration's template tree: --images-dir or the built-in
// templates, with each --docker-dir over them. The tree must be closed.
func OpenTree(cfg *config.Config) (*render.Tree, error) {
	repos, name, err := Repos()
	if err != nil {
		return nil, err
	}
	opts := render.TreeOptions{Repos: repos, ReposName: name}
	first := render.Layer{Name: "the built-in templates", FS: dockerfiles.Tree()}
	if cfg.ImagesDir != "" {
		if first, err = render.DirLayer(cfg.ImagesDir); err != nil {
			return nil, cfg.UsageIfUnreadable("images-dir", err)
		}
	}
	opts.Layers = append(opts.Layers, first)
	for _, dir := range cfg.DockerDir {
		l, err := render.DirLayer(dir)
		if err != nil {
			return nil, cfg.UsageIfUnreadable("docker-dir", err)
		}
		opts.Layers = append(opts.Layers, l)
	}
	return render.OpenTree(opts)
}

// Repos returns the built-in repos.yaml and its name in messages.
func Repos() (content []byte, name string, err error) {
	content, err = fs.ReadFile(dockerfiles.Tree(), "repos.yaml")
	return content, "the built-in repos.yaml", err
}

// Names returns the names of the images of the configuration's template tree,
// sorted, without rendering them; none if the tree cannot be read.
func Names(cfg *config.Config) []string {
	tree, err := OpenTree(cfg)
	if err != nil {
		return nil
	}
	defer tree.Close()
	var names []string
	for _, dir := range tree.Images() {
		names = append(names, path.Base(dir))
	}
	slices.Sort(names)
	return names
}
