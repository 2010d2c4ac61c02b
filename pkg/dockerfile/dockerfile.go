package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Limits of a Dockerfile. A builder cannot stack more than some hundred layers, and each
// line takes half a kilobyte when it is parsed.
const (
	maxLines        = 50_000
	maxInstructions = 2000
)

// Dockerfile is a parsed Dockerfile.
type Dockerfile struct {
	// Stages are the build stages in order, the last one is the result.
	Stages []instructions.Stage

	path    string
	content []byte
	escape  rune
	args    []instructions.ArgCommand // those before the first FROM
	fromRaw []string                  // the stages' base names before Resolve
}

// Options are the values that variables in FROM can have.
type Options struct {
	Platform  ocispec.Platform
	BuildArgs map[string]string
}

// Parse parses a Dockerfile. path is used in errors, which are *Error.
func Parse(path string, content []byte) (*Dockerfile, error) {
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, &Error{Path: path, Err: errors.New("the rendered Dockerfile is empty")}
	}
	if lines := bytes.Count(content, []byte("\n")); lines > maxLines {
		return nil, &Error{Path: path, Err: fmt.Errorf("%d lines, more than %d", lines, maxLines)}
	}
	res, err := parser.Parse(bytes.NewReader(content))
	if err != nil {
		return nil, Locate(path, content, err)
	}
	if n := len(res.AST.Children); n > maxInstructions {
		return nil, errorAt(path, content, res.AST.Children[maxInstructions].StartLine,
			fmt.Errorf("%d instructions, more than %d", n, maxInstructions))
	}
	d := &Dockerfile{path: path, content: content, escape: res.EscapeToken}
	if d.Stages, d.args, err = instructions.Parse(res.AST, nil); err != nil {
		return nil, Locate(path, content, err)
	}
	for _, st := range d.Stages {
		d.fromRaw = append(d.fromRaw, st.BaseName)
		for _, cmd := range st.Commands {
			if err := parseMounts(cmd); err != nil {
				return nil, errorAt(path, content, firstLine(cmd.Location()), err)
			}
		}
	}
	return d, nil
}

// parseMounts makes the mounts of a RUN instruction available to
// instructions.GetMounts, which are parsed only when variables are expanded.
func parseMounts(cmd instructions.Command) error {
	run, ok := cmd.(*instructions.RunCommand)
	if !ok {
		return nil
	}
	return run.Expand(func(word string) (string, error) { return word, nil })
}

// parseTolerant reads what it can of a Dockerfile that may have mistakes:
// instructions that are wrong are skipped, and so is all that follows a
// mistake that BuildKit's parser cannot continue after.
func parseTolerant(content []byte) *Dockerfile {
	if bytes.Count(content, []byte("\n")) > maxLines {
		return &Dockerfile{}
	}
	res, err := parser.Parse(bytes.NewReader(content))
	if err != nil {
		line := lineOf(err)
		if line < 2 {
			return &Dockerfile{}
		}
		content = linesBefore(content, line)
		if res, err = parser.Parse(bytes.NewReader(content)); err != nil {
			return &Dockerfile{}
		}
	}
	d := &Dockerfile{content: content, escape: res.EscapeToken}
	for _, node := range res.AST.Children[:min(len(res.AST.Children), maxInstructions)] {
		parsed, err := instructions.ParseInstruction(node)
		switch cmd := parsed.(type) {
		case *instructions.Stage:
			d.Stages = append(d.Stages, *cmd)
		case *instructions.ArgCommand:
			if len(d.Stages) == 0 {
				d.args = append(d.args, *cmd)
			}
		case instructions.Command:
			if err == nil && len(d.Stages) > 0 && parseMounts(cmd) == nil {
				last := &d.Stages[len(d.Stages)-1]
				last.Commands = append(last.Commands, cmd)
			}
		default:
			if strings.EqualFold(node.Value, "FROM") && node.Next != nil && node.Next.Value != "" {
				d.Stages = append(d.Stages, instructions.Stage{BaseName: node.Next.Value, Location: node.Location()})
			}
		}
	}
	for _, st := range d.Stages {
		d.fromRaw = append(d.fromRaw, st.BaseName)
	}
	return d
}

// linesBefore returns the lines that precede a line, which is 1-based.
func linesBefore(content []byte, line int) []byte {
	end := 0
	for range line - 1 {
		i := bytes.IndexByte(content[end:], '\n')
		if i < 0 {
			break
		}
		end += i + 1
	}
	return content[:end]
}

// Resolve replaces variables in FROM lines by the values of build arguments and
// of ARG instructions that precede the first FROM. It fails where a variable
// without a value leaves no name, and for a stage of another platform.
func (d *Dockerfile) Resolve(o Options) error {
	values, err := d.globalValues(o)
	if err != nil {
		return Locate(d.path, d.content, err)
	}
	for i := range d.Stages {
		if err := d.resolveStage(i, values, o.Platform); err != nil {
			return errorAt(d.path, d.content, firstLine(d.Stages[i].Location), err)
		}
	}
	return nil
}

func (d *Dockerfile) resolveStage(i int, values map[string]string, target ocispec.Platform) error {
	st := &d.Stages[i]
	name, missing, err := d.expand(d.fromRaw[i], values)
	if err != nil {
		return err
	}
	if name == "" {
		return fmt.Errorf("FROM %s: no value for %s", d.fromRaw[i], strings.Join(slices.Sorted(maps.Keys(missing)), ", "))
	}
	if st.Platform != "" {
		text, _, err := d.expand(st.Platform, values)
		if err != nil {
			return err
		}
		want, err := platforms.Parse(text)
		if err != nil || !platforms.OnlyStrict(target).Match(want) {
			return fmt.Errorf("FROM --platform=%s: all images of a run are for %s, the value of --platform", text,
				platforms.Format(target))
		}
	}
	st.BaseName = name
	return nil
}

// globalValues returns the variables that FROM lines can use.
func (d *Dockerfile) globalValues(o Options) (map[string]string, error) {
	// Stages for the build platform are built on the target platform: the
	// result is the same.
	values := map[string]string{}
	for _, prefix := range []string{"TARGET", "BUILD"} {
		values[prefix+"PLATFORM"] = platforms.Format(o.Platform)
		values[prefix+"OS"] = o.Platform.OS
		values[prefix+"ARCH"] = o.Platform.Architecture
		values[prefix+"VARIANT"] = o.Platform.Variant
	}
	for _, a := range d.args {
		for _, kv := range a.Args {
			if v, ok := o.BuildArgs[kv.Key]; ok {
				values[kv.Key] = v
			} else if kv.Value != nil {
				v, _, err := d.expand(*kv.Value, values)
				if err != nil {
					return nil, err
				}
				values[kv.Key] = v
			}
		}
	}
	return values, nil
}

// substitute is the beginning of a variable with a default or an alternative, such as
// ${NAME:-default}.
var substitute = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*):?[-+]`)

// expand replaces the variables of a word. missing are those that have no value, and no
// default in the word.
func (d *Dockerfile) expand(word string, values map[string]string) (
	result string, missing map[string]struct{}, err error) {
	if !strings.ContainsAny(word, "$'\"\\`") { // most words, and a lexer is not cheap
		return word, nil, nil
	}
	env := make([]string, 0, len(values))
	for k, v := range values {
		env = append(env, k+"="+v)
	}
	res, err := shell.NewLex(d.escape).ProcessWordWithMatches(word, shell.EnvsFromSlice(env))
	missing = maps.Clone(res.Unmatched)
	for _, m := range substitute.FindAllStringSubmatch(word, -1) {
		delete(missing, m[1])
	}
	return res.Result, missing, err
}

// Reachable returns the positions of the stages that the last stage and triggers need, the
// last one included, in ascending order. Other stages are not built.
func (d *Dockerfile) Reachable(triggers ...instructions.Command) []int {
	byName := stagesByName(d.Stages)
	seen := map[int]bool{}
	var visit func(i int)
	visit = func(i int) {
		if seen[i] {
			return
		}
		seen[i] = true
		follow := func(name string) {
			if j, ok := byName[strings.ToLower(name)]; ok && j < i {
				visit(j)
			}
		}
		follow(d.Stages[i].BaseName)
		for _, cmd := range slices.Concat(d.Stages[i].Commands, d.stageTriggers(i, byName)) {
			for _, name := range sources(cmd) {
				follow(name)
			}
		}
	}
	if n := len(d.Stages); n > 0 {
		visit(n - 1)
		for _, cmd := range triggers {
			for _, name := range sources(cmd) {
				if i, ok := byName[strings.ToLower(name)]; ok {
					visit(i)
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// Runs reports whether building the last stage executes a command.
func (d *Dockerfile) Runs() bool {
	for _, i := range d.Reachable() {
		for _, cmd := range d.Stages[i].Commands {
			if _, ok := cmd.(*instructions.RunCommand); ok {
				return true
			}
		}
	}
	return false
}
