package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// shellCases are the text that a user types before Tab, and the line after it. Each
// completion is unique, so that the shells agree.
var shellCases = []struct{ name, typed, want string }{
	{"command", "kolla-build boots", "kolla-build bootstrap"},
	{"long option", "kolla-build --openstack-release-c", "kolla-build --openstack-release-codename"},
	{"off", "kolla-build --nodocker", "kolla-build --nodocker-healthchecks"},
	{"choice", "kolla-build --base oracl", "kolla-build --base oraclelinux"},
	{"choice after =", "kolla-build --base=oracl", "kolla-build --base=oraclelinux"},
	{"short option's value", "kolla-build -b oracl", "kolla-build -b oraclelinux"},
	{"image", "kolla-build -b debian placement-a", "kolla-build -b debian placement-api"},
	{"profile", "kolla-build --profile quicks", "kolla-build --profile quickstart"},
	{"profile of a file", "kolla-build --config-file my.conf -p somebodys-",
		"kolla-build --config-file my.conf -p somebodys-own"},
	{"tag of the base given", "kolla-build -b ubuntu --base-tag nob", "kolla-build -b ubuntu --base-tag noble"},
	{"file", "kolla-build --template-override overr", "kolla-build --template-override overrides.j2"},
	{"file after =", "kolla-build --template-override=overr", "kolla-build --template-override=overrides.j2"},
	{"directory", "kolla-build --docker-dir my-tr", "kolla-build --docker-dir my-trees/"},
	{"argument", "kolla-build registry ser", "kolla-build registry serve"},
	{"own flag", "kolla-build registry --htp", "kolla-build registry --htpasswd"},
	{"file of a command", "kolla-build load my-s", "kolla-build load my-set.tar"},
	{"after a colon", "kolla-build --base-image oci:x -b oracl", "kolla-build --base-image oci:x -b oraclelinux"},
	{"own tree", "kolla-build --images-dir my-trees only-", "kolla-build --images-dir my-trees only-mine"},
}

// TestCompletionInShells types into real shells in a real terminal.
func TestCompletionInShells(t *testing.T) {
	testenv.Slow(t)
	shells := map[string]string{
		"bash":      `exec env PS1='$ ' bash --norc --noprofile -i`,
		"zsh":       `exec zsh -f -i`,
		"fish":      `exec fish --no-config -i`,
		"zsh fpath": `exec zsh -f -i`,
	}
	start := map[string]string{
		"bash":      `source <(kolla-build completion bash)`,
		"zsh":       `PS1='$ '; autoload -U compinit; compinit -u -D; source <(kolla-build completion zsh)`,
		"zsh fpath": `PS1='$ '; mkdir ../f; kolla-build completion zsh > ../f/_kolla-build; fpath=($PWD:h/f $fpath); autoload -U compinit; compinit -u -D`,
		"fish":      `function fish_prompt; echo -n '$ '; end; set -g fish_autosuggestion_enabled 0; kolla-build completion fish | source`,
	}
	for name, command := range shells {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shell, _, _ := strings.Cut(name, " ")
			testenv.Program(t, shell, shell)
			dir := t.TempDir()
			// The command line is not executed.
			linkSelf(t, filepath.Join(dir, "self", "kolla-build"))
			wrapper := "#!/bin/sh\ncase $1 in __complete|completion) exec " + filepath.Join(dir, "self",
				"kolla-build") + " \"$@\";; esac\n"
			if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "bin", "kolla-build"), []byte(wrapper), 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{
				"my.conf":                          "[profiles]\nsomebodys-own = nova\n",
				"overrides.j2":                     "",
				"my-set.tar":                       "",
				"my-trees/only-mine/Dockerfile.j2": "FROM scratch\n",
			} {
				path := filepath.Join(dir, "work", file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			term := testenv.NewTerminal(t, 120, 50,
				"cd "+filepath.Join(dir, "work")+" && export HISTFILE=/dev/null HOME="+dir+" KOLLA_BUILD_DATA_DIR="+dir+"/data PATH="+
					filepath.Join(dir, "bin")+":$PATH XDG_CONFIG_HOME="+dir+" XDG_DATA_HOME="+dir+" && "+command)
			enter := func(line string) { term.Tmux("send-keys", "-l", line); term.Tmux("send-keys", "Enter") }
			enter(start[name])
			enter("echo rea''dy")
			term.Until("the shell", term.Visible, func(s string) bool { return strings.Contains(s, "\nready") })
			for _, c := range shellCases {
				term.Tmux("send-keys", "C-u") // in order with what is typed, as C-c is not
				enter("clear; echo cle''ared")
				term.Until("a clean screen", term.Visible, func(s string) bool { return strings.HasPrefix(s, "cleared\n$") })
				term.Tmux("send-keys", "-l", c.typed)
				term.Until(c.typed, term.Visible, func(s string) bool { return strings.Contains(s, "$ "+c.typed) })
				term.Tmux("send-keys", "Tab")
				// A character typed after it shows whether the word has ended there or,
				// after a directory, continues.
				term.Tmux("send-keys", "-l", "Z")
				space := " "
				if strings.HasSuffix(c.want, "/") {
					space = ""
				}
				term.Until(c.name+": "+c.want, term.Visible,
					func(s string) bool { return strings.Contains(s, "$ "+c.want+space+"Z") })
			}
		})
	}
}

// linkSelf makes this test's binary available as kolla-build.
func linkSelf(t *testing.T, path string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
}
