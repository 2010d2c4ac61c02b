// Package inputs owns directories with all inputs of a lock, in the layout of a package
// mirror, Python index, source mirror and OCI layout. It fills them, and reads them for
// builds without a network. It must not know how images are built.
//
//	DIR/kolla-build.lock              lists the content of the directory
//	DIR/mirror/HOST/PATH              files of package repositories, by their URLs
//	DIR/python/simple/PROJECT/        a Python index (PEP 503) of the files in mirror
//	DIR/sources/SECTION-DIGEST        archives that are not from a URL
//	DIR/other/DIGEST                  files whose URL cannot be a path
//	DIR/oci/                          base images
//	DIR/.fetched                      the files that fetch wrote, and may remove
//	DIR/.lock                         is locked while fetch writes or a build reads
//
// A directory from elsewhere is untrusted: nothing outside of it is read, and only
// files with the digest in the lock are used.
package inputs

import (
	"cmp"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/lock"
)

// item is a file of a directory of inputs.
type item struct {
	path        string
	digest      digest.Digest
	size        int64
	modified    time.Time
	url         string   // "" for one that cannot be downloaded by URL
	description string   // for messages
	images      []string // images that need it; nil for all
}

// itemsOf returns the files of a lock with their paths. It depends on the lock alone.
func itemsOf(l *lock.Lock) []item {
	var items []item
	for _, f := range l.Files {
		items = append(items, item{path: urlPath(f.URL), digest: f.Digest, size: f.Size, modified: f.Modified, url: f.URL,
			description: f.URL, images: f.Images})
	}
	for _, s := range l.Sources {
		it := item{digest: s.Digest, size: s.Size, modified: s.Modified, description: "the source of [" + s.Section + "]"}
		if s.Type == "url" && (strings.HasPrefix(s.Location, "http://") || strings.HasPrefix(s.Location, "https://")) {
			it.path, it.url = urlPath(s.Location), s.Location
		} else {
			it.path = path.Join("sources", strings.ReplaceAll(s.Section, "/", "_")+"-"+s.Digest.Encoded()[:16])
		}
		items = append(items, it)
	}
	// A path is used for one file only, and not for a directory.
	byPath, dirs := map[string]digest.Digest{}, map[string]bool{}
	for _, it := range items {
		for d := path.Dir(it.path); d != "."; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	for i := range items {
		it := &items[i]
		if existing, used := byPath[it.path]; it.path == "" || dirs[it.path] || used && existing != it.digest {
			it.path = path.Join("other", it.digest.Encoded())
		}
		byPath[it.path] = it.digest
	}
	return items
}

// maxSegment is the length of the longest file name, in bytes.
const maxSegment = 255

// urlPath returns the path of a URL's file, "" if it cannot be a path. It is the path
// that a web server of the directory has for the URL.
func urlPath(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return ""
	}
	segments := []string{strings.ReplaceAll(u.Host, ":", "_")}
	segments = append(segments, strings.Split(strings.TrimPrefix(u.Path, "/"), "/")...)
	last := len(segments) - 1
	if segments[last] == "" {
		segments[last] = "index.html"
	}
	if u.RawQuery != "" {
		segments[last] += "?" + strings.ReplaceAll(u.RawQuery, "/", "%2F")
	}
	badRune := func(r rune) bool { return r == '/' || r == '\\' || !unicode.IsPrint(r) }
	for _, s := range segments {
		if s == "" || s == "." || s == ".." || len(s) > maxSegment || strings.ContainsFunc(s, badRune) {
			return ""
		}
	}
	return path.Join(append([]string{"mirror"}, segments...)...)
}

// distinct returns the items with each path once, sorted by path.
func distinct(items []item) []item {
	items = slices.Clone(items)
	slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(a.path, b.path) })
	return slices.CompactFunc(items, func(a, b item) bool { return a.path == b.path })
}
