package config_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

func TestGoldenTexts(t *testing.T) {
	texts := map[string]string{
		"sample.conf":  config.SampleConfig(),
		"mistakes.txt": mistakes(t),
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) { testenv.Golden(t, name, text, *update) })
	}
	testenv.GoldenNames(t, slices.Collect(maps.Keys(texts)))
}

// mistakes returns users' mistakes with their error messages.
func mistakes(t *testing.T) string {
	conf := func(text string, words ...string) osloCase {
		return osloCase{Args: words, Files: map[string]string{"kolla-build.conf": text}}
	}
	env := func(pairs ...string) osloCase {
		c := osloCase{Env: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			c.Env[pairs[i]] = pairs[i+1]
		}
		return c
	}
	cases := []osloCase{
		// The command line.
		args("--bsae", "debian"), args("--base_tga",
			"x"), args("--nocahce"), args("-x"), args("-ubuntu"), args("--regex", "nova"),
		args("--base", "ubunto"), args("-b", "fedora"), args("--base"), args("-b", "--push"), args("--registry", "--push"),
		args("--threads", "0"), args("-T", "many"), args("--timeout", "-5"), args("--retries",
			"99999999999999999999"), args("--cache=maybe"),
		args("--build-args", "http_proxy"), args("--build-args", "http_proxy=http://p:3128"),
		args("--build-args", "http_proxy=http://p:3128,https_proxy=http://p:3128"),
		args("--build-args", "no_proxy=localhost,127.0.0.1"), args("--build-args",
			"no_proxy=localhost,http_proxy:http://p:3128"),
		args("--build-args", "no_proxy:localhost,foo:bar,broken"), args("--build-args",
			"no_proxy:localhost,registry.site:5000"),
		args("--build-args", "no_proxy:localhost,registry:5000"),
		args("--build-args", "my-arg:x,my.arg:y"), env("OS_DEFAULT__BUILD_ARGS", "my-arg:x"),
		conf("[DEFAULT]\nbuild_args = NO_PROXY:localhost,127.0.0.1,http_proxy:http://p:3128\n"),
		args("--build-args", "a:1", "--build-args", "b:2"), args("--list"),
		args("-p", "infar"), args("-p", "infra,main"), args("-profil", "infra"),
		args("-profile", "infra", "-push", "-registry", "localhost:4000"), args("-threds=3"), args("-registy", "x"),
		args("-p", "infra", "nova"), args("--config-file", "kolla-biuld.conf"), args("--config-dir", "nowhere"),
		args("--config-dir", "kolla-build.conf"), args("--config-file", "."),
		args("--tag", "$bsae"), args("--tag", "$base.1"), args("--tag", "$namespace", "--namespace", "$tag"),
		args("--squash-tmp-dir", "/x", "--nobuildkit", "--keep", "--infra-rename"),
		args("--buildkit-builder", "b", "--buildkit-addr", "tcp://x:1"), args("--progress", "dots"), args("--type", "rpm"),
		// Files.
		conf("[DEFAULT]\nbase ubuntu\n"), conf("[DEFAULT]\n--push\n"), conf("base = ubuntu\n"),
		conf("DEFAULT:\n  base: debian\n"), conf("{\"DEFAULT\": {}}\n"),
		conf("{\n  \"DEFAULT\": {\n    \"base\": \"debian\"\n  }\n}\n"), conf("[\n  {\"base\": \"debian\"}\n]\n"),
		conf("---\nbase: debian\n"), conf("[DEFAULT\n"), conf("[DEFAULT] # mine\n"), conf("[]\n"), conf("[DEFAULT]\n= x\n"),
		conf("[DEFAULT]\n# a comment\n  base = debian\n"),
		conf("[DEFAULT]\nbase = ubuntu # the best\n"), conf("[DEFAULT]\nbase = Ubuntu\n"),
		conf("[DEFAULT]\nbsae = ubuntu\n"), conf("[DEFAULT]\nbsae = ubuntu\n", "--strict"),
		conf("[DEFAULT]\nBase = ubuntu\n"), conf("[DEFAULT]\ntype = binary\n"),
		conf("[DEFAULT]\nthreads = eight\n"), conf("[DEFAULT]\n\tthreads = 8\n"),
		conf("[DEFAULT]\nthreads = 4\n\n  more\n"), conf("[DEFAULT]\npush = maybe\n"),
		conf("[DEFAULT]\ntag = ${base-tag}\n"), conf("[DEFAULT]\ntag = ${opnstack_release}\n"),
		conf("[DEFAULT]\nconfig_file = x\n"), conf("[DEFAULT]\ninfra = nova\nlocation = x\nuid = 3\n"),
		conf("[DEFAULT]\nprofile = containers\n[profile]\ncontainers = zun\n"), conf("[default]\nbase = debian\n"),
		conf("[kolla-build]\nbase = debian\n"),
		conf("[profiles]\nbase = debian\n"), conf("[profiles]\nmine =\n", "-p",
			"mine"), conf("[keystone-base]\nlocaton = x\nbase = debian\n"), conf("[keystone-base]\ntype = gti\n"),
		conf("[keystone-base]\nlocation = $tarball_base/x\n"),
		conf("[keystone-base]\nlocation = $version\nversion = $location\n"),
		conf("[etcd]\nsha256 = amd46:12\n"), conf("[etcd]\nsha256 = 12\n"), conf("[etcd]\nenabled = si\n"),
		conf("[nova-user]\nuid = nova\ngdi = 3\n"), conf("[mine-user]\ngid = 3\n"), conf("[nova-user]\nuid = -1\n"),
		conf("[DEFAULT]\ntag = \xff\n"),
		conf("[DEFAULT]\nsquash_tmp_dir = /x\n"),
		// The environment.
		env("KOLLA_BUILD_BSAE", "debian"), env("KOLLA_BUILD_BASE", "debain"), env("OS_DEFAULT__THREADS", "no"),
		{Files: map[string]string{"kolla-build.conf": "[DEFAULT]\ntag = $base_tga\n"},
			Env: map[string]string{"base_tga": "x"}},
		env("KOLLA_BUILD_CONFIG_FILE", "x"), env("OS_NOVA-USER__UID", "x"),
	}
	var b strings.Builder
	for _, c := range cases {
		c.Dir = t.TempDir()
		if c.Files == nil {
			c.Files = map[string]string{"kolla-build.conf": ""}
		}
		for name, text := range c.Files {
			if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		in := cli.Input{Args: c.Args, Dir: c.Dir, SystemFile: "no-system.conf", HostArch: "x86_64", Profiles: someProfiles,
			Env: []string{"HOME=/home/someone"}}
		for _, name := range slices.Sorted(maps.Keys(c.Env)) {
			in.Env = append(in.Env, name+"="+c.Env[name])
			fmt.Fprintf(&b, "%s=%s ", name, c.Env[name])
		}
		fmt.Fprintf(&b, "$ kolla-build %s\n", strings.Join(c.Args, " "))
		if text := c.Files["kolla-build.conf"]; text != "" {
			fmt.Fprintf(&b, "-- kolla-build.conf --\n%s--\n", strings.ToValidUTF8(text, "?"))
		}
		got, err := cli.Load(in)
		switch {
		case err != nil:
			fmt.Fprintf(&b, "error: %v\n", err)
		case len(got.Warnings) == 0:
			t.Errorf("%v: nothing is said about it", c)
		default:
			for _, w := range got.Warnings {
				fmt.Fprintf(&b, "warning: %v\n", w)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

var someProfiles = map[string][]string{"infra": {"cron", "etcd"}, "main": {"keystone", "nova-"}, "aux": {"heat"},
	"default": {"keystone"}}
