package dockerfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Triggers parses the ONBUILD instructions of an image's config.
func Triggers(onBuild []string) ([]instructions.Command, error) {
	var out []instructions.Command
	for _, text := range onBuild {
		res, err := parser.Parse(strings.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("ONBUILD %s: %w", text, err)
		}
		for _, node := range res.AST.Children {
			cmd, err := instructions.ParseCommand(node)
			if err == nil {
				err = parseMounts(cmd)
			}
			if err != nil {
				return nil, fmt.Errorf("ONBUILD %s: %w", text, err)
			}
			out = append(out, cmd)
		}
	}
	return out, nil
}

// Triggered returns the instructions that the images of reachable stages' FROM lines have
// in ONBUILD, and the images that only these refer to, with the line of the FROM. commandsOf
// returns the instructions of one image; its errors are returned as they are.
func (d *Dockerfile) Triggered(
	commandsOf func(base Image) ([]instructions.Command, error)) (triggers []instructions.Command,
	images []Image, err error) {
	l := d.imageList()
	imageCount := len(l.images)
	bases := slices.Clone(l.images)
	for {
		// A trigger may copy from a stage that nothing else needs, whose base has triggers.
		reached := map[string]bool{}
		for _, i := range d.Reachable(triggers...) {
			reached[d.Stages[i].BaseName] = true
		}
		run := slices.DeleteFunc(slices.Clone(bases), func(im Image) bool { return !reached[im.Reference] })
		if len(run) == 0 {
			return triggers, l.images[imageCount:], nil
		}
		bases = slices.DeleteFunc(bases, func(im Image) bool { return reached[im.Reference] })
		for _, base := range run {
			cmds, err := commandsOf(base)
			if err != nil {
				return nil, nil, err
			}
			for _, cmd := range cmds {
				l.addSources(cmd, base.Line)
			}
			triggers = append(triggers, cmds...)
		}
	}
}

// stageTriggers returns the ONBUILD instructions that a stage runs because it is based on
// an earlier stage that has them.
func (d *Dockerfile) stageTriggers(stage int, byName map[string]int) []instructions.Command {
	base, ok := byName[strings.ToLower(d.Stages[stage].BaseName)]
	if !ok || base >= stage {
		return nil
	}
	var out []instructions.Command
	for _, cmd := range d.Stages[base].Commands {
		if trigger, ok := cmd.(*instructions.OnbuildCommand); ok {
			if triggers, err := Triggers([]string{trigger.Expression}); err == nil {
				out = append(out, triggers...)
			}
		}
	}
	return out
}

// OnBuild returns the ONBUILD instructions of the last stage, without that word. A result does
// not have those of the stage that it is based on.
func (d *Dockerfile) OnBuild() []string {
	var out []string
	if len(d.Stages) == 0 {
		return nil
	}
	for _, cmd := range d.Stages[len(d.Stages)-1].Commands {
		if trigger, ok := cmd.(*instructions.OnbuildCommand); ok {
			out = append(out, trigger.Expression)
		}
	}
	return out
}

// onBuildFrom returns the ONBUILD instructions of the last stage that refer to images or
// stages.
func (d *Dockerfile) onBuildFrom() []string {
	return slices.DeleteFunc(d.OnBuild(), func(text string) bool {
		triggers, err := Triggers([]string{text})
		return err != nil || !slices.ContainsFunc(triggers, func(t instructions.Command) bool { return len(sources(t)) > 0 })
	})
}
