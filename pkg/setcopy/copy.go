package setcopy

import (
	"context"
	"errors"
	"fmt"
	"sync"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/transfer"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// Options are the flags of copy and tag.
type Options struct {
	DryRun bool // only print what would be done
	JSON   bool
	// Progress is how progress is shown: a value of the option --progress.
	Progress string

	tagging bool // AddTags
}

// State is the result for one tag.
type State string

// The states of tags.
const (
	StateNew       State = "new"
	StateReplaced  State = "replaced"
	StateUnchanged State = "unchanged"
)

// Tag is one tag of the result.
type Tag struct {
	From     string        `json:"from"`
	To       string        `json:"to"`
	Digest   digest.Digest `json:"digest"`
	State    State         `json:"state"`
	Previous digest.Digest `json:"previous,omitempty"` // what the tag referred to
}

// Result is the result of a copy, or of its preview with DryRun.
type Result struct {
	DryRun  bool  `json:"dry_run,omitempty"`
	Tags    []Tag `json:"tags"`
	Sent    int64 `json:"blobs_sent"`
	Bytes   int64 `json:"bytes_sent"`
	Mounted int64 `json:"blobs_mounted"`
	Present int64 `json:"blobs_present"`
}

// changed returns how many tags change.
func (r Result) changed() int {
	n := 0
	for _, t := range r.Tags {
		if t.State != StateUnchanged {
			n++
		}
	}
	return n
}

// Copy copies the images of a location that match expressions to another one. Content is
// copied first; then all tags are updated, or none. Content that was copied before an
// interruption is not sent again.
func Copy(ctx context.Context, cfg *config.Config, con *console.Console, args []string, o Options) error {
	if len(args) < 2 {
		return usererr.Usage(usererr.Errorf("kolla-build copy build.example:4000/kolla:2026.1 site.example:4000/kolla",
			"copy takes two locations: FROM and TO, each %s", locationForm))
	}
	from, err := ParseLocation(args[0])
	if err != nil {
		return err
	}
	to, err := ParseLocation(args[1])
	if err != nil {
		return err
	}
	if from.Tag == "" && to.Tag != "" {
		hint := fmt.Sprintf("add a tag to %s, or remove it from %s", from, to)
		return usererr.Usage(usererr.Errorf(hint, "all tags of %s cannot become the one tag %s", from, to.Tag))
	}
	if from == to || from.Registry == to.Registry && from.Namespace == to.Namespace && to.Tag == "" {
		return usererr.Usage(usererr.Errorf("name another registry, namespace or tag", "%s and %s are the same", from, to))
	}
	return run(ctx, cfg, con, from, []Location{to}, args[2:], o)
}

// AddTags gives the images of a location further tags or namespaces in their registry.
func AddTags(ctx context.Context, cfg *config.Config, con *console.Console, args []string, o Options) error {
	if len(args) < 2 {
		return usererr.Usage(usererr.Errorf("kolla-build tag localhost:4000/kolla:candidate 2026.1",
			"tag takes a set, HOST[:PORT]/NAMESPACE:TAG, and its new tags"))
	}
	set, err := ParseLocation(args[0])
	if err != nil {
		return err
	}
	if set.Tag == "" {
		return usererr.Usage(usererr.Errorf(fmt.Sprintf("kolla-build tag %s:TAG %s", set, args[1]),
			"%s: the tag of the set is missing", set))
	}
	var targets []Location
	for _, arg := range args[1:] {
		target, err := parseTarget(set, arg)
		if err != nil {
			return err
		}
		if target == set {
			return usererr.Usage(usererr.Errorf("name another tag or namespace", "the set is already %s", set))
		}
		targets = append(targets, target)
	}
	o.tagging = true
	return run(ctx, cfg, con, set, targets, nil, o)
}

// run finds the images and copies or previews them.
func run(ctx context.Context, cfg *config.Config, con *console.Console, from Location, to []Location, exprs []string,
	o Options) error {
	if err := workspace.CheckDataDir(cfg); err != nil {
		return err
	}
	client, err := workspace.RegistryClient(ctx, cfg, con)
	if err != nil {
		return err
	}
	defer client.Close()
	images, err := Find(ctx, client, from, exprs)
	if err != nil {
		return err
	}
	progress := transfer.Start(con, "copying", o.Progress)
	defer progress.Stop()
	c := &job{
		client: client, tagging: o.tagging, threads: cfg.Threads,
		shown: progress != nil, meter: push.Meter{Update: progress.Update},
	}
	c.pub = push.New(client, push.Options{
		Journal:  publish.JournalDir(cfg.DataDir),
		Progress: c.meter.Report,
		Notice:   func(text string) { con.Notice("%s", text) },
	})
	for _, target := range to {
		for _, image := range images {
			c.add(from, target, image)
		}
	}
	if !o.DryRun {
		// An interrupted publication is completed or undone first, because it may have
		// the same tags.
		done, err := c.pub.Recover(ctx, []string{to[0].Repository(images[0].Name)})
		for _, text := range done {
			con.Notice("%s", text)
		}
		if err != nil {
			return err
		}
	}
	if err := c.compare(ctx); err != nil {
		return err
	}
	if o.DryRun {
		err = c.preview(ctx)
	} else {
		err = c.copy(ctx)
	}
	if err != nil {
		return err
	}
	progress.Stop()
	c.result.DryRun = o.DryRun
	if o.JSON {
		return con.PrintJSON(c.result)
	}
	c.print(con, from, to)
	return nil
}

// job is one run of copy or tag.
type job struct {
	client  *registry.Client
	pub     *push.Publisher
	threads int
	meter   push.Meter
	shown   bool // progress is
	tagging bool // the set gets further tags or namespaces in its registry
	pairs   []pair
	result  Result
}

// pair is the source and the destination of an image.
type pair struct {
	from, to *registry.Repository
}

func (c *job) add(from, to Location, image Image) {
	tag := to.Tag
	if tag == "" {
		tag = image.Tag
	}
	repository := func(l Location) *registry.Repository {
		ref, _ := imageref.ParseTag(l.Repository(image.Name)) // names were checked
		return c.client.Repository(ref)
	}
	c.pairs = append(c.pairs, pair{repository(from), repository(to)})
	c.result.Tags = append(c.result.Tags, Tag{
		From:   from.Repository(image.Name) + ":" + image.Tag,
		To:     to.Repository(image.Name) + ":" + tag,
		Digest: image.Digest,
	})
}

// compare looks up what the tags refer to now.
func (c *job) compare(ctx context.Context) error {
	names := make([]string, len(c.result.Tags))
	for i, t := range c.result.Tags {
		names[i] = t.To
	}
	for i, h := range c.client.Heads(ctx, names) {
		t := &c.result.Tags[i]
		var missing *registry.NotFoundError
		switch {
		case errors.As(h.Err, &missing):
			t.State = StateNew
		case h.Err != nil:
			return h.Err
		case h.Descriptor.Digest == t.Digest:
			t.State = StateUnchanged
		default:
			t.State, t.Previous = StateReplaced, h.Descriptor.Digest
		}
	}
	return ctx.Err()
}

// copy copies the content of all images, and then updates the tags.
func (c *job) copy(ctx context.Context) error {
	var changed []string
	for _, t := range c.result.Tags {
		if t.State != StateUnchanged {
			changed = append(changed, t.To)
		}
	}
	if err := c.client.CheckPush(ctx, changed); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	measured := make(chan struct{})
	go func() {
		defer close(measured)
		if c.shown {
			c.measure(ctx)
		}
	}()
	defer func() {
		cancel()
		<-measured
	}()
	var mu sync.Mutex
	var tags []push.Tag
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, c.threads))
	for i, t := range c.result.Tags {
		g.Go(func() error {
			// Unchanged images are examined too, because artifacts may have been added
			// to them.
			artifacts, err := c.pub.Copy(gctx, c.pairs[i].from, c.pairs[i].to, t.Digest)
			mu.Lock()
			defer mu.Unlock()
			tags = append(append(tags, push.Tag{Ref: t.To, Digest: t.Digest}), artifacts...)
			return err
		})
	}
	err := g.Wait()
	switch {
	case err == nil:
		err = c.pub.Commit(ctx, tags)
	case ctx.Err() != nil:
		err = usererr.Errorf("run the command again: what was copied is not sent again", "no tag was changed: %w",
			context.Cause(ctx))
	}
	st := c.pub.Stats()
	c.result.Sent, c.result.Bytes, c.result.Mounted, c.result.Present = st.Uploaded, st.Bytes, st.Mounted, st.Skipped
	return err
}

// measure determines the number of bytes to copy. Until then, progress has no total. Its
// read errors are ignored, because copy reports them.
func (c *job) measure(ctx context.Context) {
	seen := map[digest.Digest]bool{}
	for i, t := range c.result.Tags {
		if t.State == StateUnchanged || seen[t.Digest] {
			continue
		}
		seen[t.Digest] = true
		if err := walk(ctx, c.pairs[i].from, nil, t.Digest, func(d ocispec.Descriptor) error {
			c.meter.Expect(d)
			return nil
		}); err != nil {
			return
		}
	}
	c.meter.Expected()
}

// preview counts the content that copy would send.
func (c *job) preview(ctx context.Context) error {
	var mu sync.Mutex
	seen := map[digest.Digest]bool{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, c.threads))
	for i, t := range c.result.Tags {
		if t.State == StateUnchanged {
			continue
		}
		g.Go(func() error {
			return walk(gctx, c.pairs[i].from, c.pairs[i].to, t.Digest, func(d ocispec.Descriptor) error {
				mu.Lock()
				first := !seen[d.Digest]
				seen[d.Digest] = true
				mu.Unlock()
				if !first {
					return nil // it is mounted, or was counted
				}
				present, err := c.pairs[i].to.HasBlob(gctx, d.Digest)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
				case present:
					c.result.Present++
				case c.pairs[i].from.Registry() == c.pairs[i].to.Registry():
					c.result.Mounted++
				default:
					c.result.Sent++
					c.result.Bytes += d.Size
				}
				return err
			})
		})
	}
	return g.Wait()
}

func (c *job) print(con *console.Console, from Location, to []Location) {
	action, preview, preposition := "copied", "would copy", "to"
	if c.tagging {
		action, preview, preposition = "tagged", "would tag", "as"
	}
	if c.result.DryRun {
		action = preview
		for _, t := range c.result.Tags {
			if t.State != StateUnchanged {
				fmt.Fprintf(con.Stdout, "%s -> %s (%s)\n", t.From, t.To, t.State)
			}
		}
	}
	r := c.result
	con.Notice("%s: %s %s %s %s: %s; %s set, %d unchanged", from, action,
		units.Count(len(r.Tags)/len(to), "image"), preposition, joinLocations(to), push.Stats{
			Uploaded: r.Sent,
			Bytes:    r.Bytes,
			Mounted:  r.Mounted,
			Skipped:  r.Present,
		},
		units.Count(r.changed(), "tag"), len(r.Tags)-r.changed())
}

func joinLocations(to []Location) string {
	s := to[0].String()
	for _, l := range to[1:] {
		s += ", " + l.String()
	}
	return s
}
