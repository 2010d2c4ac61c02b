package contract

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/inspect"
)

// cleanChecks are the values of rows of KindClean: checks for files that an image must
// not contain. Each returns findings. If perFile is set, each finding
// becomes a separate row, so that exceptions can name files; otherwise all findings are one row.
var cleanChecks = map[string]struct {
	find    func(*imageView) []string
	perFile bool
}{
	"compilers":      {find: (*imageView).compilers},
	"headers":        {find: (*imageView).headers, perFile: true},
	"caches":         {find: (*imageView).caches},
	"host-keys":      {find: (*imageView).hostKeys},
	"machine-id":     {find: (*imageView).machineID},
	"bytecode":       {find: (*imageView).foreignBytecode},
	"world-writable": {find: (*imageView).worldWritable, perFile: true},
	"setuid":         {find: (*imageView).setuid, perFile: true},
	"user":           {find: (*imageView).runsAsRoot},
}

// maxFindings is how many findings of a check are reported.
const maxFindings = 20

// finding is a row with the reason for its failure.
type finding struct {
	row Row
	err error
}

// clean returns the results of a row of KindClean, at least one.
func (im *imageView) clean(row Row) []finding {
	check, ok := cleanChecks[row.Value]
	if !ok {
		return []finding{{row, fmt.Errorf("unknown check %q", row.Value)}}
	}
	found := check.find(im)
	if len(found) == 0 {
		return []finding{{row: row}}
	}
	slices.Sort(found)
	if !check.perFile {
		text := strings.Join(found[:min(3, len(found))], ", ")
		if n := len(found) - 3; n > 0 {
			text += fmt.Sprintf(" and %d more", n)
		}
		return []finding{{row, errors.New(text)}}
	}
	var out []finding
	for i, f := range found {
		if i == maxFindings {
			return append(out, finding{row, fmt.Errorf("%d more", len(found)-i)})
		}
		name, detail, _ := strings.Cut(f, " ")
		out = append(out, finding{Row{Kind: row.Kind, Value: row.Value + " " + name}, errors.New(detail)})
	}
	return out
}

var compiler = regexp.MustCompile(`^([a-z0-9_]+-linux-gnu-)?` +
	`(gcc|g\+\+|cc|c\+\+|cpp|clang|clang\+\+|gfortran|rustc|cargo|javac|gccgo)(-[0-9.]+)?$`)

func (im *imageView) compilers() []string {
	var out []string
	for p, e := range im.tree.All() {
		dir, base := path.Split(p)
		if e.Type != inspect.Dir && e.Mode&0o111 != 0 && strings.HasSuffix(dir, "bin/") && compiler.MatchString(base) {
			out = append(out, "/"+p)
		}
	}
	return out
}

func (im *imageView) headers() []string {
	return im.matching(func(p string) bool {
		return (strings.HasPrefix(p, "usr/include/") || strings.HasPrefix(p, "usr/local/include/")) &&
			(strings.HasSuffix(p, ".h") || strings.HasSuffix(p, ".hpp"))
	})
}

// cacheDirectories are the caches of package managers.
var cacheDirectories = []string{
	"var/lib/apt/lists/", "var/cache/apt/", "var/cache/dnf/", "var/cache/yum/", "var/cache/libdnf5/", "var/cache/kolla/",
	"root/.cache/", "root/.npm/", "root/.cargo/", "var/cache/ldconfig/",
}

func (im *imageView) caches() []string {
	return im.matching(func(p string) bool {
		inCache := slices.ContainsFunc(cacheDirectories, func(dir string) bool { return strings.HasPrefix(p, dir) })
		return inCache && path.Base(p) != "lock"
	})
}

// matching returns the files whose paths match.
func (im *imageView) matching(match func(string) bool) []string {
	var out []string
	for p, e := range im.tree.All() {
		if e.Type != inspect.Dir && match(p) {
			out = append(out, "/"+p)
		}
	}
	return out
}

// hostKeys looks into all layers, because files that a later layer removes can still be
// read.
func (im *imageView) hostKeys() []string {
	var out []string
	for _, l := range im.layers {
		for _, e := range l.layer.Entries {
			if ok, _ := path.Match("etc/ssh/ssh_host_*_key", e.Path); ok && e.Type == inspect.File {
				out = append(out, "/"+e.Path)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (im *imageView) machineID() []string {
	var out []string
	for _, name := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		real, e, failure := im.lookup(name)
		if failure == "" && e.Type == inspect.File && e.Size > 0 && !slices.Contains(out, "/"+real) {
			out = append(out, "/"+real)
		}
	}
	return out
}

var (
	bytecode    = regexp.MustCompile(`/__pycache__/[^/]*\.cpython-([0-9]+)\.(opt-[12]\.)?pyc$`)
	interpreter = regexp.MustCompile(`/python3\.([0-9]+)$`)
)

// foreignBytecode returns byte code for interpreters that the image does not have.
func (im *imageView) foreignBytecode() []string {
	versions := map[string]bool{}
	for _, dir := range []string{"/usr/bin", "/usr/local/bin"} {
		for _, p := range im.glob(dir + "/python3.*") {
			if m := interpreter.FindStringSubmatch(p); m != nil {
				versions["3"+m[1]] = true
			}
		}
	}
	return im.matching(func(p string) bool {
		if !strings.HasSuffix(p, ".pyc") {
			return false
		}
		m := bytecode.FindStringSubmatch(p)
		return m != nil && !versions[m[1]]
	})
}

// worldWritable returns files and directories that all users may write, except
// directories with the sticky bit that are for temporary files.
func (im *imageView) worldWritable() []string {
	var out []string
	for p, e := range im.tree.All() {
		if e.Mode&0o002 == 0 || e.Type == inspect.Symlink {
			continue
		}
		switch p {
		case "tmp", "var/tmp", "run/lock", "var/lock":
			if e.Mode&0o1000 != 0 {
				continue
			}
		}
		if strings.HasPrefix(p, "dev/") {
			continue // the container's own
		}
		out = append(out, fmt.Sprintf("/%s mode %04o", p, e.Mode))
	}
	return out
}

// setuid returns programs that run with another account's permissions or capabilities.
func (im *imageView) setuid() []string {
	var out []string
	for p, e := range im.tree.All() {
		if e.Type == inspect.Dir {
			continue
		}
		if e.Mode&0o6000 != 0 && e.Type != inspect.Symlink {
			out = append(out, fmt.Sprintf("/%s mode %04o, owner %d:%d", p, e.Mode, e.UID, e.GID))
		}
		if e.HasCapabilities() {
			out = append(out, fmt.Sprintf("/%s capabilities", p))
		}
	}
	return out
}

func (im *imageView) runsAsRoot() []string {
	if im.user.uid == 0 {
		return []string{"the image runs as root"}
	}
	return nil
}
