package standin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// stamp is the time of all generated files.
var stamp = time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)

// DebVersion is the version of stand-in .deb packages: new enough for the
// dependencies of real packages. A repository must not offer packages that the base
// image has, because apt would upgrade to them.
const DebVersion = "99:1~standin"

// Deb is a Debian package for all architectures with no maintainer scripts.
type Deb struct {
	Name    string
	Version string            // "" is DebVersion
	Depends string            // as in a control file
	Files   map[string]string // by path without the leading slash; mode 0644, or 0755 below a bin directory
}

func (d Deb) version() string {
	if d.Version == "" {
		return DebVersion
	}
	return d.Version
}

// fileName returns the name without the epoch, as in Debian's archive.
func (d Deb) fileName() string {
	v := d.version()
	return d.Name + "_" + v[strings.IndexByte(v, ':')+1:] + "_all.deb"
}

// control returns the fields that are in both the package and the index.
func (d Deb) control() string {
	s := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: kolla-build tests <nobody@localhost>\n",
		d.Name, d.version())
	if d.Depends != "" {
		s += "Depends: " + d.Depends + "\n"
	}
	return s + "Section: misc\nPriority: optional\nDescription: stand-in for " + d.Name + "\n"
}

// Bytes returns the .deb file: an ar archive of two tarballs.
func (d Deb) Bytes() []byte {
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	member := func(name string, data []byte) {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, stamp.Unix(), 0, 0, "100644", len(data))
		b.Write(data)
		if len(data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	member("debian-binary", []byte("2.0\n"))
	member("control.tar.gz", TarGz("./", map[string]string{"control": d.control()}))
	member("data.tar.gz", TarGz("./", d.Files))
	return b.Bytes()
}

// TarGz packs files below prefix, with their directories.
func TarGz(prefix string, files map[string]string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	// Writing to memory fails only for headers that tar cannot represent.
	must := func(err error) {
		if err != nil {
			panic("standin: " + err.Error())
		}
	}
	dir := func(name string) {
		must(w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755, ModTime: stamp}))
	}
	madeDirs := map[string]bool{".": true}
	if prefix != "" {
		dir(prefix)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for i, c := range name {
			if c == '/' && !madeDirs[name[:i]] {
				madeDirs[name[:i]] = true
				dir(prefix + name[:i+1])
			}
		}
		must(w.WriteHeader(&tar.Header{
			Name:     prefix + name,
			Typeflag: tar.TypeReg,
			Mode:     modeOf(name),
			Size:     int64(len(files[name])),
			ModTime:  stamp,
		}))
		_, err := w.Write([]byte(files[name]))
		must(err)
	}
	must(w.Close())
	must(z.Close())
	return b.Bytes()
}

func modeOf(name string) int64 {
	if strings.HasSuffix(path.Dir(name), "bin") {
		return 0o755
	}
	return 0o644
}
