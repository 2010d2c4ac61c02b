package hostile

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/contract"
	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/render"
)

const confText = `[DEFAULT]
base = debian
install_type = source
tag = 1
namespace = team/kolla
registry = localhost:4000
threads = 4
regex = ^nova,glance
build_args = A:1,B:2
profile = infra

[profiles]
mine = ^base$,^openstack

[keystone-base]
type = git
location = https://mirror.example/keystone.git
reference = $openstack_branch

[nova-base-plugin-x]
type = url
location = https://mirror.example/${version}/x.tar.gz
version = 1

[nova-user]
uid = 42436
gid = 42436
`

var confPieces = []string{
	"[DEFAULT]", "[", "[]", "[a\nb]", "x", "= y", ": z", "\ttabs = 1", "  continued", "a = $a", "a = ${b}", "b = ${a}",
	"a = $$$", "a = ${", "a = ${x:y:z}", "threads = -1", "threads = 99999999999999999999",
	"threads = 1e9", "base = \x1b[2J",
	"uid = -5", "uid = 4294967296", "regex = (", "regex = " + strings.Repeat("(a*)*",
		200), "namespace = ../../" + escapee, "tag = " + strings.Repeat("t", 300), "\x00", "\xff", "\u202e",
	"profile = " + strings.Repeat("x,", 20_000), "[nova-user]",
	"[\x1b[2J]", "data_dir = /", "images_dir = /dev/zero", "template_override = /dev/zero", "config_file = /dev/zero",
	"locals_base = /", "build_args = " + strings.Repeat("A:1,", 30_000), "a = " + strings.Repeat("${DEFAULT.tag}", 3000),
}

// readConfiguration loads a configuration from a file.
func readConfiguration(_ context.Context, rnd *rand.Rand, r *reading) error {
	file, err := r.input("kolla-build.conf", []byte(mutateText(rnd, confText, confPieces)))
	if err != nil {
		return brokenf("%w", err)
	}
	return loadConfig(r, "--config-file", file)
}

func loadConfig(r *reading, args ...string) error {
	cfg, err := configFor(r, args...)
	if err == nil && cfg == nil {
		return brokenf("neither a configuration nor an error")
	}
	return err
}

// readCommandLine parses any options with any values, without running a command.
func readCommandLine(_ context.Context, rnd *rand.Rand, r *reading) error {
	options := config.Options()
	var args []string
	for range 1 + rnd.IntN(8) {
		value := pick(rnd, values)
		if strings.HasPrefix(value, "/dev/zero") || strings.HasPrefix(value, "/proc") {
			value = "x" // files of the user, who may wait for them
		}
		switch rnd.IntN(6) {
		case 0:
			args = append(args, value)
		case 1:
			args = append(args, pick(rnd, []string{"-", "--", "---", "-b", "-bdebian", "-tx", "-p", "--=", "--no", "--no-",
				"-\u202e", "--base=", "-vvvvvvvv", "--help=", "-h"}), value)
		case 2:
			args = append(args, "--no"+pick(rnd, options).Name)
		default:
			args = append(args, "--"+pick(rnd, options).Name, value)
		}
	}
	return loadConfig(r, args...)
}

// readTemplate renders and lints hostile templates and overrides.
func readTemplate(ctx context.Context, rnd *rand.Rand, r *reading) error {
	if _, err := r.input("tree/base/Dockerfile.j2", []byte(template(rnd))); err != nil {
		return brokenf("%w", err)
	}
	for range rnd.IntN(3) {
		if _, err := r.input("tree/"+pick(rnd, []string{"child", "a/b", "macros"})+"/"+pick(rnd,
			[]string{"Dockerfile.j2", "x.j2"}),
			[]byte(template(rnd))); err != nil {
			return brokenf("%w", err)
		}
	}
	tree := filepath.Join(r.dir, "in", "tree")
	if rnd.IntN(6) == 0 {
		_ = os.Symlink(pick(rnd, []string{"/etc/passwd", "/dev/zero", "..", "base"}),
			filepath.Join(tree, pick(rnd, []string{"linked", "base/link", "Dockerfile.j2"})))
	}
	args := []string{"--base", "debian", "--images-dir", tree}
	var overrides []string
	if rnd.IntN(2) == 0 {
		override, err := r.input("override.j2", []byte("{% extends parent_template %}\n"+template(rnd)))
		if err != nil {
			return brokenf("%w", err)
		}
		overrides = append(overrides, override)
		args = append(args, "--template-override", override)
	}
	if rnd.IntN(2) == 0 {
		return renderTree(ctx, r, args...)
	}
	cfg, err := configFor(r, args...)
	if err != nil {
		return brokenf("the configuration: %w", err)
	}
	opened, err := imageset.OpenTree(cfg)
	if err != nil {
		return err
	}
	_, err = render.Lint(ctx, opened, overrides)
	return err
}

func configFor(r *reading, args ...string) (*config.Config, error) {
	return cli.Load(cli.Input{Args: args, Env: []string{"HOME=" + r.dir}, Dir: r.dir,
		SystemFile: filepath.Join(r.dir, "none.conf")})
}

// renderTree renders all images with options.
func renderTree(ctx context.Context, r *reading, args ...string) error {
	args = append(args, "--work-dir", filepath.Join(r.dir, "out"), "--data-dir", filepath.Join(r.dir, "data"))
	cfg, err := configFor(r, args...)
	if err != nil {
		return brokenf("the configuration: %w", err)
	}
	con := &console.Console{Stdout: io.Discard, Stderr: io.Discard, Environ: []string{"HOME=" + r.dir}, Version: "test"}
	rendered, err := imageset.Render(ctx, imageset.Options{Config: cfg, Console: con})
	if rendered != nil {
		defer rendered.Close()
	}
	return err
}

const dockerfileText = `# a comment
ARG A=1
FROM debian:trixie AS first
ENV X=y \
    Z=w
RUN --mount=type=cache,target=/x apt-get update && \
    apt-get install -y x
COPY --from=first /a /b
COPY a b /c/
ADD https://mirror.example/x /x
RUN <<EOF
echo x
EOF
FROM first
LABEL a="b" c=d
USER nova
ENTRYPOINT ["a", "b"]
HEALTHCHECK --interval=1s CMD x
`

var dockerfilePieces = append([]string{
	"FROM", "FROM scratch", "FROM base AS base", "FROM --platform=$X a", "COPY", "COPY --from=99 a b",
	"COPY ../../../etc/passwd /", "ADD --checksum=sha256:x http://a /b",
	"RUN --mount=type=bind,from=x,source=/,target=/ y", "RUN --mount=type=secret,id=../x y",
	"RUN --network=host x", "RUN --security=insecure x", "ONBUILD ONBUILD RUN x", "ONBUILD FROM x", "SHELL []",
	"STOPSIGNAL 99999", "EXPOSE 0-70000", "VOLUME [", "# escape=`", "# syntax=x", "#\u202e", "<<EOF",
	"RUN <<A <<B <<C", "\\", "\\\n\\\n",
	"ENV " + strings.Repeat("A${A}", 2000), "ARG " + strings.Repeat("A=${A:-${A}}",
		500), "LABEL " + strings.Repeat("a=b ", 5000), "\x00", "\xff", strings.Repeat("a\n", 100_000),
	strings.Repeat("RUN a\n", 5000), strings.Repeat("FROM a\n", 5000), "COPY [\"a\"", "COPY " + strings.Repeat("a ",
		20_000) + "b", "ENV A=${A:+${B:-${C}}}", "WORKDIR ${", "USER \x1b[2J",
}, hostileNames...)

func readDockerfile(_ context.Context, rnd *rand.Rand, _ *reading) error {
	content := []byte(mutateText(rnd, dockerfileText, dockerfilePieces))
	dockerfile.References(content, dockerfile.Options{})
	dockerfile.InstructionAfterFrom(content)
	d, err := dockerfile.Parse("Dockerfile", content)
	if err != nil {
		return err
	}
	if err := d.Resolve(dockerfile.Options{}); err != nil {
		return err
	}
	d.ContextPaths()
	d.CopiedPaths()
	d.Downloads()
	d.Images()
	d.Reachable()
	_, err = dockerfile.Triggers(pick(rnd, [][]string{nil, {"RUN x"}, {pick(rnd, dockerfilePieces)}}))
	return err
}

var ignorePieces = append([]string{
	"**", "**/**/**/**/*", "!**", "!", "[", "[a-", "[^]", "\\", "a/**/b", "../x", "/", "./", strings.Repeat("*a",
		300), strings.Repeat("**/", 300), strings.Repeat("?", 3000), strings.Repeat("*a\n", 5000), "#", " ", "{a,b}",
	"(a+)+$", "[[:alpha:]]", "\x00", "\xff", "!../../x",
}, hostileNames...)

// readContext applies hostile ignore files to names of a context, which may be anything
// that a file system allows.
func readContext(_ context.Context, rnd *rand.Rand, _ *reading) error {
	ignore, err := dockerfile.ParseIgnore(".dockerignore",
		[]byte(mutateText(rnd, "*.md\n!README.md\n**/*.pyc\n.git\n", ignorePieces)))
	if err != nil {
		return err
	}
	names := []string{"README.md", "a/b/c.pyc", ".git/config", strings.Repeat("d/", 200) + "x", strings.Repeat("a", 255),
		"\u202e", "a\nb", "\xff"}
	for range rnd.IntN(50) {
		names = append(names, strings.Repeat(pick(rnd, []string{"a/", "ab/", "a.b/", "*/"}), rnd.IntN(30))+pick(rnd,
			[]string{"x", "x.md", "?", "["}))
	}
	kept := ignore.Kept(names)
	for name := range kept {
		if !slices.ContainsFunc(names, func(n string) bool { return n == name || strings.HasPrefix(n, name+"/") }) {
			return brokenf("%q is kept and was not there", name)
		}
	}
	return nil
}

// renames are substitutions that make names large, empty or something else.
var renames = []string{
	"s/x/y/", "s/.*/&&&&&&&&&&&&&&&&&&&&/g", "s/(.*)/\\1\\1\\1\\1\\1\\1\\1\\1\\1/", "s/./" + strings.Repeat("&",
		4000) + "/g", "s/.*//", "s/^/..\\//", "s/^/\\/etc\\//", "s/kolla/\u202e/", "s/kolla/\x1b[2J/", "s/kolla/KOLLA/",
	"s/:.*/:/", "s/$/@sha256:x/",
	"s/(a*)*$/x/", "s/((((((((((x))))))))))/\\9/", "s/x{1000}/y/", "s/(x{1000}){1000}/y/",
	"s/" + strings.Repeat("x{1000}", 500) + "/y/", "s/other.example/site.example/", "s/new/healthy-a/", "s/more/new/",
	"s|/|//|g", "s/x*/-/g", "s/x/y/999999999", "s/x/y/99999999999999999999", "s,,,", "s/[/x/", "s", "s/", "sxxx",
}

// readRename applies substitutions to names, several after another.
func readRename(_ context.Context, rnd *rand.Rand, _ *reading) error {
	ref, err := imageref.ParseTag(pick(rnd, []string{"other.example/kolla/new:1",
		"localhost:4000/a/b/c:t", "debian:trixie"}))
	if err != nil {
		return brokenf("%w", err)
	}
	for range 1 + rnd.IntN(6) {
		text := pick(rnd, renames)
		if rnd.IntN(3) == 0 {
			text = strings.TrimSuffix(mutateText(rnd, text, append(renames, "\\", "&", "\\9", "g", "(", "[", "{99}")), "\n")
		}
		rename, err := imageref.ParseRename(text)
		if err != nil {
			return err
		}
		if ref, err = rename.Apply(ref); err != nil {
			return err
		}
		if name := ref.String(); len(name) > 600 {
			return brokenf("the name has %d characters", len(name))
		} else if reparsed, err := imageref.ParseTag(name); err != nil || reparsed != ref {
			return brokenf("%q is not a name (%w)", name, err)
		}
	}
	return nil
}

const contractText = "image\tkind\tvalue\trole\nnova-api\tcommand\tnova-api\tnova\nbase\tfile\t/etc/x\t\nbase\tuser\tnova\t\n"

var contractPieces = append([]string{"\t", "\t\t\t\t", "image\tkind", "base\tfile\t../../x\t",
	"base\tcommand\t" + strings.Repeat("x ", 5000), "*\tfile\t/\t"}, hostileNames...)

// readContract reads tables and exceptions from untrusted sources.
func readContract(_ context.Context, rnd *rand.Rand, _ *reading) error {
	text := mutateText(rnd, contractText, contractPieces)
	_, _ = contract.ReadExceptions(strings.NewReader(text), "exceptions")
	_, err := contract.ReadTable(strings.NewReader(text), "table")
	return err
}
