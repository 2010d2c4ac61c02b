package storecmd

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// query selects named images of the store. Empty fields do not restrict it.
type query struct {
	patterns                 []string // regular expressions, as matcher describes
	registry, namespace, tag string
	builtOnly                bool // no base images
}

// selection returns the query for the images that the command line names: by
// regular expressions, and by registry, namespace and tag as far as they are set.
func selection(cfg *config.Config, con *console.Console) (query, error) {
	naming, err := workspace.NormalNaming(cfg, con)
	if err != nil {
		return query{}, err
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

// limits describes which images are selected by their names' parts, "" for all.
func (q query) limits() string {
	s := ""
	for _, part := range [][2]string{{"registry", q.registry}, {"namespace", q.namespace}, {"tag", q.tag}} {
		if part[1] != "" {
			s += " of " + part[0] + " " + part[1]
		}
	}
	return s
}

func (q query) matches(e store.Entry) bool {
	repository, tag, _ := imageref.Split(e.Name)
	parent, _ := cutLast(repository, "/")
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
	match, err := matcher(q.patterns)
	if err != nil {
		return nil, err
	}
	var found []store.Entry
	matched := 0
	for _, e := range all {
		if e.Name == "" || q.builtOnly && e.Kind == store.KindBase {
			continue
		}
		ok, err := match(e.Name)
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
		hint := cmp.Or(suggest.DidYouMeanAny(suggest.Near(strings.Trim(q.patterns[0], "^$.*-"), shortNames(all), 3)),
			"an expression is matched with a name such as "+exampleName(all)+", with the tag too if it contains a colon, "+
				"and with the whole name if it contains a slash; kolla-build images lists the whole names")
		return nil, usererr.Usage(usererr.Errorf(hint, "no image in %s matches %s", s.Dir(), quoteAll(q.patterns)))
	}
	return found, nil
}

// exampleName returns the short name of an image, if there is one.
func exampleName(entries []store.Entry) string {
	return slices.Concat(shortNames(entries), []string{"nova-api"})[0]
}

// groupColon is a colon that is part of a regular expression's own syntax.
var groupColon = regexp.MustCompile(`\(\?[a-zA-Z-]*:|\[\^?:|:\]`)

// matcher returns a function that reports whether one of the patterns matches the name
// of an image. A pattern is matched against the last component of the repository. One
// with a colon is matched against that component with its tag, and one with a slash or
// a colon against the whole name: app, app:v3, kolla/app:v3.
func matcher(exprs []string) (func(name string) (bool, error), error) {
	var short, tagged, whole []string
	for _, expr := range exprs {
		switch plain := groupColon.ReplaceAllString(expr, ""); {
		case strings.Contains(plain, ":"):
			tagged, whole = append(tagged, expr), append(whole, expr)
		case strings.Contains(plain, "/"):
			whole = append(whole, expr)
		default:
			short = append(short, expr)
		}
	}
	type subject struct {
		patterns *imageset.Patterns
		of       func(name string) string
	}
	var subjects []subject
	for _, s := range []struct {
		exprs []string
		of    func(string) string
	}{{short, shortName}, {tagged, taggedName}, {whole, func(name string) string { return name }}} {
		if len(s.exprs) == 0 {
			continue
		}
		patterns, err := imageset.CompilePatterns(s.exprs)
		if err != nil {
			return nil, usererr.Usage(err)
		}
		subjects = append(subjects, subject{patterns, s.of})
	}
	return func(name string) (bool, error) {
		for _, s := range subjects {
			if ok, err := s.patterns.Match(s.of(name)); ok || err != nil {
				return ok, err
			}
		}
		return len(exprs) == 0, nil
	}, nil
}

func quoteAll(patterns []string) string {
	var all []string
	for _, p := range patterns {
		all = append(all, strconv.Quote(p))
	}
	return strings.Join(all, ", ")
}

// taggedName returns an image's name with its tag and without registry and namespace.
func taggedName(reference string) string {
	_, name := cutLast(reference, "/")
	return name
}

// shortNames returns the short names of the entries that have names, sorted, each once.
func shortNames(entries []store.Entry) []string {
	var names []string
	for _, e := range entries {
		if e.Name != "" {
			names = append(names, shortName(e.Name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// shortName returns an image's name without registry, namespace, tag and digest:
// what regular expressions match.
func shortName(reference string) string {
	repository, _, _ := imageref.Split(reference)
	_, name := cutLast(repository, "/")
	return name
}

// cutLast cuts s around the last separator. Without one, all of s is after it.
func cutLast(s, separator string) (before, after string) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return "", s
	}
	return s[:i], s[i+len(separator):]
}

// Names returns the short names of the images in the store, sorted, each once. It
// returns none if there is no store, which it does not create.
func Names(cfg *config.Config) []string {
	if cfg.DataDir == "" {
		return nil
	}
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
	return shortNames(entries)
}

// FindBuilt returns the built images of the store whose short names an expression matches, ""
// for all, as far as the configuration sets registry, namespace and tag.
func FindBuilt(s *store.Store, cfg *config.Config, con *console.Console, pattern string) ([]store.Entry, error) {
	q, err := selection(cfg, con)
	if err != nil {
		return nil, err
	}
	q.builtOnly = true
	q.patterns = nil
	if pattern != "" {
		q.patterns = []string{pattern}
	}
	return find(s, q)
}
