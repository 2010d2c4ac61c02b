// Package explain describes an image before it is built: its settings and their
// origins, parents, sources, overrides, variables, key and Dockerfile. It receives the
// rendered tree and the plan, and must not know how they are made.
package explain

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// Explanation describes an image. Credentials in it are masked.
type Explanation struct {
	Image      string     `json:"image"`
	Reference  string     `json:"reference"`
	Template   string     `json:"template"`
	Status     string     `json:"status"` // matched or unbuildable
	Settings   []Setting  `json:"settings"`
	Parents    []string   `json:"parents"` // the nearest first; the last one is outside the tree
	Children   []string   `json:"children"`
	Sources    []Source   `json:"sources"`
	Variables  []Variable `json:"variables"`
	Overrides  []Override `json:"overrides"`
	OnBuild    []string   `json:"on_build"` // instructions of its parents that run before its own
	Key        Key        `json:"key"`
	Dockerfile string     `json:"dockerfile"`
}

// Setting is the value of an option and its origin.
type Setting struct {
	Option string `json:"option"`
	Value  any    `json:"value"`
	From   string `json:"from"`            // flag, env, file or default
	Where  string `json:"where,omitempty"` // FILE:LINE, or the argument or variable
	text   string
}

// Source is a source section of an image or of one of its plugins or additions.
type Source struct {
	Section   string `json:"section"`
	Type      string `json:"type"`
	Location  string `json:"location"` // with the values of options
	Reference string `json:"reference,omitempty"`
	Version   string `json:"version,omitempty"`
	Enabled   bool   `json:"enabled"`
	Used      bool   `json:"used"` // the Dockerfile copies the archive
	Where     string `json:"where"`
}

// Variable is a variable that the templates of an image read.
type Variable struct {
	Name   string `json:"name"`
	Value  any    `json:"value"`
	Known  bool   `json:"defined"`
	Option string `json:"option,omitempty"` // option that decides it
	Where  string `json:"where"`            // the first place that reads it
}

// Override is a place in an override file that changes an image.
type Override struct {
	Kind  string `json:"kind"` // block or variable
	Name  string `json:"name"`
	Where string `json:"where"`
}

// Key describes the inputs of an image's content.
type Key struct {
	Key     string `json:"key,omitempty"`
	Action  string `json:"action,omitempty"` // what a build would do: build or keep
	Reason  string `json:"reason,omitempty"`
	Parts   []Part `json:"parts,omitempty"`
	Unknown string `json:"unknown,omitempty"` // why there is no key
	Fails   string `json:"fails,omitempty"`   // the mistake in the templates because of which there is no key
}

// Part is a component of a key.
type Part struct {
	Name   string `json:"name"`
	Digest string `json:"digest,omitempty"` // "" if the key no longer has it
	Before string `json:"before,omitempty"` // of the last build, "" if it is new
	Change string `json:"change"`           // unchanged, changed, new or gone
}

// Input is the input of explanations.
type Input struct {
	Set *imageset.Set
	All bool // all options, not only those that matter for the image

	// Plan is nil if NoPlan says why there is none: without base images and
	// sources there are no keys.
	Plan   *plan.Plan
	NoPlan error
	// Failed returns why an image of the plan has no key.
	Failed func(image.ID) error
	// Parts returns the components of an image's key at its last build.
	Parts func(image.ID) (map[string]string, bool)
}

// explainImage explains an image of the set.
func explainImage(ctx context.Context, in Input, name string) (*Explanation, error) {
	file := in.Set.File(name)
	facts, err := render.Explain(ctx, in.Set.Options, name)
	if err != nil {
		return nil, err
	}
	x := &Explanation{
		Image:      name,
		Reference:  file.Reference,
		Template:   file.Place,
		Status:     string(in.Set.Selection.Status(name)),
		Parents:    ancestors(in.Set, name),
		Children:   []string{},
		Dockerfile: redact.InPlace(string(file.Content)),
		Variables:  []Variable{},
		Overrides:  []Override{},
		OnBuild:    []string{},
		Key:        key(in, in.Set.ID(name)),
	}
	for _, instruction := range in.Set.Triggers(file) {
		x.OnBuild = append(x.OnBuild, redact.InPlace(instruction))
	}
	for _, c := range in.Set.Graph.Children(name) {
		x.Children = append(x.Children, c.Name)
	}
	relevant := map[string]bool{} // options, by name
	for _, o := range essentialOptions {
		relevant[o] = true
	}
	for _, v := range facts.Variables {
		variable := Variable{Name: v.Name, Value: mask(v.Name, v.Value), Known: v.Known, Where: position(v.Place, v.Line)}
		if o := optionOfVariable(v.Name); o != nil {
			variable.Option = o.Name
			relevant[o.Name] = true
		}
		x.Variables = append(x.Variables, variable)
	}
	for _, t := range facts.Overrides {
		x.Overrides = append(x.Overrides, Override{t.Kind, t.Name, position(t.File, t.Line)})
	}
	var options []string
	if x.Sources, options, err = sources(in.Set, name); err != nil {
		return nil, err
	}
	for _, o := range options {
		relevant[o] = true
	}
	x.Settings = settings(in.Set.Config, relevant, in.All)
	return x, nil
}

func position(file string, line int) string { return fmt.Sprintf("%s:%d", file, line) }

// ancestors returns the ancestors of an image, up to the base image.
func ancestors(set *imageset.Set, name string) []string {
	var names []string
	for {
		parent := set.Graph.Parent(name)
		if parent == nil {
			return append(names, set.File(name).From)
		}
		name = parent.Name
		names = append(names, name)
	}
}

// sources describes the source sections that belong to an image, and returns the
// options that they refer to.
func sources(set *imageset.Set, name string) ([]Source, []string, error) {
	cfg := set.Config
	var copied []string
	var usesAll bool
	if file, err := dockerfile.Parse("", set.File(name).Content); err == nil { // a mistake fails the build
		if triggers, err := dockerfile.Triggers(set.Triggers(set.File(name))); err == nil {
			copied, usesAll = file.ContextPaths(triggers...)
		}
	}
	found, options := []Source{}, []string{}
	for _, section := range slices.Sorted(maps.Keys(cfg.Sources)) {
		archive := archiveOf(name, section)
		if archive == "" {
			continue
		}
		raw := cfg.Sources[section]
		s, err := cfg.ExpandSource(section, nil)
		if err != nil {
			return nil, nil, err
		}
		text := raw.Location + " " + raw.Reference
		for _, o := range config.Options() {
			if strings.Contains(text, "$"+o.Key()) || strings.Contains(text, "${"+o.Key()+"}") {
				options = append(options, o.Name)
			}
		}
		origin := redact.InPlace(s.Origin.String())
		if s.Origin.Kind == config.OriginDefault {
			origin = "default"
		}
		found = append(found,
			Source{
				Section:   s.Name,
				Type:      s.Type,
				Location:  redact.URL(s.Location),
				Reference: s.Reference,
				Version:   s.Version,
				Enabled:   s.Enabled,
				Used:      set.CopiesArchive(archive, copied, usesAll),
				Where:     origin,
			})
	}
	return found, options, nil
}

// archiveOf returns the file in an image's build context for a source section, "" if
// the section belongs to another image.
func archiveOf(name, section string) string {
	switch {
	case section == name:
		return name + "-archive"
	case strings.HasPrefix(section, name+"-plugin-"):
		return "plugins-archive"
	case strings.HasPrefix(section, name+"-additions-"):
		return "additions-archive"
	}
	return ""
}

// key describes the components of an image's key and their changes.
func key(in Input, id image.ID) Key {
	if in.Set.Selection.Status(id.Name) != graph.Matched {
		return Key{Unknown: in.Set.Selection.Reason(id.Name)}
	}
	if err := in.Set.File(id.Name).Err; err != nil {
		return Key{Fails: firstLine(err)}
	}
	if in.Plan == nil {
		return Key{Unknown: firstLine(in.NoPlan)}
	}
	at := slices.IndexFunc(in.Plan.Items, func(it *plan.Item) bool { return it.Image == id })
	if at < 0 {
		return Key{Unknown: "it is not selected"}
	}
	it := in.Plan.Items[at]
	if it.Key == "" {
		if err := in.Failed(id); err != nil {
			return Key{Unknown: firstLine(err)}
		}
		return Key{Unknown: "an image that it depends on has no key"}
	}
	k := Key{Key: it.Key.String(), Action: string(it.Action), Reason: it.Reason}
	before, _ := in.Parts(id)
	if it.Action == plan.Keep {
		// The stored image has this key. The last build in the history may have had
		// another tag of the base image or another registry.
		before = it.Parts
	}
	names := map[string]bool{}
	for part := range before {
		names[part] = true
	}
	for part := range it.Parts {
		names[part] = true
	}
	for _, part := range slices.Sorted(maps.Keys(names)) {
		p := Part{Name: part, Digest: it.Parts[part], Before: before[part], Change: "unchanged"}
		switch {
		case p.Digest == "":
			p.Change = "gone"
		case p.Before == "":
			p.Change = "new"
		case p.Digest != p.Before:
			p.Change = "changed"
		}
		k.Parts = append(k.Parts, p)
	}
	return k
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
