package hostile

import (
	"archive/tar"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// smallTree makes a tree of one image.
func smallTree(dir, dockerfile string) error {
	if err := os.MkdirAll(filepath.Join(dir, "tree", "base"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "tree", "base", "Dockerfile.j2"), []byte(dockerfile), 0o644)
}

// rootTar is a root file system that can be a base image.
func rootTar() []byte {
	release := []byte("ID=debian\nVERSION_CODENAME=trixie\n")
	return writeTar([]member{{tar.Header{Name: "etc/os-release", Mode: 0o644, Size: int64(len(release))}, release},
		{tar.Header{Name: "bin/sh", Mode: 0o755, Size: 1}, []byte("x")}})
}

// fragments are pieces of templates, most of which exceed a limit.
var fragments = []string{
	"{% for i in range(1000000000) %}x{% endfor %}", "{{ 'a' * 1000000000 }}", "{{ 'a' * 10 ** 12 }}",
	"{{ [1] * 10 ** 9 }}", "{{ 2 ** 10000000 }}",
	"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{% include 'Dockerfile.j2' %}", "{% include '/etc/passwd' %}",
	"{% import '../../../etc/passwd' as x %}",
	"{% extends self %}", "{{ self.__class__.__mro__ }}", "{{ ''.__class__.__base__.__subclasses__() }}",
	"{{ cycler.__init__.__globals__ }}", "{{ lipsum() }}",
	"{% block a %}{% block b %}{{ super() }}{% endblock %}{% endblock %}",
	"{% set x = namespace(y=1) %}{% for i in range(100000) %}{% set x.y = x.y * 3 %}{% endfor %}{{ x.y }}",
	"{{ '%1000000000d' % 1 }}", "{{ '{:>1000000000}'.format(1) }}", "{{ 'x' | center(1000000000) }}",
	"{{ 'x' | indent(100000000) }}", "{{ range(10000000) | list | join }}",
	"{{ 'a' | replace('', 'b' * 100000) | replace('', 'c' * 100000) }}", "{% raw %}", "{% endfor %}", "{{", "{%", "{#",
	"{{ undefined.a.b }}", "{{ 1 / 0 }}",
	"{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' | regex_replace('(a+)+$', '') }}", "{% call(x) m() %}{% endcall %}", "\x00",
	"\xff\xfe", "\u202e", "RUN x\\\n", "FROM {{ base_image }}\n",
	"COPY ../../../etc/passwd /x\n", "ADD http://127.0.0.1:1/x /x\n", "ONBUILD RUN x\n",
	"# syntax=evil.example/frontend\n", "# escape=`\n", "FROM scratch AS base\n", "ARG X=${X}\n", "ENV A=${A:-${A}}\n",
	"\n{{ ('a ' * 10 ** 6) | wordwrap(1) }}\n", "\n{{ 'RUN x\n' * 300000 }}\n",
	"{% macro n(i) %}{% if i %}{{ n(i - 1) }}{{ n(i - 1) }}{% endif %}{% endmacro %}{{ n(60) }}",
	"{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
	"{% set l = [] %}{{ l.append(l) }}{{ l | tojson }}", "{{ 'a' | batch(10 ** 9, 'x') | list }}",
	"RUN <<EOF\n", "FROM --platform=$X base\n", "COPY --from=9999 / /\n", "HEALTHCHECK --interval=-1s CMD x\n",
}

func template(rnd *rand.Rand) string {
	var b strings.Builder
	b.WriteString("FROM {{ base_image }}:{{ base_distro_tag }}\n")
	for range 1 + rnd.IntN(4) {
		f := pick(rnd, fragments)
		switch rnd.IntN(8) {
		case 0:
			f = strings.Repeat("{% if 1 %}", 1+rnd.IntN(5000)) + f
		case 1:
			f = "{{ " + strings.Repeat("(", 1+rnd.IntN(20000)) + f
		case 2:
			f = strings.Repeat(f, 1+rnd.IntN(200))
		}
		b.WriteString(f)
	}
	return b.String()
}

// templateCase renders or lints a hostile template, override or variable file.
func templateCase(rnd *rand.Rand, env *environment) hostileCase {
	text, override := template(rnd), template(rnd)
	c := hostileCase{kind: "template", accepts: true, prepare: func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "override.j2"),
			[]byte("{% extends parent_template %}\n"+override), 0o644); err != nil {
			return err
		}
		return smallTree(dir, text)
	}}
	c.args = pick(rnd, [][]string{
		{"--template-only", "--work-dir", "out", "-b", "debian", "--images-dir", "tree"},
		{"lint", "--images-dir", "tree"},
		{"render", "-b", "debian", "--images-dir", "tree", "base"},
		{"lint", "--images-dir", "tree", "--template-override", "override.j2"},
		{"--template-only", "--work-dir", "out", "-b", "debian", "--images-dir", "tree",
			"--template-override", "override.j2"},
		{"--list-images", "-b", "debian", "--images-dir", "tree"},
		{"--template-only", "--work-dir", "out", "-b", "debian", "--images-dir", "tree", "--template-override", "/dev/zero"},
	})
	return c
}

// contextCase plans an image with links, devices and odd names in its context.
func contextCase(rnd *rand.Rand, env *environment) hostileCase {
	seed := rnd.Uint64()
	return hostileCase{kind: "context", accepts: true,
		args: []string{pick(rnd, []string{"plan", "explain"}), "-b", "debian", "--images-dir", "tree", "--base-image",
			"./base.tar", "--bootstrap", "never", "--tag", "t", "base"},
		prepare: func(dir string) error {
			rnd := rand.New(rand.NewPCG(seed, 0))
			if err := smallTree(dir, "FROM {{ base_image }}:{{ base_distro_tag }}\nCOPY . /x/\n"+pick(rnd,
				[]string{"", "COPY link /y\n", "COPY [\"../../x\", \"/z\"]\n", "ADD fifo /f\n"})); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, "base.tar"), rootTar(), 0o644); err != nil {
				return err
			}
			image := filepath.Join(dir, "tree", "base")
			for i := range 1 + rnd.IntN(6) {
				name := filepath.Join(image, pick(rnd, []string{"link", "fifo", fmt.Sprint("n", i), "a\nb", "\u202e",
					strings.Repeat("n", 255), ".dockerignore", "Dockerfile"}))
				if _, err := os.Lstat(name); err == nil {
					continue // it may be a link that leads elsewhere, or a pipe
				}
				var err error
				switch rnd.IntN(7) {
				case 0:
					err = syscall.Mkfifo(name, 0o644)
				case 1:
					err = os.Symlink(pick(rnd, []string{"/etc/shadow", "/dev/zero", "..", ".", "link",
						"/proc/self/mem", "../../../.."}), name)
				case 2:
					err = os.MkdirAll(filepath.Join(name, strings.Repeat("d/", 60)), 0o755)
				case 3:
					err = os.WriteFile(name, []byte(strings.Repeat("**/*\n!x\n", 1000)), 0)
				case 4: // a file that claims to be large
					err = os.WriteFile(name, nil, 0o644)
					if err == nil {
						err = os.Truncate(name, 64<<20)
					}
				case 5:
					err = os.WriteFile(name, []byte("[\\"), 0o644)
				default:
					err = os.Symlink(name, name)
				}
				taken := os.IsExist(err) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR) ||
					errors.Is(err, syscall.ENXIO)
				if err != nil && !taken {
					return err
				}
			}
			return nil
		}}
}

// values are option values of every kind of mistake.
var values = append([]string{
	"-1", "0", "99999999999999999999", "1e9", "nan", "{{", "[", "(", "*", "^(a+)+$", "/dev/zero", "/dev/full",
	"/proc/self/mem", "/etc/shadow", "http://127.0.0.1:1", "file:///etc/passwd",
	"debian", "ubuntu", "none", "true", "linux/amd64,linux/arm64", "linux/\x1b[2J", "a=b", "=", ",", "\xff", "~",
	"$HOME", "`id`", "; touch " + escapee,
}, hostileNames...)

// commandLineCase runs a command that starts no builder with arbitrary options and values.
func commandLineCase(rnd *rand.Rand, env *environment) hostileCase {
	command := pick(rnd, []string{"images", "lint", "render", "diff", "remove", "gc", "save", "load", "completion",
		"help", "version", "registry", "list", "verify", "inventory", "tag", "copy", "contract", "--list-images",
		"--show-config", "\u202e", ""})
	c := hostileCase{kind: "command line", accepts: true, args: []string{command}}
	if command == "registry" {
		c.args = append(c.args, pick(rnd, []string{"gc", "trust", "srve", ""}), "--dir", "no-registry")
	}
	options := config.Options()
	for range rnd.IntN(5) {
		o := pick(rnd, options)
		switch o.Name {
		case "data-dir", "config-file", "work-dir", "logs-dir", "help":
			continue // they say where files are
		}
		if strings.HasSuffix(o.Name, "-file") || strings.HasSuffix(o.Name, "-dir") || strings.Contains(o.Name, "output") {
			continue
		}
		arg := "--" + o.Name
		if rnd.IntN(2) == 0 {
			arg += "=" + strings.ReplaceAll(pick(rnd, values), "\x00", "")
		}
		c.args = append(c.args, arg)
	}
	for range rnd.IntN(3) {
		value := strings.ReplaceAll(pick(rnd, values), "\x00", "")
		if value == "/dev/zero" && command == "load" {
			continue // it is as long as the clock says
		}
		c.args = append(c.args, value)
	}
	for i, a := range c.args {
		c.args[i] = strings.ReplaceAll(a, "\x00", "")
	}
	switch command {
	case "save", "inventory":
		c.args = append(c.args, "--output", "out.tar")
	case "remove":
		c.args = append(c.args, "nothing-of-this-name") // named images may be removed
		for i := 1; i < len(c.args)-1; i++ {
			if !strings.HasPrefix(c.args[i], "-") {
				c.args[i] = "nothing"
			}
		}
	}
	return c
}
