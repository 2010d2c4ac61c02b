package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// effect is a test of an option's effect, not only of its being read.
type effect struct {
	// With args, the result matches want; without the option, or with without instead
	// of args, it does not.
	args, without string
	want          string // a regular expression
	look          look
	// held is another test of the effect, as FILE: TEXT. The file must contain the
	// text.
	held string
}

// look is where the result of a command line appears.
type look int

const (
	inRendered look = iota // the files of --template-only
	inOutput               // standard output and standard error
	inNote                 // a warning, because the option has no other effect
)

// effects contains every option of the table. An option without a test that shows its
// effect does not belong in the table.
var effects = map[string]effect{
	// Selection.
	"regex": {args: "--list-images base", without: "--list-images", want: `1 : base\n\z`, look: inOutput},
	"profile": {args: "--list-images --config-file my.conf --profile mine",
		without: "--list-images --config-file my.conf", want: `1 : base\n\z`, look: inOutput},
	"skip-parents":  {held: "testdata/script/plan_push.txt: --skip-parents"},
	"skip-existing": {held: "testdata/script/plan_push.txt: --skip-existing"},
	"enable-unbuildable": {args: "--images-dir= -b debian -t binary --list-images zun-api keystone --enable-unbuildable",
		want: `: zun-api\n`, look: inOutput},
	"allowed-to-fail": {held: "testdata/script/push_set.txt: allowed_to_fail"},
	"list-images": {args: "--list-images child", without: "--list-dependencies child",
		want: "1 : base", look: inOutput},
	"list-dependencies": {args: "--list-dependencies child", without: "--list-images child",
		want: `"base": \[`, look: inOutput},
	"save-dependency": {held: "testdata/script/list_images.txt: --save-dependency"},
	"dry-run":         {held: "testdata/script/plan_push.txt: --dry-run"},
	"template-only":   {held: "testdata/script/template_only.txt: --template-only"},

	// Base distribution.
	"base":     {args: "--base ubuntu", without: "--base debian", want: "distro=ubuntu"},
	"base-tag": {args: "--base-tag bookworm", want: "FROM debian:bookworm"},
	"base-image": {args: "--base-image registry.example.org/deb",
		want: "FROM registry.example.org/deb:trixie"},
	"base-arch": {args: "--base-arch aarch64", without: "--base-arch x86_64", want: "arch=aarch64/arm64"},
	"debian-arch": {args: "explain child --config-file my.conf --debian-arch arm64",
		without: "explain child --config-file my.conf --debian-arch amd64", want: "/arm64/x.tar.gz", look: inOutput},
	"platform":               {held: "testdata/script/platforms.txt: --platform"},
	"base-mirror":            {held: "testdata/script/options_base.txt: --base-mirror"},
	"bootstrap":              {held: "testdata/script/options_base.txt: --bootstrap never"},
	"base_package_type":      {args: "--base_package_type rpm", want: "type=rpm"},
	"distro_package_manager": {args: "--distro_package_manager microdnf", want: "manager=microdnf"},
	"repos-yaml":             {args: "--repos-yaml repos.yaml", want: "repo.example.org"},
	"apt_sources_list":       {args: "--apt_sources_list sources.list", want: "deb http://mirror.example.org"},
	"apt_preferences":        {args: "--apt_preferences preferences", want: "Pin: release"},
	"rpm_setup_config": {args: "--rpm_setup_config http://example.org/x.repo",
		want: "curl -L http://example.org/x.repo"},
	"clean_package_cache": {args: "--noclean_package_cache", want: "clean=False"},
	"use-dumb-init":       {args: "--nouse-dumb-init", want: "dumb=False"},
	"docker-healthchecks": {args: "--nodocker-healthchecks", want: "health=False"},

	// Release and sources.
	"openstack-release":          {args: "--openstack-release 2025.2", want: "release=2025.2"},
	"openstack-release-codename": {args: "--openstack-release-codename Flamingo", want: "codename=Flamingo"},
	"openstack-branch":           {args: "--openstack-branch stable-x", want: "branch=stable-x "},
	"openstack-branch-slashed":   {args: "--openstack-branch-slashed stable/y", want: "slashed=stable/y"},
	"install-type":               {args: "--install-type binary", want: "install=binary"},
	"tarballs-base": {args: "explain child --config-file my.conf --tarballs-base http://mirror.example.org",
		without: "explain child --config-file my.conf", want: "http://mirror.example.org/amd64/x.tar.gz", look: inOutput},
	"tarballs-mirrors": {held: "testdata/script/options_sources.txt: --tarballs-mirrors"},
	"locals-base":      {held: "testdata/script/sources_build.txt: --locals-base"},
	"patches-path":     {args: "--patches-path patches", want: "=== .*/base/patches/series"},

	// Templates.
	"images-dir": {args: "--list-images", without: "--images-dir= --list-images",
		want: `2 : child\n\z`, look: inOutput},
	"docker-dir":        {args: "--docker-dir more", want: "FROM kolla/child:.*\n# more"},
	"template-override": {args: "--template-override over.j2", want: "# overridden"},
	"work-dir": {args: "--template-only --work-dir there", without: "--template-only --work-dir other",
		want: "generated in there/docker", look: inOutput},
	"build-args": {held: "testdata/script/options_build.txt: --build-args"},
	"maintainer": {args: "--maintainer somebody", want: "maintainer=somebody"},

	// Names, tags and publication.
	"registry":          {args: "--registry localhost:4000", want: "FROM localhost:4000/kolla/base:"},
	"namespace":         {args: "--namespace team/x", want: "FROM team/x/base:"},
	"image-name-prefix": {args: "--image-name-prefix pre-", want: "FROM kolla/pre-base:"},
	"tag":               {args: "--tag t1", want: "FROM kolla/base:t1"},
	"also-tag":          {held: "testdata/script/publish_tags.txt: --also-tag"},
	"retain":            {held: "testdata/script/publish_tags.txt: --retain"},
	"allow-partial":     {held: "testdata/script/publish_tags.txt: --allow-partial"},
	"push":              {held: "testdata/script/push_set.txt: --push"},
	"push-threads":      {held: "pkg/build/run_test.go: PushThreads"},
	"registry-insecure": {held: "pkg/registry/auth_test.go: registry-insecure"},

	// Building.
	"threads":       {held: "testdata/script/options_build.txt: --threads 1"},
	"retries":       {held: "testdata/script/build_retries.txt: --retries"},
	"timeout":       {held: "testdata/script/options_base.txt: --timeout 1"},
	"image-timeout": {held: "testdata/script/options_build.txt: --image-timeout"},
	"step-timeout":  {held: "testdata/script/build_retries.txt: --step-timeout"},
	"retry-time":    {held: "pkg/build/run_test.go: RetryTime"},
	"fail-fast":     {held: "testdata/script/options_build.txt: --fail-fast"},
	"rerun-failed":  {held: "testdata/script/build_rerun_failed.txt: --rerun-failed"},
	"image-memory":  {held: "testdata/script/options_build.txt: --image-memory"},
	"refresh":       {held: "cmd/kolla-build/refresh_test.go: --refresh"},
	"clamp-times":   {held: "testdata/script/options_build.txt: --noclamp-times"},
	"offline":       {held: "testdata/script/offline_build.txt: --offline"},
	"inputs":        {held: "testdata/script/offline_build.txt: --inputs"},
	"compression":   {held: "testdata/script/options_build.txt: --compression"},
	"cache":         {held: "testdata/script/build_on_stored_parents.txt: --nocache"},
	"package-cache": {held: "pkg/build/buildkit/packagecache_test.go: PackageCache"},
	"pull":          {held: "testdata/script/options_base.txt: --nopull"},
	"keep":          {args: "--list-images --keep", want: "warning: --keep has no effect", look: inNote},
	"squash":        {held: "testdata/script/squash.txt: --squash"},
	"squash-cleanup": {args: "--list-images --nosquash-cleanup",
		want: "warning: --nosquash-cleanup has no effect", look: inNote},
	"squash-tmp-dir": {args: "--list-images --squash-tmp-dir x",
		want: "warning: squash-tmp-dir has no effect", look: inNote},
	"allow":        {held: "testdata/script/build_privileges.txt: --allow network.host"},
	"secret":       {held: "testdata/script/build_secrets.txt: --secret"},
	"ssh":          {held: "testdata/script/build_secrets.txt: --ssh"},
	"network_mode": {held: "testdata/script/options_build.txt: --network_mode none"},

	// BuildKit, store and engines.
	"engine":           {held: "testdata/script/engine_docker.txt: --engine"},
	"podman_base_url":  {held: "testdata/script/engine_podman.txt: --podman_base_url"},
	"buildkit":         {args: "--list-images --nobuildkit", want: "warning: --nobuildkit has no effect", look: inNote},
	"buildkit-builder": {held: "testdata/script/options_build.txt: --buildkit-builder"},
	"buildkit-addr":    {held: "testdata/script/error_unreachable.txt: --buildkit-addr"},
	"buildkitd":        {held: "testdata/script/errors_names.txt: --buildkitd"},
	"cache-size":       {held: "pkg/build/buildkit/cache_test.go: MaxUsed"},
	"min-free":         {held: "pkg/build/buildkit/cache_test.go: MinFree"},
	"data-dir":         {held: "testdata/script/options_base.txt: --data-dir"},

	// Output and reports.
	"progress":          {held: "testdata/script/options_build.txt: --progress json"},
	"quiet":             {held: "testdata/script/options_build.txt: --quiet"},
	"debug":             {held: "testdata/script/options_build.txt: --debug"},
	"logs-dir":          {held: "testdata/script/build_failure.txt: --logs-dir"},
	"summary":           {held: "testdata/script/options_build.txt: --nosummary"},
	"format":            {held: "testdata/script/options_build.txt: --format none"},
	"summary-json-file": {held: "testdata/script/build_failure.txt: --summary-json-file"},
	"report-html":       {held: "testdata/script/report_files.txt: --report-html"},
	"junit-file":        {held: "testdata/script/report_files.txt: --junit-file"},
	"metrics-file":      {held: "testdata/script/report_files.txt: --metrics-file"},
	"report-dir":        {held: "testdata/script/report_files.txt: --report-dir"},

	// Configuration.
	"config-file":     {args: "--config-file my.conf", want: "maintainer=of my.conf"},
	"config-dir":      {args: "--config-dir conf.d", want: "maintainer=of conf.d"},
	"strict":          {held: "testdata/script/errors_config.txt: --strict"},
	"generate-config": {args: "--generate-config", without: "--list-images", want: `(?m)^\[DEFAULT\]`, look: inOutput},
	"help":            {args: "--help", without: "--list-images", want: "Usage: kolla-build", look: inOutput},
	"version":         {args: "--version", without: "--list-images", want: "kolla-build devel", look: inOutput},

	// Options of older releases.
	"include-header": {args: "--include-header header",
		want: "FROM debian:trixie\n(.*\n)*# of the header|# of the header\n(.*\n)*FROM debian:trixie"},
	"include-footer": {args: "--include-footer footer", want: "# of the footer"},
	"infra-rename":   {args: "--list-images --infra-rename", want: "warning: --infra-rename has no effect", look: inNote},
}

// effectFiles are the files in the working directory of the command lines in effects.
var effectFiles = map[string]string{
	"tree/base/Dockerfile.j2": `FROM {{ base_image }}:{{ base_distro_tag }}
# distro={{ base_distro }} arch={{ base_arch }}/{{ debian_arch }} type={{ base_package_type }} manager={{ distro_package_manager }}
# release={{ openstack_release }} codename={{ openstack_release_codename }} branch={{ openstack_branch }} slashed={{ openstack_branch_slashed }}
# install={{ install_type }} maintainer={{ maintainer }} dumb={{ use_dumb_init }} health={{ docker_healthchecks }} clean={{ clean_package_cache }}
{% for line in rpm_setup %}{{ line }}
{% endfor %}
{% if repos_yaml %}{{ handle_repos(["extra"], "enable") }}{% endif %}
{% block footer %}{% endblock %}
`,
	"tree/child/Dockerfile.j2": "FROM {{ namespace }}/{{ image_prefix }}base:{{ tag }}\nADD child-archive /\n",
	"more/more/Dockerfile.j2":  "FROM {{ namespace }}/{{ image_prefix }}child:{{ tag }}\n# more\n",
	"my.conf":                  "[DEFAULT]\nmaintainer = of my.conf\n[profiles]\nmine = base\n[child]\ntype = url\nlocation = $tarballs_base/${debian_arch}/x.tar.gz\n",
	"conf.d/a.conf":            "[DEFAULT]\nmaintainer = of conf.d\n",
	"over.j2":                  "{% extends parent_template %}\n{% block footer %}\n# overridden\n{% endblock %}\n",
	"header":                   "# of the header\n",
	"footer":                   "# of the footer\n",
	"sources.list":             "deb http://mirror.example.org/debian trixie main\n",
	"preferences":              "Package: *\nPin: release n=trixie\nPin-Priority: 900\n",
	"patches/base/series":      "one.patch\n",
	"patches/base/one.patch":   "\n",
	"repos.yaml":               "debian:\n  extra:\n    name: extra\n    url: https://repo.example.org/debian\n    suite: trixie\n    component: main\n    gpg_key: extra.asc\n",
}

// TestEveryOptionHasAnEffect checks that each option of the table has a test that shows
// its effect, and runs those that need no builder.
func TestEveryOptionHasAnEffect(t *testing.T) {
	testenv.Slow(t)
	for _, o := range config.Options() {
		if _, ok := effects[o.Name]; !ok {
			t.Errorf("no test shows what --%s does: add one to effects", o.Name)
		}
	}
	work := t.TempDir()
	for name, text := range effectFiles {
		path := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root := testenv.RepoRoot(t)
	t.Chdir(work)
	for name, e := range effects {
		t.Run(name, func(t *testing.T) {
			if config.Lookup(name) == nil {
				t.Fatal("there is no such option")
			}
			if e.held != "" {
				file, text, _ := strings.Cut(e.held, ": ")
				data, err := os.ReadFile(filepath.Join(root, file))
				if err != nil || !bytes.Contains(data, []byte(text)) {
					t.Errorf("%s does not contain %q (%v)", file, text, err)
				}
				return
			}
			want := regexp.MustCompile(e.want)
			without := e.without
			if without == "" {
				without = leaveOut(e.args, name)
			}
			if got := whatIsSeen(t, e.look, e.args); !want.MatchString(got) {
				t.Errorf("kolla-build %s: %q is not in:\n%s", e.args, e.want, got)
			}
			if got := whatIsSeen(t, e.look, without); want.MatchString(got) {
				t.Errorf("kolla-build %s: %q is there without the option:\n%s", without, e.want, got)
			}
		})
	}
}

// leaveOut removes an option and its value from a command line.
func leaveOut(args, name string) string {
	words := strings.Fields(args)
	o := config.Lookup(name)
	at := slices.IndexFunc(words, func(w string) bool { return w == "--"+name || w == "--no"+name })
	n := 2
	if o.Kind == config.Bool {
		n = 1
	}
	return strings.Join(slices.Delete(words, at, at+n), " ")
}

// whatIsSeen runs a command line and returns its result.
func whatIsSeen(t *testing.T, where look, args string) string {
	t.Helper()
	dir := t.TempDir()
	line := []string{}
	if !strings.Contains(args, "--images-dir") {
		line = append(line, "--images-dir", "tree")
	}
	words := strings.Fields(args)
	if !slices.Contains(words, "--base") {
		line = append(line, "--base", "debian")
	}
	if where == inRendered {
		line = append(line, "--template-only", "--work-dir", dir)
	}
	var stdout, stderr bytes.Buffer
	run(append(line, words...), []string{"HOME=" + dir, "KOLLA_BUILD_DATA_DIR=" + filepath.Join(dir, "data")}, &stdout,
		&stderr)
	if where != inRendered {
		return stdout.String() + stderr.String()
	}
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		b.WriteString("=== " + path + "\n" + string(data))
		return err
	})
	if err != nil || b.Len() == 0 {
		t.Fatalf("kolla-build %v renders nothing: %v %s", words, err, stderr.String())
	}
	return b.String()
}
