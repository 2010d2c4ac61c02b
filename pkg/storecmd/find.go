package storecmd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// query selects named images of the store. Empty fields do not restrict it.
type query struct {
	patterns                 []string // regular expressions for the last component of the repository
	registry, namespace, tag string
	builtOnly                bool // no base images
}

// selection returns the query for the images that the command line names: by
// regular expressions, and by registry, namespace and tag as far as they are set.
func selection(cfg *config.Config, con *console.Console) (query, error) {
	naming, notes, err := workspace.Naming(cfg).Normalize()
	if err != nil {
		return query{}, err
	}
	for _, note := range notes {
		con.Notice("%s", note)
	}
	q := query{patterns: cfg.Regex}
	if cfg.IsSet("registry") {
		q.registry = naming.Registry
	}
	if cfg.IsSet("namespace") {
		q.namespace = naming.Namespace
	}
	if cfg.IsSet("tag") {
		q.tag = naming.Tag
	}
	return q, nil
}

func (q query) matches(e store.Entry) bool {
	repository, tag, _ := imageref.Split(e.Name)
	parent, _, _ := cutLast(repository, "/")
	switch {
	case e.Name == "", q.builtOnly && e.Kind == store.KindBase:
		return false
	case q.tag != "" && tag != q.tag:
		return false
	case q.registry != "" && !strings.HasPrefix(repository, q.registry+"/"):
		return false
	}
	return q.namespace == "" || parent == q.namespace || strings.HasSuffix(parent, "/"+q.namespace)
}

// find returns the images that a query selects, sorted by name. Patterns that
// match no image at all are an error.
func find(s *store.Store, q query) ([]store.Entry, error) {
	all, err := s.Entries()
	if err != nil {
		return nil, err
	}
	patterns, err := imageset.CompilePatterns(q.patterns)
	if err != nil {
		return nil, err
	}
	var found []store.Entry
	matched := 0
	for _, e := range all {
		if e.Name == "" || q.builtOnly && e.Kind == store.KindBase {
			continue
		}
		ok, err := patterns.Match(ShortName(e.Name))
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		matched++
		if q.matches(e) {
			found = append(found, e)
		}
	}
	if matched == 0 && len(q.patterns) > 0 {
		return nil, usererr.Errorf("kolla-build images lists what is stored", "no image in %s matches %q", s.Dir(), q.patterns)
	}
	return found, nil
}

// ShortName returns an image's name without registry, namespace, tag and digest:
// what regular expressions match.
func ShortName(reference string) string {
	repository, _, _ := imageref.Split(reference)
	_, name, _ := cutLast(repository, "/")
	return name
}

// cutLast cuts s around the last separator. Without one, all of s is after it.
func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(separator):], true
}

// Names returns the short names of the images in the store, sorted, each once. It
// returns none if there is no store, which it does not create.
func Names(cfg *config.Config) []string {
	if _, err := os.Stat(filepath.Join(workspace.StoreDir(cfg), "oci-layout")); err != nil {
		return nil
	}
	s, err := workspace.OpenStoreForReading(cfg)
	if err != nil {
		return nil
	}
	defer s.Close()
	entries, err := find(s, query{})
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, ShortName(e.Name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
