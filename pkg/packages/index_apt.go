package packages

import (
	"bufio"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
)

// aptIndex reads the release file of a suite: the signed one, else the plain.
func (c *Client) aptIndex(ctx context.Context, r Repository, at string) (*Index, error) {
	dir := at + "/dists/" + r.Suite
	flat := strings.HasSuffix(r.Suite, "/")
	if flat {
		dir = strings.TrimRight(at+"/"+path.Clean("/" + r.Suite)[1:], "/")
	}
	text, err := c.get(ctx, dir+"/InRelease")
	if errors.Is(err, errAbsent) {
		text, err = c.get(ctx, dir+"/Release")
	}
	if errors.Is(err, errAbsent) {
		return nil, errors.New("there is neither InRelease nor Release")
	}
	if err != nil {
		return nil, err
	}
	ix := &Index{}
	paragraphs(text, []string{"sha256"}, func(p map[string]string) {
		if p["sha256"] != "" {
			ix.release = p
		}
	})
	if ix.release == nil {
		return nil, errors.New("its release file has no SHA256 sums: it is no package archive, or something between answers in its place")
	}
	sums := map[string]string{} // by path
	for line := range strings.Lines(ix.release["sha256"]) {
		if f := strings.Fields(line); len(f) == 3 && len(f[0]) == 64 {
			sums[path.Clean(f[2])] = f[0]
		}
	}
	delete(ix.release, "sha256") // it is long, and was read
	byHash := ix.release["acquire-by-hash"] == "yes"
	for _, name := range aptLists(r, ix.release, flat) {
		var l list
		for _, ext := range []string{".gz", ".zst", ".xz", ".bz2", ""} {
			sum, ok := sums[name+ext]
			if !ok {
				continue
			}
			f := form{sum: sum, name: name + ext}
			if byHash {
				// The name may be another file's by the time it is asked for.
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

// aptLists are the paths of the lists that a source needs, below the suite.
func aptLists(r Repository, release map[string]string, flat bool) []string {
	if flat {
		return []string{"Packages"}
	}
	// As apt does it: packages for all have a list of their own only where the
	// archive says that "all" is one of its architectures.
	arches := []string{r.Arch}
	if slices.Contains(strings.Fields(release["architectures"]), "all") && !strings.Contains(release["no-support-for-architecture-all"], "Packages") {
		arches = append(arches, "all")
	}
	var out []string
	for _, comp := range r.Components {
		for _, a := range arches {
			// Components may be called "updates/main" in a release file and lie in
			// "main", as in Debian's security archive: it is the place that counts.
			out = append(out, path.Join(comp, "binary-"+a, "Packages"))
		}
	}
	return out
}

// readPackages reads a Packages file.
func readPackages(r io.Reader, arch string, out map[string][]string) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), 16<<20)
	name, version, of := "", "", ""
	flush := func() error {
		defer func() { name, version, of = "", "", "" }()
		if name != "" && version != "" && (of == arch || of == "all") {
			return offer(out, name, version)
		}
		return nil
	}
	for sc.Scan() {
		line := sc.Bytes()
		if len(line) == 0 {
			if err := flush(); err != nil {
				return err
			}
			continue
		}
		// Three fields of twenty, in a file of a million lines: no maps here.
		switch line[0] {
		case 'P', 'p', 'V', 'v', 'A', 'a':
			key, value, _ := strings.Cut(string(line), ":")
			switch strings.ToLower(key) {
			case "package":
				name = strings.TrimSpace(value)
			case "version":
				version = strings.TrimSpace(value)
			case "architecture":
				of = strings.TrimSpace(value)
			}
		}
	}
	if err := sc.Err(); err != nil {
		return err
	}
	return flush()
}
