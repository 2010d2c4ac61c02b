package dockerfiles_test

import (
	"os"
	"strings"
	"testing"
)

// program installs a shell script in /opt/bin.
func (r *scratchRoot) program(name, script string) {
	r.t.Helper()
	r.write("opt/bin/"+name, "#!/bin/bash\n"+script+"\n")
	if err := os.Chmod(r.path("opt/bin/"+name), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

const testPath = "PATH=/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func TestKollaStart(t *testing.T) {
	for _, test := range []struct {
		name, command, extend, cacerts string
		env                            []string
		status                         int
		want                           string // the last line of the output
	}{
		{name: "command", command: "printf %s, a b", want: "a,b,"},
		{name: "arguments", command: "printf %s, a", extend: `ARGS="b c"`, want: "a,b,c,"},
		// A command is split into words, without quoting.
		{name: "quotes", command: `printf %s, "a b"`, want: `"a,b",`},
		{name: "wildcard", command: "printf %s, /srv/*", want: "/srv/a,/srv/b,"},
		{name: "environment", command: "printenv SET", extend: "export SET=yes", want: "yes"},
		{name: "bootstrap", command: "echo not run", extend: "echo bootstrapped; exit 0", want: "bootstrapped"},
		{name: "skip", command: "echo run", extend: "exit 3", env: []string{"KOLLA_SKIP_EXTEND_START=true"}, want: "run"},
		{name: "skip_empty", command: "echo run", extend: "exit 3", env: []string{"KOLLA_SKIP_EXTEND_START="}, want: "run"},
		{name: "extend_fails", command: "echo not run", extend: "echo failed; false", status: 1, want: "failed"},
		{name: "unset_variable", command: "echo not run", extend: "echo $NOT_SET", status: 1, want: "unbound"},
		{name: "cacerts_fail", command: "echo not run", cacerts: "echo failed; exit 4", status: 4, want: "failed"},
		{name: "exit_status", command: "false", status: 1},
	} {
		for script, path := range oursAndKollas("base/start.sh", "base/start.sh") {
			t.Run(test.name+"/"+script, func(t *testing.T) {
				r := newScratchRoot(t, "/bin/bash")
				r.install(path, "opt/bin/kolla_start")
				r.write("srv/a", "")
				r.write("srv/b", "")
				r.write("command", test.command)
				r.program("sudo", `if [ "$1" = -E ]; then shift; fi; "$@"`)
				r.program("kolla_set_configs", "cp /command /run_command")
				r.program("kolla_copy_cacerts", test.cacerts)
				r.program("kolla_install_projects", "")
				r.program("kolla_extend_start", test.extend)
				status, out := r.run(append(test.env, testPath), "kolla_start")
				if status != test.status {
					t.Errorf("exit status %d, want %d\n%s", status, test.status, out)
				}
				var printed []string // without xtrace
				for line := range strings.Lines(out) {
					if !strings.HasPrefix(line, "+") && !strings.HasPrefix(line, "Running command:") {
						printed = append(printed, strings.TrimSpace(line))
					}
				}
				if test.want != "" && (len(printed) == 0 || !strings.Contains(printed[len(printed)-1], test.want)) {
					t.Errorf("no %q at the end of\n%s", test.want, out)
				}
				if strings.Contains(strings.Join(printed, "\n"), "not run") {
					t.Errorf("the command was run\n%s", out)
				}
			})
		}
	}
}

func TestCopyCACerts(t *testing.T) {
	const anchors = "etc/pki/ca-trust/source/anchors"
	for script, path := range oursAndKollas("base/copy_cacerts.sh", "base/copy_cacerts.sh") {
		t.Run(script, func(t *testing.T) {
			r := newScratchRoot(t, "/bin/bash")
			r.install(path, "opt/bin/kolla_copy_cacerts")
			r.program("update-ca-trust", "echo updated")
			r.write("etc/redhat-release", "")
			r.write("etc/kolla/defaults/state", "{}")
			r.write(anchors+"/site.crt", "the image's")
			run := func(updated bool) {
				t.Helper()
				status, out := r.run([]string{testPath}, "kolla_copy_cacerts")
				if status != 0 {
					t.Fatalf("exit status %d\n%s", status, out)
				}
				if strings.Contains(out, "updated") != updated && script == "ours" {
					t.Errorf("updated is %v, want %v\n%s", !updated, updated, out)
				}
			}
			run(false)

			r.write("var/lib/kolla/config_files/ca-certificates/a b.crt", "a")
			r.write("var/lib/kolla/config_files/ca-certificates/old.crt", "old")
			r.write("var/lib/kolla/config_files/ca-certificates/directory/c.crt", "c")
			if script != "ours" {
				t.Skip("Kolla's script: file names must not have spaces")
			}
			run(true)
			for name, want := range map[string]string{"kolla-customca-a b.crt": "-rw-r--r-- a",
				"kolla-customca-old.crt": "-rw-r--r-- old", "kolla-customca-directory": "", "site.crt": "-rw-r--r-- the image's"} {
				if got := r.describe(anchors + "/" + name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}

			// The next start has others, in the directory to which config.json copies them.
			r.write("etc/kolla/defaults/state", `{"x": {"source": "/var/lib/kolla/share/ca-certificates", "dest": null}}`)
			r.write("var/lib/kolla/share/ca-certificates/new.crt", "new")
			run(true)
			if r.exists(anchors+"/kolla-customca-old.crt") || !r.exists(anchors+"/kolla-customca-new.crt") {
				t.Error("the certificates are not those of the shared directory")
			}
		})
	}
}

func TestInstallProjects(t *testing.T) {
	for script, path := range oursAndKollas("base/install_projects.sh", "base/install_projects.sh") {
		t.Run(script, func(t *testing.T) {
			r := newScratchRoot(t, "/bin/bash")
			r.install(path, "opt/bin/kolla_install_projects")
			run := func() string {
				t.Helper()
				status, out := r.run([]string{"PATH=/var/lib/kolla/venv/bin:" + strings.TrimPrefix(testPath, "PATH=")},
					"kolla_install_projects")
				if status != 0 {
					t.Fatalf("exit status %d\n%s", status, out)
				}
				return out
			}
			run() // no development mode
			r.write("dev-mode/nova/setup.cfg", "")
			r.write("dev-mode/plugin/setup.cfg", "")
			if out := run(); script == "ours" && !strings.Contains(out, "/dev-mode/nova is not installed") {
				t.Errorf("without a virtual environment: %s", out)
			}
			r.program("pip", `echo "pip $1 $3"`)
			if err := os.MkdirAll(r.path("var/lib/kolla/venv"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(r.path("opt/bin"), r.path("var/lib/kolla/venv/bin")); err != nil {
				t.Fatal(err)
			}
			if out := run(); !strings.Contains(out, "pip install /dev-mode/nova\npip install /dev-mode/plugin\n") {
				t.Errorf("pip was not run for each project: %s", out)
			}
		})
	}
}

func TestHTTPDSetup(t *testing.T) {
	for script, path := range oursAndKollas("base/httpd_setup.sh", "httpd/httpd_setup.sh") {
		for _, test := range []struct {
			name, distribution string
			files              map[string]string
			check              string
			want               string
		}{
			{name: "rpm_status", distribution: "rocky",
				files: map[string]string{"etc/httpd/conf.modules.d/00-base.conf": "", "etc/pki/tls/certs/localhost.crt": ""},
				check: "cat /etc/httpd/conf.modules.d/99-server-status.conf",
				want:  "<Location \"/server-status\">\n    SetHandler server-status\n    Require local\n</Location>\n"},
			{name: "rpm_old_files", distribution: "centos",
				files: map[string]string{"etc/httpd/conf.modules.d/00-base.conf": "", "etc/pki/tls/certs/localhost.crt": "",
					"var/run/httpd/httpd.pid": "1", "tmp/httpd-old": ""},
				check: "ls -A /var/run/httpd /tmp | grep httpd-\\|pid || echo none", want: "none\n"},
			{name: "deb_variables", distribution: "debian",
				files: map[string]string{"etc/apache2/envvars": `test -z "$APACHE_CONFDIR" && APACHE_RUN_USER=www-data`,
					"var/run/apache2/apache2.pid": "1"},
				check: "echo $APACHE_RUN_USER; ls -A /var/run/apache2", want: "www-data\n"},
			{name: "locale", distribution: "debian", files: map[string]string{"etc/apache2/envvars": ""},
				check: "echo $LANG", want: "C.UTF-8\n"},
			{name: "locale_of_deployment", distribution: "debian",
				files: map[string]string{"etc/apache2/envvars": "",
					"etc/default/locale": "LANG=cs_CZ.UTF-8"}, check: "echo $LANG", want: "cs_CZ.UTF-8\n"},
		} {
			t.Run(test.name+"/"+script, func(t *testing.T) {
				r := newScratchRoot(t, "/bin/bash")
				r.install(path, "opt/httpd_setup")
				for name, content := range test.files {
					r.write(name, content)
				}
				options := "set -o errexit -o pipefail -o nounset; "
				if script != "ours" {
					options = "set -o pipefail -o nounset; " // Kolla's script fails without a file for the locale
				}
				status, out := r.run([]string{testPath, "KOLLA_BASE_DISTRO=" + test.distribution}, "bash", "-c",
					options+". /opt/httpd_setup; set +o errexit; "+test.check)
				if status != 0 || out != test.want {
					t.Errorf("exit status %d, output %q, want %q", status, out, test.want)
				}
			})
		}
	}
}
