package contract

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// pythonPath returns the directories in which the image's Python looks for modules.
func (im *imageView) pythonPath() []string {
	if im.pyPath != nil {
		return im.pyPath
	}
	dirs := directories(im.env["PYTHONPATH"])
	for _, pattern := range []string{
		"/var/lib/kolla/venv/lib/python3*/site-packages",
		"/usr/local/lib/python3*/dist-packages", "/usr/local/lib/python3*/site-packages",
		"/usr/lib/python3*/dist-packages", "/usr/lib/python3*/site-packages", "/usr/lib64/python3*/site-packages",
		"/usr/lib/python3*", "/usr/lib64/python3*", "/usr/lib/python3*/lib-dynload", "/usr/lib64/python3*/lib-dynload",
	} {
		dirs = append(dirs, im.glob(pattern)...)
	}
	dirs = slices.DeleteFunc(dirs, func(d string) bool { return !strings.HasPrefix(d, "/") })
	im.pyPath = dirs[:min(len(dirs), maxDirs)]
	return im.pyPath
}

// moduleFile returns the file of a Python module, or "".
func (im *imageView) moduleFile(module string) string {
	for _, dir := range im.pythonPath() {
		for _, f := range moduleFiles(module) {
			if _, _, failure := im.lookup(path.Join(dir, f)); failure == "" {
				return path.Join(dir, f)
			}
		}
		parent, base := path.Split(strings.ReplaceAll(module, ".", "/"))
		names := im.list(path.Join(dir, parent)) // sorted
		at, _ := slices.BinarySearch(names, base+".")
		for ; at < len(names) && strings.HasPrefix(names[at], base+"."); at++ {
			if strings.HasSuffix(names[at], ".so") {
				return path.Join(dir, parent, names[at])
			}
		}
	}
	return ""
}

// importLine matches an unconditional import at the top level of a module.
var importLine = regexp.MustCompile(`(?m)^(?:from ([A-Za-z_][\w.]*) import |import ([A-Za-z_][\w.]*))`)

// builtinModules can be compiled into Python. These are in Debian's; in other builds, most are files.
var builtinModules = []string{
	"_abc", "_ast", "_bisect", "_blake2", "_codecs", "_collections", "_csv", "_datetime", "_elementtree", "_functools", "_heapq",
	"_imp", "_io", "_locale", "_md5", "_opcode", "_operator", "_pickle", "_posixsubprocess", "_random", "_sha1", "_sha2", "_sha256",
	"_sha3", "_sha512", "_signal", "_socket", "_sre", "_stat", "_statistics", "_string", "_struct", "_suggestions", "_symtable",
	"_sysconfig", "_thread", "_tokenize", "_tracemalloc", "_typing", "_warnings", "_weakref", "array", "atexit", "binascii",
	"builtins", "cmath", "errno", "faulthandler", "fcntl", "gc", "grp", "itertools", "marshal", "math", "posix", "pwd", "pyexpat",
	"select", "spwd", "sys", "syslog", "termios", "time", "unicodedata", "zlib",
}

// hasModule checks that a Python module exists, that it defines name unless that is "",
// and that the modules that it imports exist.
func (im *imageView) hasModule(module, name string) error {
	file := im.moduleFile(module)
	if file == "" {
		return fmt.Errorf("no Python module %s", module)
	}
	_, e, _ := im.lookup(file)
	if !im.user.may(4, e) {
		return fmt.Errorf("%s has mode %04o and is not readable for %s", file, e.Mode, im.user.name)
	}
	text := im.info(e).text
	if text == "" {
		if e.Size > 0 && strings.HasSuffix(file, ".py") {
			return fmt.Errorf("%s cannot be read", file)
		}
		if name != "" {
			return fmt.Errorf("%s defines no %s", file, name)
		}
		return nil
	}
	if name != "" && !defines(text, name) {
		return fmt.Errorf("%s defines no %s", file, name)
	}
	for _, m := range importLine.FindAllStringSubmatch(text, -1) {
		imported := m[1] + m[2]
		top, _, _ := strings.Cut(imported, ".")
		if slices.Contains(builtinModules, top) || im.isPackage(top) || im.moduleFile(top) != "" {
			continue
		}
		return fmt.Errorf("%s imports %s, which does not exist", file, imported)
	}
	return nil
}

// isPackage reports whether there is a directory of Python modules, which need not have
// an __init__.py.
func (im *imageView) isPackage(name string) bool {
	return slices.ContainsFunc(im.pythonPath(), func(dir string) bool { return len(im.list(path.Join(dir, name))) > 0 })
}

// defines reports whether the text of a module defines a name: by an assignment, a
// function, a class, an import or a global statement.
func defines(text, name string) bool {
	n := regexp.QuoteMeta(name)
	return regexp.MustCompile(`(?m)^\s*(?:(?:async )?def|class) ` + n + `\b|^\s*` + n +
		`\s*(?::[^=\n]+)?=[^=]|^\s*global [^#\n]*\b` + n + `\b|\bimport [^#]*\b` + n + `\b|\bas ` + n + `\b`).
		MatchString(text)
}

// hasAnsibleModule checks that Ansible finds a module by its name.
func (im *imageView) hasAnsibleModule(name string) error {
	parts := strings.Split(name, ".")
	base := parts[len(parts)-1]
	var patterns []string
	for _, dir := range append(im.pythonPath(),
		"/usr/share/ansible/collections", "/usr/share/ansible", "/root/.ansible/collections",
		"/var/lib/ansible/.ansible/collections", im.env["ANSIBLE_COLLECTIONS_PATH"]) {
		collection := "*/*"
		if len(parts) == 3 {
			collection = parts[0] + "/" + parts[1]
		}
		patterns = append(patterns, dir+"/ansible_collections/"+collection+"/plugins/modules/"+base+".py")
		if len(parts) == 1 || strings.HasPrefix(name, "ansible.builtin.") {
			patterns = append(patterns, dir+"/ansible/modules/"+base+".py", dir+"/ansible/plugins/action/"+base+".py",
				dir+"/plugins/modules/"+base+".py")
		}
	}
	for _, dir := range strings.Split(im.env["ANSIBLE_LIBRARY"]+":/usr/share/ansible", ":") {
		if dir != "" {
			patterns = append(patterns, dir+"/"+base+".py", dir+"/*/"+base+".py")
		}
	}
	for _, p := range patterns {
		if strings.HasPrefix(p, "/") && len(im.glob(p)) > 0 {
			return nil
		}
	}
	return fmt.Errorf("no Ansible module %s", name)
}
