package packages

import (
	"bufio"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/apt"
)

// aptIndex reads the release file of a suite: InRelease, or Release without it.
func (c *Client) aptIndex(ctx context.Context, repo Repository, at string) (*Index, error) {
	dir := at + "/dists/" + repo.Suite
	flat := strings.HasSuffix(repo.Suite, "/")
	if flat {
		dir = strings.TrimRight(at+"/"+path.Clean("/" + repo.Suite)[1:], "/")
	}
	text, err := c.get(ctx, dir+"/InRelease")
	if isNotFound(err) {
		text, err = c.get(ctx, dir+"/Release")
	}
	if isNotFound(err) {
		return nil, errors.New("the server has neither InRelease nor Release")
	}
	if err != nil {
		return nil, err
	}
	ix := &Index{}
	apt.Paragraphs(text, []string{"sha256"}, func(p apt.Paragraph) {
		if p["sha256"] != "" {
			ix.release = p
		}
	})
	if ix.release == nil {
		return nil, errors.New(
			"the release file has no SHA256 sums: the server is not a package archive, or a proxy answered in its place")
	}
	sums := map[string]string{} // by path
	for line := range strings.Lines(ix.release["sha256"]) {
		if f := strings.Fields(line); len(f) == 3 && len(f[0]) == 64 {
			sums[path.Clean(f[2])] = f[0]
		}
	}
	delete(ix.release, "sha256") // long, and no longer needed
	byHash := ix.release["acquire-by-hash"] == "yes"
	for _, name := range aptLists(repo, ix.release, flat) {
		var l list
		for _, ext := range []string{".gz", ".zst", ".xz", ".bz2", ""} {
			sum, ok := sums[name+ext]
			if !ok {
				continue
			}
			f := listFile{sum: sum, name: name + ext}
			if byHash {
				// The plain name may belong to a newer file by the time it is requested.
				f.urls = append(f.urls, dir+"/"+path.Join(path.Dir(name), "by-hash/SHA256", sum))
			}
			f.urls = append(f.urls, dir+"/"+name+ext)
			l = append(l, f)
		}
		if l != nil {
			ix.lists = append(ix.lists, l)
		}
	}
	return ix, nil
}

// aptLists returns the paths of the lists of packages of a repository, relative to
// its suite.
func aptLists(r Repository, release map[string]string, flat bool) []string {
	if flat {
		return []string{"Packages"}
	}
	// Like apt: packages for all architectures have their own list only in archives
	// that have "all" among their architectures.
	arches := []string{r.Arch}
	if slices.Contains(strings.Fields(release["architectures"]), "all") &&
		!strings.Contains(release["no-support-for-architecture-all"], "Packages") {
		arches = append(arches, "all")
	}
	var out []string
	for _, component := range r.Components {
		for _, a := range arches {
			out = append(out, path.Join(component, "binary-"+a, "Packages"))
		}
	}
	return out
}

// readPackages adds the packages in a Packages file to versions.
func readPackages(r io.Reader, arch string, versions map[string][]string) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), 16<<20)
	name, version, packageArch := "", "", ""
	endParagraph := func() error {
		defer func() { name, version, packageArch = "", "", "" }()
		if name != "" && version != "" && (packageArch == arch || packageArch == "all") {
			return addVersion(versions, name, version)
		}
		return nil
	}
	for sc.Scan() {
		line := sc.Bytes()
		if len(line) == 0 {
			if err := endParagraph(); err != nil {
				return err
			}
			continue
		}
		// Only 3 of 20 fields are needed, in files of a million lines: no maps.
		switch line[0] {
		case 'P', 'p', 'V', 'v', 'A', 'a':
			key, value, _ := strings.Cut(string(line), ":")
			switch strings.ToLower(key) {
			case "package":
				name = strings.TrimSpace(value)
			case "version":
				version = strings.TrimSpace(value)
			case "architecture":
				packageArch = strings.TrimSpace(value)
			}
		}
	}
	if err := sc.Err(); err != nil {
		return err
	}
	return endParagraph()
}
