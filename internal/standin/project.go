package standin

import (
	"fmt"
	"maps"
	"strings"
)

// Project is the source tree of a Python project, as in a release tarball. pip
// builds it with a back end that is part of the tree and downloads nothing.
type Project struct {
	Name, Version string
	Requires      []string
	Scripts       []string
	Files         map[string]string // besides those of every project
	Extras        []string
}

// ProjectVersion is the version of the projects of AnyProject.
const ProjectVersion = "2026.1.0"

// AnyProject returns the sources of a service: commands, and the configuration that
// OpenStack's projects have in etc/NAME.
func AnyProject(name string) Project {
	return Project{
		Name:     name,
		Version:  ProjectVersion,
		Requires: []string{"pbr"},
		Scripts:  []string{name + "-api", name + "-manage", name + "-rootwrap"},
		Extras:   []string{"osprofiler"},
		Files: map[string]string{
			"etc/" + name + "/rootwrap.conf": "[DEFAULT]\nfilters_path=/etc/" + name +
				"/rootwrap.d\nexec_dirs=/sbin,/usr/sbin,/bin,/usr/bin\n",
			"etc/" + name + "/api-paste.ini": "[composite:main]\nuse = egg:Paste#urlmap\n",
			"etc/" + name + "/README.txt":    "Stand-in for the configuration of " + name + ".\n",
		},
	}
}

// backend makes a wheel from the directory NAME and the table [tool.standin] of
// pyproject.toml. It uses the standard library only.
const backend = `import base64
import hashlib
import os
import tomllib
import zipfile


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with open('pyproject.toml', 'rb') as f:
        project = tomllib.load(f)['tool']['standin']
    name, version, package = project['name'], project['version'], project['package']
    dist = '%s-%s' % (package, version)
    metadata = ['Metadata-Version: 2.1', 'Name: ' + name, 'Version: ' + version]
    metadata += ['Provides-Extra: ' + e for e in project['extras']]
    metadata += ['Requires-Dist: ' + r for r in project['requires']]
    scripts = ['[console_scripts]'] + ['%s = %s:main' % (s, package) for s in project['scripts']]
    scripts += ['[oslo.config.opts]', '%s = %s:main' % (package, package)]
    files = {
        dist + '.dist-info/METADATA': '\n'.join(metadata) + '\n',
        dist + '.dist-info/WHEEL': 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
        dist + '.dist-info/entry_points.txt': '\n'.join(scripts) + '\n',
    }
    for directory, _, names in os.walk(package):
        for n in names:
            path = os.path.join(directory, n)
            with open(path) as f:
                files[path] = f.read()
    record = []
    file_name = dist + '-py3-none-any.whl'
    with zipfile.ZipFile(os.path.join(wheel_directory, file_name), 'w') as z:
        for path, text in sorted(files.items()):
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')
            record.append('%s,sha256=%s,%d' % (path, digest, len(text.encode())))
            z.writestr(path, text)
        path = dist + '.dist-info/RECORD'
        z.writestr(path, '\n'.join(record + [path + ',,']) + '\n')
    return file_name
`

// Tree returns the project's files by path.
func (p Project) Tree() map[string]string {
	pkg := module(p.Name)
	init := Wheel{Name: p.Name, Version: p.Version}.contents()[pkg+"/__init__.py"]
	out := map[string]string{
		"pyproject.toml": fmt.Sprintf(`[build-system]
requires = []
build-backend = "standin_backend"
backend-path = ["."]

[tool.standin]
name = %q
package = %q
version = %q
requires = [%s]
scripts = [%s]
extras = [%s]
`, p.Name, pkg, p.Version, quoted(p.Requires), quoted(p.Scripts), quoted(p.Extras)),
		"standin_backend.py": backend,
		pkg + "/__init__.py": init,
	}
	maps.Copy(out, p.Files)
	return out
}

// TarGz returns the release tarball: one directory with the tree.
func (p Project) TarGz() []byte { return TarGz(p.Name+"-"+p.Version+"/", p.Tree()) }

func quoted(list []string) string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%q", s))
	}
	return strings.Join(out, ", ")
}
