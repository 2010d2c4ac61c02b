package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// Explanation is all that is known of an image before it is built.
type Explanation struct {
	Image      string         `json:"image"`
	Reference  string         `json:"reference"`
	Template   string         `json:"template"`
	Status     string         `json:"status"` // matched or unbuildable
	Settings   []Setting      `json:"settings"`
	Parents    []string       `json:"parents"` // the nearest first; the last one is from outside
	Children   []string       `json:"children"`
	Sources    []SourceInfo   `json:"sources"`
	Variables  []VariableInfo `json:"variables"`
	Overrides  []OverrideInfo `json:"overrides"`
	Key        KeyInfo        `json:"key"`
	Dockerfile string         `json:"dockerfile"`
}

// Setting is an option's value and where it comes from.
type Setting struct {
	Option string `json:"option"`
	Value  any    `json:"value"`
	From   string `json:"from"`            // flag, env, file or default
	Where  string `json:"where,omitempty"` // FILE:LINE, or what was typed
	text   string
}

// SourceInfo is a source that an image's section, or one of its plugins' or
// additions', describes.
type SourceInfo struct {
	Section   string `json:"section"`
	Type      string `json:"type"`
	Location  string `json:"location"` // with options' values put in
	Reference string `json:"reference,omitempty"`
	Version   string `json:"version,omitempty"`
	Enabled   bool   `json:"enabled"`
	Used      bool   `json:"used"` // the Dockerfile copies the archive
	Where     string `json:"where"`
}

// VariableInfo is a variable that the image's templates read.
type VariableInfo struct {
	Name   string `json:"name"`
	Value  any    `json:"value"`
	Known  bool   `json:"defined"`
	Option string `json:"option,omitempty"` // that decides it
	Where  string `json:"where"`            // the place that reads it first
}

// OverrideInfo is a place in an override file that changes the image.
type OverrideInfo struct {
	Kind  string `json:"kind"` // block or variable
	Name  string `json:"name"`
	Where string `json:"where"`
}

// KeyInfo says what the image's content depends on.
type KeyInfo struct {
	Key     string     `json:"key,omitempty"`
	Action  string     `json:"action,omitempty"` // what a build would do: build or keep
	Reason  string     `json:"reason,omitempty"`
	Parts   []PartInfo `json:"parts,omitempty"`
	Unknown string     `json:"unknown,omitempty"` // why there is no key
}

// PartInfo is one of the things that a key is made of.
type PartInfo struct {
	Name   string `json:"name"`
	Digest string `json:"digest,omitempty"` // "" if it is gone
	Before string `json:"before,omitempty"` // of the last build, "" if it was not there
	Change string `json:"change"`           // unchanged, changed, new or gone
}

// ExplainOptions says which images are explained, and how.
type ExplainOptions struct {
	Images []string
	JSON   bool
	All    bool // all options, not only those that matter
}

// Explain shows what is known of images. It fetches and builds nothing.
func Explain(ctx context.Context, cfg *config.Config, env Env, opts ExplainOptions) error {
	if len(opts.Images) == 0 {
		return &config.Error{Message: "explain: no image is named", Hint: "kolla-build explain nova-api"}
	}
	names := imageset.Names(cfg)
	var patterns []string
	for _, name := range opts.Images {
		if !slices.Contains(names, name) && len(names) > 0 {
			hint := "kolla-build --list-images lists what there is"
			if n := suggest.Nearest(name, names); n != "" {
				hint = fmt.Sprintf("did you mean %s?", n)
			}
			return &HintError{fmt.Errorf("there is no image %q", name), hint}
		}
		patterns = append(patterns, "^"+regexp.QuoteMeta(name)+"$")
	}
	c := *cfg
	c.Regex, c.SkipExisting, c.SkipParents, c.Push = patterns, false, false, false
	r := &buildRun{cfg: &c, env: env, local: true, dry: true}
	defer r.close()
	noKey, err := r.prepareLocal(ctx)
	if err != nil {
		return err
	}
	var out []*Explanation
	for _, name := range opts.Images {
		x, err := r.explain(name, opts.All)
		if err != nil {
			return err
		}
		x.Key = r.explainKey(name, noKey)
		out = append(out, x)
	}
	if opts.JSON {
		return env.PrintJSON(out)
	}
	for i, x := range out {
		if i > 0 {
			fmt.Fprintln(env.Stdout)
		}
		if err := x.write(env.Stdout); err != nil {
			return err
		}
	}
	return nil
}

// prepareLocal prepares a run with what is on this machine. The second result
// says that there are no keys, and why: a base image or a source is not here.
func (r *buildRun) prepareLocal(ctx context.Context) (noKey error, err error) {
	_, serr := os.Stat(filepath.Join(r.cfg.DataDir, "store"))
	if serr == nil {
		if err = r.prepare(ctx); err == nil || r.set == nil || ctx.Err() != nil {
			return nil, err
		}
		return err, nil
	}
	r.cfg = withLocalBase(r.cfg)
	if r.cfg, err = withNormalizedNames(r.cfg, r.env); err != nil {
		return nil, err
	}
	if r.rendered, err = imageset.Render(ctx, imageset.Options{Config: r.cfg, Console: r.env}); err != nil {
		return nil, err
	}
	r.set = r.rendered.First()
	r.cfg = r.set.Config
	return errors.New("nothing was built here yet"), nil
}

func (r *buildRun) explain(name string, all bool) (*Explanation, error) {
	f := r.set.File(name)
	facts, err := render.Explain(r.set.Options, name)
	if err != nil {
		return nil, err
	}
	x := &Explanation{Image: name, Reference: f.Reference, Template: f.Place, Status: string(r.set.Selection.Status(name)),
		Parents: r.ancestry(name), Children: []string{}, Dockerfile: string(f.Content),
		Sources: []SourceInfo{}, Variables: []VariableInfo{}, Overrides: []OverrideInfo{}}
	for _, c := range r.set.Graph.Children(name) {
		x.Children = append(x.Children, c.Name)
	}
	matters := map[string]bool{}
	for _, o := range essential {
		matters[o] = true
	}
	for _, v := range facts.Variables {
		info := VariableInfo{Name: v.Name, Value: v.Value, Known: v.Known, Where: place(v.Place, v.Line)}
		if o := optionOfVariable(v.Name); o != nil {
			info.Option = o.Name
			matters[o.Name] = true
		}
		x.Variables = append(x.Variables, info)
	}
	for _, t := range facts.Overrides {
		x.Overrides = append(x.Overrides, OverrideInfo{t.Kind, t.Name, place(t.File, t.Line)})
	}
	if x.Sources, err = r.explainSources(name, matters); err != nil {
		return nil, err
	}
	for _, o := range config.Options() {
		decides := slices.Contains([]config.Group{config.GroupBase, config.GroupRelease, config.GroupTree}, o.Group) || o.Name == "network_mode"
		if o.Field() == "" || o.Positional || !all && !matters[o.Name] && !(decides && r.cfg.IsSet(o.Name)) {
			continue
		}
		s := Setting{Option: o.Name, Value: r.cfg.Value(o.Name), text: r.cfg.Text(o.Name)}
		origin := r.cfg.Origin(o.Name)
		s.From = string(origin.Kind)
		if origin.Kind != config.OriginDefault {
			s.Where = redact.InPlace(origin.String())
		}
		switch v := s.Value.(type) {
		case string:
			s.Value = redact.InPlace(v)
		case []string:
			shown := make([]string, len(v))
			for i := range v {
				shown[i] = redact.InPlace(v[i])
			}
			s.Value = shown
		}
		s.text = redact.InPlace(s.text)
		x.Settings = append(x.Settings, s)
	}
	return x, nil
}

// essential are the options that decide where every image comes from and how it
// is named.
var essential = []string{"base", "base-tag", "base-image", "base-arch", "install-type", "openstack-release",
	"images-dir", "docker-dir", "template-override", "registry", "namespace", "image-name-prefix", "tag"}

// optionOfVariable returns the option that decides a template's variable, nil if
// there is none.
func optionOfVariable(name string) *config.Option {
	other := map[string]string{"base_distro": "base", "base_distro_tag": "base-tag", "image_prefix": "image-name-prefix",
		"infra_image_prefix": "image-name-prefix", "rpm_setup": "rpm_setup_config", "supported_distro_name": "base-tag",
		"supported_distro_release": "base-tag", "install_metatype": "install-type", "distro_python_version": "base-tag"}
	if o, ok := other[name]; ok {
		name = o
	}
	return config.Lookup(name)
}

func place(file string, line int) string { return fmt.Sprintf("%s:%d", file, line) }

// ancestry is the way from an image to the image from outside that it stands on.
func (r *buildRun) ancestry(name string) []string {
	var up []string
	for at := name; ; {
		p := r.set.Graph.Parent(at)
		if p == nil {
			return append(up, r.set.File(at).From)
		}
		up = append(up, p.Name)
		at = p.Name
	}
}

// explainSources describes the sections that belong to an image, and notes the
// options that their locations name.
func (r *buildRun) explainSources(image string, matters map[string]bool) ([]SourceInfo, error) {
	used, all := (&buildkit.Dockerfile{Content: r.set.File(image).Content}).ContextPaths()
	out := []SourceInfo{}
	for _, name := range slices.Sorted(maps.Keys(r.cfg.Sources)) {
		archive := ""
		switch {
		case name == image:
			archive = image + "-archive"
		case strings.HasPrefix(name, image+"-plugin-"):
			archive = "plugins-archive"
		case strings.HasPrefix(name, image+"-additions-"):
			archive = "additions-archive"
		default:
			continue
		}
		raw := r.cfg.Sources[name]
		s, err := r.cfg.ExpandSource(name, nil)
		if err != nil {
			return nil, err
		}
		for _, o := range config.Options() {
			if strings.Contains(raw.Location+" "+raw.Reference, "$"+o.Key()) || strings.Contains(raw.Location+" "+raw.Reference, "${"+o.Key()+"}") {
				matters[o.Name] = true
			}
		}
		where := s.Origin.String()
		if s.Origin.Kind == config.OriginDefault {
			where = "default"
		}
		out = append(out, SourceInfo{Section: s.Name, Type: s.Type, Location: redact.URL(s.Location), Reference: s.Reference, Version: s.Version,
			Enabled: s.Enabled, Used: slices.Contains(used, archive) || all && r.cfg.InstallType == "source", Where: where})
	}
	return out, nil
}

// explainKey says what the image's key is made of and what of it has changed.
func (r *buildRun) explainKey(name string, noKey error) KeyInfo {
	if r.set.Selection.Status(name) != graph.Matched {
		return KeyInfo{Unknown: r.set.Selection.Reason(name)}
	}
	if noKey != nil || r.plan == nil {
		return KeyInfo{Unknown: firstLine(noKey)}
	}
	at := slices.IndexFunc(r.plan.Items, func(it *plan.Item) bool { return it.Image == (image.ID{Name: name}) })
	if at < 0 {
		return KeyInfo{Unknown: "it is not selected"}
	}
	it := r.plan.Items[at]
	if it.Key == "" {
		why := "an image that it stands on has none"
		if err := r.defined.failed[it.Image]; err != nil {
			why = firstLine(err)
		}
		return KeyInfo{Unknown: why}
	}
	k := KeyInfo{Key: it.Key.String(), Action: string(it.Action), Reason: it.Reason}
	before, _ := r.keys.Parts(it.Image)
	all := maps.Clone(before)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, it.Parts)
	for _, part := range slices.Sorted(maps.Keys(all)) {
		p := PartInfo{Name: part, Digest: it.Parts[part], Before: before[part], Change: "unchanged"}
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
