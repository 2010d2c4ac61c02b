package dockerfiles_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// tree describes all files below the directories: type, mode, owner and content.
func (r *scratchRoot) tree(directories ...string) string {
	r.t.Helper()
	var lines []string
	for _, directory := range directories {
		err := filepath.WalkDir(r.path(directory), func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := os.Lstat(path)
			if err != nil {
				return err
			}
			name, _ := filepath.Rel(r.dir, path)
			line := fmt.Sprintf("%s %v", name, info.Mode())
			if os.Getuid() == 0 {
				owner := info.Sys().(*syscall.Stat_t)
				line += fmt.Sprintf(" %d:%d", owner.Uid, owner.Gid)
			}
			switch {
			case info.Mode().IsRegular():
				line += " " + r.read(name)
			case info.Mode()&fs.ModeSymlink != 0:
				target, _ := os.Readlink(path)
				line += " -> " + target
			}
			lines = append(lines, line)
			return nil
		})
		if err != nil && !os.IsNotExist(err) {
			r.t.Fatal(err)
		}
	}
	return strings.Join(lines, "\n")
}

// entry is an entry of config_files.
func entry(source, dest, more string) string {
	return fmt.Sprintf(`{"command": "c", "config_files": [{"source": "/config/%s", "dest": "%s"%s}]}`, source, dest, more)
}

// Each configuration is applied twice and then checked. If -short is given, only two are: for
// files and for a directory.
// Kolla's script must leave the same files, unless a case says why it does not.
func TestSetConfigsEffects(t *testing.T) {
	const starts = 2
	const owner = `, "owner": "keystone:kolla", "perm": "0640"`
	for _, test := range []struct {
		name, config string
		next         string            // a configuration for one more start
		files        map[string]string // a value that begins with -> is a link
		status       int
		want         map[string]string // file to mode and content; "" for a missing file
		differs      string            // why Kolla's script has another effect
	}{
		{name: "file", config: entry("a", "/etc/x/y/a", owner),
			want: map[string]string{"etc/x/y/a": "-rw-r----- A", "etc/x/y": "drwxr-xr-x"}},
		{name: "file_into_directory", config: entry("a", "/etc/x/", owner),
			want: map[string]string{"etc/x/a": "-rw-r----- A"}},
		{name: "wildcard", config: entry("*", "/etc/x/", owner),
			want: map[string]string{"etc/x/a": "-rw-r----- A", "etc/x/b": "-rw-r----- B", "etc/x/tree/sub/c": "-rw-r----- C",
				"etc/x/tree": "drwxr-x---"}},
		{name: "question_mark", config: entry("?", "/etc/x/", owner),
			want: map[string]string{"etc/x/a": "-rw-r----- A", "etc/x/b": "-rw-r----- B", "etc/x/tree": ""}},
		{name: "wildcard_without_match", config: entry("*.none", "/etc/x/", owner), status: 1,
			want: map[string]string{"run_command": ""}},
		{name: "optional_wildcard_without_match", config: entry("*.none", "/etc/x/", owner+`, "optional": true`),
			want: map[string]string{"run_command": "-rw-r--r-- c", "etc/x": ""}},
		{name: "optional", config: entry("none", "/etc/x/none", owner+`, "optional": true`),
			want: map[string]string{"run_command": "-rw-r--r-- c", "etc/x": ""}},
		{name: "directory_replaces", config: entry("tree", "/etc/x", owner), files: map[string]string{"etc/x/old": "old"},
			want: map[string]string{"etc/x/old": "", "etc/x/sub/c": "-rw-r----- C", "etc/x/empty": "drwxr-x---"}},
		{name: "directory_merges", config: entry("tree", "/etc/x", owner+`, "merge": true`),
			files: map[string]string{"etc/x/old": "old", "etc/x/sub/c": "old"},
			want:  map[string]string{"etc/x/old": "-rw-r--r-- old", "etc/x/sub/c": "-rw-r----- C", "etc/x/empty": "drwxr-x---"}},
		{name: "directory_with_slash", config: entry("tree/", "/etc/x", owner),
			want: map[string]string{"etc/x/sub/c": "-rw-r----- C"}},
		{name: "directory_into_directory", config: entry("tree", "/etc/x/", owner),
			files: map[string]string{"etc/x/old": "old"},
			want:  map[string]string{"etc/x/old": "-rw-r--r-- old", "etc/x/tree/sub/c": "-rw-r----- C"}},
		{name: "directory_over_file", config: entry("tree", "/etc/x", owner+`, "merge": true`),
			files: map[string]string{"etc/x": "old"},
			want:  map[string]string{"etc/x/sub/c": "-rw-r----- C"}},
		{name: "file_over_directory", config: entry("a", "/etc/x", owner), files: map[string]string{"etc/x/old": "old"},
			want: map[string]string{"etc/x": "-rw-r----- A"}},
		{name: "file_over_link", config: entry("a", "/etc/x", owner),
			files: map[string]string{"etc/x": "->old", "etc/old": "old"},
			want:  map[string]string{"etc/x": "-rw-r----- A", "etc/old": "-rw-r--r-- old"}},
		{name: "file_over_link_to_source", config: entry("a", "/etc/x", owner),
			files: map[string]string{"etc/x": "->/config/a"},
			want:  map[string]string{"etc/x": "-rw-r----- A", "config/a": "-rw-r--r-- A"}},
		{name: "directory_over_link", config: entry("tree", "/etc/x", owner),
			files:   map[string]string{"etc/x": "->old", "etc/old/file": "old"},
			want:    map[string]string{"etc/x/sub/c": "-rw-r----- C", "etc/old/file": "-rw-r--r-- old"},
			differs: "it cannot remove a link to a directory"},
		{name: "link_to_file", config: entry("links/*", "/etc/x/", owner),
			files: map[string]string{"config/links/l": "->../a"},
			want:  map[string]string{"etc/x/l": "-rw-r----- A"}},
		{name: "broken_link", config: entry("links/*", "/etc/x/", owner),
			files: map[string]string{"config/links/l": "->../none"}, status: 2,
			want: map[string]string{"etc/x/l": "", "run_command": ""}},
		{name: "link_to_directory", config: entry("tree", "/etc/x", owner),
			files: map[string]string{"config/tree/l": "->../links", "config/links/f": "F"},
			want:  map[string]string{"etc/x/l": "drwxr-x---", "etc/x/l/f": "-rw-r----- F", "etc/x/sub/c": "-rw-r----- C"}},
		{name: "link_to_own_directory", config: entry("tree", "/etc/x", owner),
			files: map[string]string{"config/tree/l": "->.", "config/tree/m": "->../tree", "config/tree/sub/up": "->.."},
			want: map[string]string{"etc/x/l": "Lrwxrwxrwx ->/etc/x", "etc/x/m": "Lrwxrwxrwx ->/etc/x",
				"etc/x/sub/up": "Lrwxrwxrwx ->/etc/x"},
			differs: "it makes 40 copies in each other for one link, and does not end for several"},
		{name: "link_to_own_directory_merges", config: entry("tree", "/etc/x", owner+`, "merge": true`),
			files: map[string]string{"config/tree/l": "->.", "config/tree/m": "->.", "etc/x/l/old": "old"},
			want: map[string]string{"etc/x/l/old": "-rw-r--r-- old", "etc/x/l/sub/c": "-rw-r----- C",
				"etc/x/l/l": "Lrwxrwxrwx ->/etc/x/l",
				"etc/x/m":   "Lrwxrwxrwx ->/etc/x"},
			differs: "it does not end"},
		{name: "link_above_source", config: entry("tree/sub", "/etc/x", owner),
			files: map[string]string{"config/tree/sub/up": "->.."},
			want: map[string]string{"etc/x/up/sub": "Lrwxrwxrwx ->/etc/x", "etc/x/up/empty": "drwxr-x---",
				"etc/x/c": "-rw-r----- C"},
			differs: "it makes 20 copies in each other"},
		{name: "brackets", config: entry("*", "/etc/x/", owner), next: entry("a", "/etc/x/a", owner),
			files:   map[string]string{"config/[b]": "N", "etc/x/[b]": "old", "config/tree/[d]": "D"},
			want:    map[string]string{"etc/x/[b]": "-rw-r--r-- old", "etc/x/a": "-rw-r----- A", "etc/x/tree": ""},
			differs: "it takes the names of the image's files for wildcards, and ends"},
		{name: "brackets_in_directory", config: entry("a", "/etc/[x]/a", owner), files: map[string]string{"etc/[x]/a": "old"},
			want:    map[string]string{"etc/[x]/a": "-rw-r----- A"},
			differs: "it takes the names of the image's files for wildcards, and ends"},
		{name: "link_in_destination", config: entry("a", "/etc/x/l/a", owner),
			files: map[string]string{"etc/x/l": "->/etc/old", "etc/old/file": "old"},
			want:  map[string]string{"etc/x/l": "Lrwxrwxrwx ->/etc/old", "etc/old/a": "-rw-r----- A"}},
		{name: "merge_into_link", config: entry("tree", "/etc/x", owner+`, "merge": true`),
			files: map[string]string{"etc/x": "->old", "etc/old/file": "old"},
			want: map[string]string{"etc/x": "Lrwxrwxrwx ->old", "etc/old/sub/c": "-rw-r----- C",
				"etc/old/file": "-rw-r--r-- old"},
			differs: "it cannot remove a link to a directory at the second start"},
		{name: "restored", config: entry("*", "/etc/x/", owner), next: entry("b", "/etc/x/b", owner),
			files:   map[string]string{"etc/x/a": "old"},
			want:    map[string]string{"etc/x/a": "-rw-r--r-- old", "etc/x/b": "-rw-r----- B", "etc/x/tree": ""},
			differs: "after the second start, it takes the configured files for those of the image"},
		{name: "preserve", config: entry("tree", "/etc/x", `, "preserve_properties": true`),
			want: map[string]string{"etc/x/sub/c": "-rw-r--r-- C", "etc/x/sub": "drwxr-xr-x"}},
		{name: "preserve_link_without_merge", config: entry("links", "/etc/x", `, "preserve_properties": true`),
			files: map[string]string{"config/links/l": "->../a"},
			want:  map[string]string{"etc/x/l": "-rw-r--r-- A"}},
		{name: "preserve_and_merge_link", config: entry("links", "/etc/x", `, "preserve_properties": true, "merge": true`),
			files: map[string]string{"config/links/l": "->../a"},
			want:  map[string]string{"etc/x/l": "Lrwxrwxrwx ->../a"}},
		{name: "owner_with_colon", config: entry("a", "/etc/x", `, "owner": "keystone:", "perm": "0600"`),
			want: map[string]string{"etc/x": "-rw------- A"}},
		{name: "perm_octal", config: entry("a", "/etc/x", `, "owner": "root", "perm": "0o640"`),
			want: map[string]string{"etc/x": "-rw-r----- A"}},
		{name: "perm_three_digits", config: entry("a", "/etc/x", `, "owner": "root", "perm": "640"`),
			want: map[string]string{"etc/x": "-rw-r----- A"}},
		{name: "perm_null", config: entry("a", "/etc/x", `, "owner": "root", "perm": null`),
			want: map[string]string{"etc/x": "-rw-r--r-- A"}},
		{name: "perm_setgid", config: `{"command": "c", "directories": [{"path": "/srv/d", "owner": "root", "perm": "2770"}]}`,
			want: map[string]string{"srv/d": "dgrwxrwx---"}},
		{name: "directories", config: `{"command": "c", "directories": [{"path": "/srv/a/b", "owner": "keystone", "perm": "0640"}]}`,
			want: map[string]string{"srv/a": "drwxr-xr-x", "srv/a/b": "drwxr-x---"}},
		{name: "directories_recurse", config: `{"command": "c", "directories": [{"path": "/srv/a", "owner": "root", "perm": "0600", "recurse": true, "exclude": ["\\.keep$"]}]}`,
			files: map[string]string{"srv/a/f": "f", "srv/a/f.keep": "f"},
			want:  map[string]string{"srv/a": "drwx------", "srv/a/f": "-rw------- f", "srv/a/f.keep": "-rw-r--r-- f"}},
		{name: "files", config: `{"command": "c", "files": [{"path": "/srv/new", "owner": "root", "perm": "0660"}, {"path": "/srv/old", "owner": "root", "perm": "0600"}]}`,
			files: map[string]string{"srv/old": "old"},
			want:  map[string]string{"srv/new": "-rw-rw---- ", "srv/old": "-rw------- old"}},
		{name: "permissions", config: `{"command": "c", "permissions": [{"path": "/srv/*.log", "owner": "root", "perm": "0660"}, {"path": "/srv/none", "owner": "root"}]}`,
			files: map[string]string{"srv/a.log": "a", "srv/d/b.log": "b"},
			want:  map[string]string{"srv/a.log": "-rw-rw---- a", "srv/d/b.log": "-rw-r--r-- b"}},
		{name: "permissions_recurse", config: `{"command": "c", "permissions": [{"path": "/srv", "owner": "root", "perm": "0600", "recurse": true}]}`,
			files: map[string]string{"srv/d/b": "b", "srv/l": "->none"},
			want:  map[string]string{"srv": "drwx------", "srv/d": "drwx------", "srv/d/b": "-rw------- b"}},
		{name: "permissions_exclude", config: `{"command": "c", "permissions": [{"path": "/srv", "owner": "root", "perm": "0600", "recurse": true, "exclude": ["/d/"]}]}`,
			files: map[string]string{"srv/d/b": "b", "srv/c": "c"},
			want:  map[string]string{"srv/d": "drwx------", "srv/d/b": "-rw-r--r-- b", "srv/c": "-rw------- c"}},
		{name: "permissions_exclude_two", config: `{"command": "c", "permissions": [{"path": "/srv", "owner": "root", "perm": "0600", "recurse": true, "exclude": ["b$", "c$"]}]}`,
			files:   map[string]string{"srv/a": "a", "srv/b": "b", "srv/c": "c"},
			want:    map[string]string{"srv/a": "-rw------- a", "srv/b": "-rw-r--r-- b", "srv/c": "-rw-r--r-- c"},
			differs: "it excludes only what all patterns match"},
		{name: "permissions_link", config: `{"command": "c", "permissions": [{"path": "/srv/l", "owner": "keystone", "perm": "0660"}]}`,
			files: map[string]string{"srv/l": "->a", "srv/a": "a"}, want: map[string]string{"srv/l": "Lrwxrwxrwx ->a",
				"srv/a": "-rw-rw---- a"}},
		{name: "directories_link", config: `{"command": "c", "directories": [{"path": "/srv/l", "owner": "keystone", "perm": "0770"}]}`,
			files: map[string]string{"srv/l": "->d", "srv/d/.": ""}, want: map[string]string{"srv/l": "Lrwxrwxrwx ->d",
				"srv/d": "drwxrwx---"}},
		{name: "unknown_key_of_permissions", config: `{"command": "c", "permissions": [{"path": "/srv/a", "owner": "root", "perm": "0600", "optional": true}]}`,
			files: map[string]string{"srv/a": "a"}, want: map[string]string{"srv/a": "-rw------- a"}},
		{name: "no_entries", config: `{"command": "c", "config_files": [], "permissions": []}`,
			want: map[string]string{"run_command": "-rw-r--r-- c"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			testenv.SlowExcept(t, test.name, "wildcard", "directory_merges")
			trees := map[string]string{}
			for script, path := range oursAndKollas("base/set_configs.py", "base/set_configs.py") {
				t.Run(script, func(t *testing.T) {
					r := newScratchRoot(t, "/usr/bin/python3")
					r.install(path, "opt/kolla_set_configs")
					r.write("var/lib/kolla/config_files/config.json", test.config)
					for name, content := range map[string]string{
						"config/a": "A", "config/b": "B", "config/tree/sub/c": "C", "config/tree/empty/.": "",
					} {
						r.writeOrLink(name, content)
					}
					for name, content := range test.files {
						r.writeOrLink(name, content)
					}
					if script != "ours" && test.differs != "" {
						t.Skip("Kolla's script: " + test.differs)
					}
					for start := range starts + min(len(test.next), 1) {
						if start == starts {
							r.write("var/lib/kolla/config_files/config.json", test.next)
						}
						status, out := r.configure("COPY_ALWAYS")
						if status != test.status {
							t.Fatalf("start %d: exit status %d, want %d\n%s", start, status, test.status, out)
						}
						if test.next != "" && start < starts {
							continue
						}
						for name, want := range test.want {
							if got := r.describe(name); got != want {
								t.Errorf("start %d: %s is %q, want %q\n%s", start, name, got, want, out)
							}
						}
					}
					trees[script] = r.tree("config", "etc/x", "etc/old", "srv")
					if test.status == 0 && script == "ours" {
						if status, out := r.configure("", "--check"); status != 0 {
							t.Errorf("--check: exit status %d\n%s", status, out)
						}
					}
				})
			}
			if kollas, ok := trees["Kolla's"]; ok && kollas != trees["ours"] {
				t.Errorf("the trees differ; ours is\n%s\nKolla's is\n%s", trees["ours"], kollas)
			}
		})
	}
}

// writeOrLink writes a file. The name of a directory ends with "/."; the content of a link
// begins with "->".
func (r *scratchRoot) writeOrLink(name, content string) {
	r.t.Helper()
	if directory, ok := strings.CutSuffix(name, "/."); ok {
		if err := os.MkdirAll(r.path(directory), 0o755); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	target, ok := strings.CutPrefix(content, "->")
	if !ok {
		r.write(name, content)
		return
	}
	if err := os.MkdirAll(filepath.Dir(r.path(name)), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Symlink(target, r.path(name)); err != nil {
		r.t.Fatal(err)
	}
}

// describe returns the mode and the content of a file, or "" if it does not exist.
func (r *scratchRoot) describe(name string) string {
	r.t.Helper()
	info, err := os.Lstat(r.path(name))
	if err != nil {
		return ""
	}
	switch {
	case info.IsDir():
		return info.Mode().String()
	case info.Mode()&fs.ModeSymlink != 0:
		target, _ := os.Readlink(r.path(name))
		return info.Mode().String() + " ->" + target
	}
	return info.Mode().String() + " " + r.read(name)
}
