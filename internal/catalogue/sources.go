package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/untar"
)

// sourceTarballs are the projects whose tarballs Debian's mirrors serve, by the image that
// installs them.
var sourceTarballs = map[string]string{
	"designate-base": "designate", "glance-base": "glance", "keystone-base": "keystone",
	"octavia-base": "octavia", "zaqar-base": "zaqar",
}

// sourceImages returns the images that are built from source: one of each project.
func sourceImages() []string {
	return []string{"designate-central", "glance-api", "keystone", "octavia-worker", "zaqar"}
}

// printSources prints the sections of sources for tarballs of Debian's source packages.
func printSources(ctx context.Context, mirror, suite string, w io.Writer) error {
	if mirror == "" {
		return errors.New("sources needs -mirror")
	}
	mirror = strings.TrimRight(mirror, "/")
	index := mirror + "/dists/" + suite + "/main/source/Sources.xz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, index, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", index, resp.Status)
	}
	text, err := untar.Decompress(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", index, err)
	}
	defer text.Close()
	found, err := tarballs(text)
	if err != nil {
		return fmt.Errorf("%s: %w", index, err)
	}
	for _, image := range slices.Sorted(maps.Keys(sourceTarballs)) {
		t, ok := found[sourceTarballs[image]]
		if !ok {
			return fmt.Errorf("%s has no source package %s", index, sourceTarballs[image])
		}
		fmt.Fprintf(w, "[%s]\ntype = url\nlocation = %s/%s\nsha256 = amd64:%s\n\n", image, mirror, t.path, t.sha256)
	}
	return nil
}

type tarball struct{ path, sha256 string }

// tarballs returns the original tarballs of source packages in an index, by package.
func tarballs(index io.Reader) (map[string]tarball, error) {
	out := map[string]tarball{}
	var name, directory, field string
	var t tarball
	flush := func() {
		if name != "" && t.path != "" {
			t.path = path.Join(directory, t.path)
			out[name] = t
		}
		name, directory, field, t = "", "", "", tarball{}
	}
	lines := bufio.NewScanner(index)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "":
			flush()
		case strings.HasPrefix(line, " "):
			if f := strings.Fields(line); field == "Checksums-Sha256" && len(f) == 3 && strings.Contains(f[2], ".orig.tar.") && !strings.HasSuffix(f[2], ".asc") {
				t = tarball{f[2], f[0]}
			}
		default:
			k, v, _ := strings.Cut(line, ":")
			field = k
			switch v = strings.TrimSpace(v); k {
			case "Package":
				name = v
			case "Directory":
				directory = v
			}
		}
	}
	flush()
	return out, lines.Err()
}
