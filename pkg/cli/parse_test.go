package cli

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/spf13/pflag"
)

// load runs Load in a new directory with a kolla-build.conf of that text, if any, and
// no other file.
func load(t *testing.T, text string, words ...string) (*config.Config, error) {
	t.Helper()
	dir := t.TempDir()
	if text != "" {
		if err := os.WriteFile(filepath.Join(dir, "kolla-build.conf"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Load(Input{Args: words, Env: []string{"HOME=/home/someone"}, Dir: dir, SystemFile: "none", HostArch: "x86_64",
		Profiles: map[string][]string{"infra": {"cron"}, "default": {"keystone"}}})
}

func mustLoad(t *testing.T, text string, words ...string) *config.Config {
	t.Helper()
	c, err := load(t, text, words...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSpellings(t *testing.T) {
	for _, words := range [][]string{
		{"--base-tag", "x", "--nocache", "--type", "binary", "--network_mode", "none"},
		{"--base_tag=x", "--no-cache", "-t", "binary", "--network-mode=none"},
		{"-base-tag", "x", "-nocache", "-tbinary", "-network_mode", "none"},
		{"-base_tag=x", "--cache=false", "--install-type=binary", "--network_mo", "none"},
		{"--base-tag=y", "--base-tag=x", "--cache", "--no_cache", "--install_type", "binary", "--network_mode=none"},
	} {
		c, err := load(t, "", words...)
		if err != nil {
			t.Errorf("%q: %v", words, err)
			continue
		}
		if c.BaseTag != "x" || c.Cache || c.InstallType != "binary" || c.NetworkMode != "none" {
			t.Errorf("%q: %q %v %q %q", words, c.BaseTag, c.Cache, c.InstallType, c.NetworkMode)
		}
	}
	c := mustLoad(t, "[DEFAULT]\nbase-tag = x\ninstall-type = binary\n")
	if c.BaseTag != "x" || c.InstallType != "binary" || len(c.Warnings) > 0 {
		t.Errorf("dashes in a file: %q %q %v", c.BaseTag, c.InstallType, c.Warnings)
	}
}

func TestOldSpellings(t *testing.T) {
	c := mustLoad(t, "[profiles]\ncontainers = zun,magnum,heat\n", "-profile", "containers", "-push",
		"-registry", "h:1", "-b", "ubuntu")
	if !slices.Equal(c.Profile, []string{"containers"}) || !c.Push || c.Registry != "h:1" || c.Base != "ubuntu" {
		t.Errorf("%q %v %q %q", c.Profile, c.Push, c.Registry, c.Base)
	}
	if len(c.Warnings) != 3 || c.Warnings[0].Message != "-profile is read as --profile" {
		t.Errorf("warnings: %v", c.Warnings)
	}
	if got := c.Profiles["containers"]; !slices.Equal(got, []string{"zun", "magnum", "heat"}) {
		t.Errorf("containers = %q", got)
	}
	for _, words := range [][]string{{"-p", "default"}, {"-pdefault"}, {"-p=default"}, {"-qpdefault"}} {
		if c := mustLoad(t, "", words...); !slices.Equal(c.Profile, []string{"default"}) || len(c.Warnings) > 0 {
			t.Errorf("%q: %q %v", words, c.Profile, c.Warnings)
		}
	}
}

func TestMixedPositionals(t *testing.T) {
	c := mustLoad(t, "", "nova", "-b", "debian", "^zun$", "--push", "--", "-x")
	if want := []string{"nova", "^zun$", "-x"}; !slices.Equal(c.Regex, want) || !slices.Equal(c.Args, want) {
		t.Errorf("%q, %q", c.Regex, c.Args)
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, words := range [][]string{{"-h"}, {"--help"}, {"--nosuch", "--help"}, {"-b", "ubuntu", "-help"}} {
		if _, err := load(t, "", words...); !errors.Is(err, ErrHelp) {
			t.Errorf("%q: %v", words, err)
		}
	}
	if _, err := load(t, "[broken", "--version"); !errors.Is(err, ErrVersion) {
		t.Errorf("--version: %v", err)
	}
}

func TestSubcommandFlags(t *testing.T) {
	var addr string
	var push bool
	extra := func(f *pflag.FlagSet) {
		f.StringVarP(&addr, "addr", "a", ":4000", "")
		f.BoolVar(&push, "push", false, "") // the table has it, too
		f.IntP("days", "D", 1, "")          // and that letter
	}
	run := func(words ...string) (*config.Config, error) {
		return Load(Input{Command: Command{Name: "registry serve", Flags: extra,
			Options: []string{"namespace", "push", "docker-dir"}},
			Args: words, Dir: t.TempDir(), SystemFile: "none", Env: []string{"HOME=/h"}})
	}
	c, err := run("file.tar", "-addr", "x:1", "--push", "-n", "ns")
	if err != nil {
		t.Fatal(err)
	}
	if addr != "x:1" || !push || c.Push || c.Namespace != "ns" || !slices.Equal(c.Args, []string{"file.tar"}) {
		t.Errorf("%q %v %v %q %q", addr, push, c.Push, c.Namespace, c.Args)
	}
	for words, want := range map[string]string{"-D x": "-D x: ", "--days=x": "--days=x: ",
		"--addr":  "--addr needs a value",
		"--adr x": `did you mean --addr?`} {
		if _, err := run(strings.Fields(words)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", words, err)
		}
	}
}

// --keep is upstream's switch; with a number it means the sets that stay.
func TestKeepWithANumber(t *testing.T) {
	for arg, want := range map[string]struct {
		keep   bool
		retain string
	}{
		"--keep":      {true, ""},
		"--keep=true": {true, ""},
		"--keep=1":    {true, ""},
		"--keep=0":    {false, ""},
		"--keep=14":   {false, "14"},
		"--keep=30d":  {false, "30d"},
		"--nokeep":    {false, ""},
		"--retain=1":  {false, "1"},
	} {
		cfg, err := load(t, "", arg, "nova")
		if err != nil {
			t.Errorf("%s: %v", arg, err)
			continue
		}
		if cfg.Keep != want.keep || cfg.Retain != want.retain || len(cfg.Regex) != 1 {
			t.Errorf("%s: keep %v, retain %q, regex %q", arg, cfg.Keep, cfg.Retain, cfg.Regex)
		}
	}
	if _, err := load(t, "", "--keep=14x"); err == nil {
		t.Error("--keep=14x was taken")
	}
}

// FuzzArgs checks that no command line is fatal.
func FuzzArgs(f *testing.F) {
	for _, line := range []string{"", "-b ubuntu nova", "-ldq", "--base=debian -p infra -pmain", "-- -x", "-T4 --no",
		"--build-args a:1,b", "--keep=14", "-registry x", "--tag $base", "-", "--=x", "-é"} {
		f.Add(strings.ReplaceAll(line, " ", "\x00"))
	}
	f.Fuzz(func(t *testing.T, joined string) {
		_, err := parse(Input{Args: strings.Split(joined, "\x00")})
		var e *config.Error
		if err != nil && err != ErrHelp && err != ErrVersion && !errors.As(err, &e) {
			t.Fatalf("%q: %v", joined, err)
		}
	})
}

// TestNoFiles checks that mistakes in a file and in the environment do not stop commands that
// use no configuration.
func TestNoFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kolla-build.conf"), []byte("broken"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, noFiles := range []bool{true, false} {
		_, err := Load(Input{Command: Command{Name: "version", NoFiles: noFiles}, Dir: dir,
			Env: []string{"KOLLA_BUILD_THREADS=many", "HOME=" + dir}})
		if (err == nil) != noFiles {
			t.Errorf("NoFiles %v: %v", noFiles, err)
		}
	}
}

// TestAbbreviationsThatAreCommands checks that an abbreviated option which is the name of a
// command is refused, but for a directory: Kolla's tool reads --logs DIR.
func TestAbbreviationsThatAreCommands(t *testing.T) {
	commands := []Command{{}, {Name: "save"}, {Name: "logs"}}
	for _, c := range []struct {
		args    []string
		refused bool
	}{
		{[]string{"--save", "set.tar"}, true},
		{[]string{"--save-dep", "graph.dot"}, false},
		{[]string{"--logs", "/tmp/logs"}, false},
	} {
		if _, err := parse(Input{Args: c.args, Commands: commands}); (err != nil) != c.refused {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}
