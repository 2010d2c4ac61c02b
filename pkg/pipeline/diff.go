package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/inspect"
	"github.com/kolla-build/kolla-build/pkg/packages"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Difference is what two images do not have alike.
type Difference struct {
	A        DiffSide              `json:"a"`
	B        DiffSide              `json:"b"`
	Same     bool                  `json:"same"` // to the last byte
	Config   []inspect.FieldChange `json:"config"`
	Packages []packages.Change     `json:"packages"`
	Layers   []LayerDifference     `json:"layers"` // those that differ
}

// DiffSide is one of the images.
type DiffSide struct {
	Name   string `json:"name"` // as it was found
	Digest string `json:"digest"`

	img v1.Image
}

// LayerDifference is a layer that two images do not have alike. Where they do
// not have equally many, it is all that comes after the layers they share.
type LayerDifference struct {
	Layer int    `json:"layer"` // 1 for the lowest; with Rest, the first of those that differ
	Rest  bool   `json:"rest,omitempty"`
	Step  string `json:"step,omitempty"` // the instruction that made it, as B's history has it
	A     string `json:"a,omitempty"`    // digest
	B     string `json:"b,omitempty"`
	// Packed says that the files are the same, and the archive is not: another
	// order or another compression.
	Packed bool                 `json:"packed,omitempty"`
	Files  []inspect.FileChange `json:"files"`
}

// filesShown is how many files of a layer are printed without --debug.
const filesShown = 100

// Diff compares two images, each a name, a digest or a regular expression with
// a tag that finds one image in the store, a reference of a registry, or
// oci:DIR:NAME. If they differ it says how and returns ErrFailed.
func Diff(ctx context.Context, cfg *config.Config, env Env, a, b string, asJSON bool) error {
	s, err := OpenStore(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	d := &Difference{Config: []inspect.FieldChange{}, Packages: []packages.Change{}, Layers: []LayerDifference{}}
	if d.A, err = diffSide(ctx, cfg, env, s, a); err != nil {
		return err
	}
	if d.B, err = diffSide(ctx, cfg, env, s, b); err != nil {
		return err
	}
	if d.Same = d.A.Digest == d.B.Digest; !d.Same {
		if err := d.compare(ctx, cfg); err != nil {
			return fmt.Errorf("comparing %s with %s: %w", d.A.Name, d.B.Name, err)
		}
	}
	if asJSON {
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(d)
	} else {
		limit := filesShown
		if cfg.Debug {
			limit = 0
		}
		err = d.write(env.Stdout, limit)
	}
	if err == nil && !d.Same {
		err = ErrFailed
	}
	return err
}

func diffSide(ctx context.Context, cfg *config.Config, env Env, s *store.Store, ref string) (DiffSide, error) {
	if rest, ok := strings.CutPrefix(ref, "oci:"); ok {
		return layoutSide(splitLayout(rest))
	}
	e, ok, err := findStored(s, ref)
	if err != nil {
		return DiffSide{}, err
	}
	if ok {
		img, err := s.Image(e.Digest)
		name := e.Name
		if name == "" {
			name = e.Digest.String()
		}
		return DiffSide{name, e.Digest.String(), img}, err
	}
	if !strings.Contains(ref, "/") {
		return DiffSide{}, &config.Error{Message: fmt.Sprintf("no image %q in %s", ref, s.Dir()), Hint: "kolla-build images lists what there is; HOST/REPOSITORY:TAG is looked for in a registry"}
	}
	c, err := newClient(cfg, env)
	if err != nil {
		return DiffSide{}, err
	}
	p, err := platform(cfg)
	if err != nil {
		return DiffSide{}, err
	}
	if err := reach(ctx, cfg, c, ref); err != nil {
		if name := storedElsewhere(s, ref); name != "" {
			return DiffSide{}, &config.Error{Message: fmt.Sprintf("no image %q in %s, and %v", ref, s.Dir(), err), Hint: "did you mean " + name + "?"}
		}
		return DiffSide{}, err
	}
	img, _, err := c.Fetch(ctx, ref, platforms.Format(p))
	if err != nil {
		return DiffSide{}, err
	}
	d, err := img.Digest()
	return DiffSide{ref, d.String(), img}, err
}

// splitLayout splits DIR:NAME, where both may hold colons, after the first DIR
// that is a layout.
func splitLayout(ref string) (dir, name string) {
	for i, c := range ref {
		if c != ':' {
			continue
		}
		if _, err := os.Stat(filepath.Join(ref[:i], "index.json")); err == nil {
			return ref[:i], ref[i+1:]
		}
	}
	return ref, ""
}

// layoutSide finds an image in an OCI layout, such as the store of another data
// directory.
func layoutSide(dir, name string) (DiffSide, error) {
	idx, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return DiffSide{}, fmt.Errorf("reading OCI layout %s: %w", dir, err)
	}
	m, err := idx.IndexManifest()
	if err != nil {
		return DiffSide{}, fmt.Errorf("reading OCI layout %s: %w", dir, err)
	}
	var names []string
	var found []v1.Descriptor
	for _, d := range m.Manifests {
		n := d.Annotations[ocispecs.AnnotationRefName]
		names = append(names, n)
		if d.MediaType.IsImage() && (name == "" || n == name) {
			found = append(found, d)
		}
	}
	if len(found) == 0 || name == "" && len(found) > 1 {
		return DiffSide{}, &config.Error{Message: fmt.Sprintf("no image %q in the OCI layout %s", name, dir), Hint: "it has " + strings.Join(names[:min(len(names), 8)], ", ")}
	}
	d := found[len(found)-1].Digest // later ones count
	img, err := idx.Image(d)
	return DiffSide{strings.TrimSuffix("oci:"+dir+":"+name, ":"), d.String(), img}, err
}

// storedElsewhere gives the stored name that is ref with a registry before it, if
// there is one: whoever leaves the registry out means that image.
func storedElsewhere(s *store.Store, ref string) string {
	all, _ := s.Entries() // the error that this one explains is told
	for _, e := range all {
		if strings.HasSuffix(e.Name, "/"+ref) {
			return e.Name
		}
	}
	return ""
}

// findStored finds the one image of the store that ref means.
func findStored(s *store.Store, ref string) (store.Entry, bool, error) {
	if d, err := digest.Parse(ref); err == nil {
		return s.ByDigest(d)
	}
	if e, ok, err := s.Lookup(ref); ok || err != nil {
		return e, ok, err
	}
	pattern, tag := ref, ""
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		pattern, tag = ref[:i], ref[i+1:]
	}
	if strings.Contains(pattern, "/") {
		return store.Entry{}, false, nil
	}
	all, err := s.Entries()
	if err != nil {
		return store.Entry{}, false, err
	}
	all = slices.DeleteFunc(all, func(e store.Entry) bool { return e.Name == "" || tag != "" && !hasTag(e.Name, tag) })
	found := slices.DeleteFunc(slices.Clone(all), func(e store.Entry) bool { return shortName(e.Name) != pattern })
	if len(found) == 0 {
		if found, err = matching(all, pattern); err != nil {
			return store.Entry{}, false, err
		}
	}
	if len(found) > 1 {
		var names []string
		for _, e := range found {
			names = append(names, e.Name)
		}
		return store.Entry{}, false, &config.Error{Message: fmt.Sprintf("%q finds %d images: %s", ref, len(found), strings.Join(names[:min(len(names), 8)], ", ")),
			Hint: "add the tag, or write the whole name"}
	}
	if len(found) == 0 {
		return store.Entry{}, false, nil
	}
	return found[0], true, nil
}

// matching returns the entries whose short names a regular expression matches.
func matching(entries []store.Entry, pattern string) ([]store.Entry, error) {
	compiled, err := imageset.CompilePatterns([]string{pattern})
	if err != nil {
		return nil, err
	}
	var out []store.Entry
	for _, e := range entries {
		if match, err := compiled.Match(shortName(e.Name)); err != nil {
			return nil, err
		} else if match {
			out = append(out, e)
		}
	}
	return out, nil
}

func (d *Difference) compare(ctx context.Context, cfg *config.Config) error {
	reader := packageReader(cfg)
	var have [2]*packages.Contents
	var configs [2][]byte
	for i, side := range []DiffSide{d.A, d.B} {
		var err error
		if configs[i], err = side.img.RawConfigFile(); err != nil {
			return err
		}
		if have[i], err = reader.Read(ctx, side.img); err != nil {
			return err
		}
	}
	fields, err := inspect.CompareConfigs(configs[0], configs[1])
	if err != nil {
		return err
	}
	d.Config = append(d.Config, fields...)
	d.Packages = append(d.Packages, packages.Changes(have[0].Packages, have[1].Packages)...)
	return d.compareLayers(ctx)
}

func (d *Difference) compareLayers(ctx context.Context) error {
	a, err := d.A.img.Layers()
	if err != nil {
		return err
	}
	b, err := d.B.img.Layers()
	if err != nil {
		return err
	}
	steps := layerSteps(d.B.img)
	rest := -1 // the first layer that differs, where they cannot be paired
	for i := range max(len(a), len(b)) {
		var da, db string
		if i < len(a) {
			if da, err = digestText(a[i]); err != nil {
				return err
			}
		}
		if i < len(b) {
			if db, err = digestText(b[i]); err != nil {
				return err
			}
		}
		if da == db {
			continue
		}
		l := LayerDifference{Layer: i + 1, A: da, B: db, Files: []inspect.FileChange{}}
		if len(a) != len(b) {
			rest, l.Rest = i, true
			d.Layers = append(d.Layers, l)
			break
		}
		if i < len(steps) {
			l.Step = steps[i]
		}
		la, lb, err := readBoth(ctx, a[i:i+1], b[i:i+1])
		if err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
		l.Files = append(l.Files, inspect.CompareLayers(la[0], lb[0])...)
		l.Packed = len(l.Files) == 0
		d.Layers = append(d.Layers, l)
	}
	if rest < 0 {
		return nil
	}
	la, lb, err := readBoth(ctx, a[min(rest, len(a)):], b[min(rest, len(b)):])
	if err != nil {
		return err
	}
	l := &d.Layers[0]
	l.Files = append(l.Files, inspect.CompareTrees(inspect.Merge(la), inspect.Merge(lb))...)
	for i := range l.Files {
		f := &l.Files[i]
		if f.FromLayer >= 0 {
			f.FromLayer += rest
		}
		if f.ToLayer >= 0 {
			f.ToLayer += rest
		}
	}
	return nil
}

// readBoth reads layers of both sides at the same time.
func readBoth(ctx context.Context, a, b []v1.Layer) (la, lb []*inspect.Layer, err error) {
	g, ctx := errgroup.WithContext(ctx)
	read := func(from []v1.Layer, to *[]*inspect.Layer) {
		g.Go(func() error {
			for _, l := range from {
				one, _, err := inspect.ReadLayer(ctx, l, inspect.Options{Digests: true})
				if err != nil {
					return err
				}
				*to = append(*to, one)
			}
			return nil
		})
	}
	read(a, &la)
	read(b, &lb)
	return la, lb, g.Wait()
}

func digestText(l v1.Layer) (string, error) {
	h, err := l.Digest()
	return h.String(), err
}

// layerSteps returns the instructions that made an image's layers, as far as
// its history tells.
func layerSteps(img v1.Image) []string {
	conf, err := img.ConfigFile()
	if err != nil {
		return nil
	}
	var out []string
	for _, h := range conf.History {
		if !h.EmptyLayer {
			out = append(out, strings.Join(strings.Fields(strings.TrimSuffix(h.CreatedBy, "# buildkit")), " "))
		}
	}
	return out
}

func (d *Difference) write(w io.Writer, limit int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "A  %s  %s\nB  %s  %s\n", d.A.Name, d.A.Digest, d.B.Name, d.B.Digest)
	if d.Same {
		b.WriteString("the same\n")
	}
	if len(d.Packages) > 0 {
		b.WriteString("\npackages\n")
		for _, c := range d.Packages {
			fmt.Fprintf(&b, "  %s %s\n", mark(c.Kind()), c)
		}
	}
	if len(d.Config) > 0 {
		b.WriteString("\nconfiguration\n")
		for _, c := range d.Config {
			fmt.Fprintf(&b, "  %s: %s → %s\n", c.Field, orNothing(c.From), orNothing(c.To))
		}
	}
	for _, l := range d.Layers {
		l.write(&b, limit)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l LayerDifference) write(b *strings.Builder, limit int) {
	title := fmt.Sprintf("layer %d", l.Layer)
	if l.Rest {
		title = fmt.Sprintf("layers from %d on", l.Layer)
		switch "" {
		case l.A:
			title += ", which only B has"
		case l.B:
			title += ", which only A has"
		}
	}
	if l.Step != "" {
		title += ": " + short(l.Step, 100)
	}
	fmt.Fprintf(b, "\n%s\n", title)
	if l.Packed {
		b.WriteString("  the same files, packed otherwise: another order or compression\n")
	}
	for i, f := range l.Files {
		if limit > 0 && i == limit {
			fmt.Fprintf(b, "  … and %d more; --debug or --json shows all\n", len(l.Files)-limit)
			break
		}
		fmt.Fprintf(b, "  %s /%s%s\n", mark(f.Kind), f.Path, details(f))
	}
}

// details says what differs of a file, from and to.
func details(f inspect.FileChange) string {
	if f.Kind != "changed" {
		return ""
	}
	var out []string
	for _, what := range f.What {
		from, to := "", ""
		switch what {
		case "type":
			from, to = string(f.From.Type), string(f.To.Type)
		case "link":
			from, to = f.From.Link, f.To.Link
		case "mode":
			from, to = f.From.Mode, f.To.Mode
		case "owner":
			from, to = f.From.Owner, f.To.Owner
		case "time":
			const layout = "2006-01-02T15:04:05.999999999Z"
			from, to = f.From.ModTime.Format(layout), f.To.ModTime.Format(layout)
		case "content":
			if from, to = units.Bytes(f.From.Size), units.Bytes(f.To.Size); f.From.Size == f.To.Size {
				from, to = "", ""
			}
		}
		if from != "" || to != "" {
			what += " " + from + " → " + to
		}
		out = append(out, what)
	}
	return "  " + strings.Join(out, ", ")
}

func mark(kind string) string {
	switch kind {
	case "added":
		return "+"
	case "removed":
		return "-"
	}
	return "~"
}

func orNothing(s string) string {
	if s == "" {
		return "(none)"
	}
	return short(s, 200)
}

// short cuts a text to so many characters.
func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
