package inputs

import (
	"cmp"
	"fmt"
	"html"
	"maps"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/pkg/lock"
)

var separators = regexp.MustCompile(`[-_.]+`)

// projectName returns the normalized name of a Python project, by PEP 503.
func projectName(name string) string { return strings.ToLower(separators.ReplaceAllString(name, "-")) }

// isPython reports whether a URL is a package file of a Python index.
func isPython(location string) bool {
	u, err := url.Parse(location)
	if err != nil {
		return false
	}
	return strings.HasSuffix(u.Path, ".whl") || strings.HasSuffix(u.Path, ".tar.gz") || strings.HasSuffix(u.Path, ".zip")
}

// writePythonIndex writes an index (PEP 503) of the Python packages, with links to the
// mirror beside it.
func (f *fetcher) writePythonIndex() error {
	projects := map[string][]item{}
	for _, it := range f.items {
		if name, _, ok := lock.PackageOf(it.url); ok && isPython(it.url) && strings.HasPrefix(it.path, "mirror/") {
			projects[projectName(name)] = append(projects[projectName(name)], it)
		}
	}
	if len(projects) == 0 {
		return nil
	}
	var index strings.Builder
	index.WriteString(pageHead)
	for _, name := range slices.Sorted(maps.Keys(projects)) {
		fmt.Fprintf(&index, "<a href=\"%s/\">%s</a><br>\n", url.PathEscape(name), html.EscapeString(name))
		files := projects[name]
		slices.SortFunc(files, func(a, b item) int { return cmp.Compare(path.Base(a.path), path.Base(b.path)) })
		var page strings.Builder
		page.WriteString(pageHead)
		for _, it := range files {
			link := (&url.URL{Path: "../../../" + it.path, Fragment: "sha256=" + it.digest.Encoded()}).String()
			fmt.Fprintf(&page, "<a href=\"%s\">%s</a><br>\n", html.EscapeString(link), html.EscapeString(path.Base(it.path)))
		}
		if err := f.writePage(path.Join("python/simple", name), page.String()); err != nil {
			return err
		}
	}
	return f.writePage("python/simple", index.String())
}

const pageHead = "<!DOCTYPE html>\n<meta name=\"pypi:repository-version\" content=\"1.0\">\n"

func (f *fetcher) writePage(dir, text string) error {
	if err := f.root.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	page := path.Join(dir, "index.html")
	f.pages = append(f.pages, page)
	if err := f.fetched.add(page); err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(f.Dir, page), []byte(text), atomicfile.Options{Mode: 0o644})
}
