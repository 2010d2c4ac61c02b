package hostile

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/bundle/contents"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/storecmd"
)

// material holds the content of hostile bundles.
type material struct {
	plain, signed, foreign []byte // the same set: unsigned, signed with key, signed with another key
	delta, byteDelta       []byte // of what the healthy store has
	parts                  map[string][]byte
	docker                 []byte
	inventory              []byte
	loaded                 map[string]string // of the set, once it is loaded: digests by name
	key                    ed25519.PublicKey
}

// noise returns content that cannot be compressed, the same for a seed.
func noise(seed uint64, n int) string {
	rnd := rand.New(rand.NewPCG(seed, 7))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(rnd.Uint32())
	}
	return string(out)
}

// make makes the healthy store and the bundles.
func (rs *readers) make() error {
	ctx := context.Background()
	scratch := filepath.Join(rs.dir, "tmp", "make")
	defer os.RemoveAll(scratch)
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return err
	}
	loadInto := func(dir string, b *layout) (*store.Store, error) {
		file := filepath.Join(scratch, "in.tar")
		if err := os.WriteFile(file, b.tar(), 0o644); err != nil {
			return nil, err
		}
		st, err := store.Open(dir)
		if err != nil {
			return nil, err
		}
		_, err = load.Bundle(ctx, file, st, load.Options{Trust: true})
		return st, err
	}
	old := newBundle()
	for _, name := range []string{"healthy-a", "healthy-b"} {
		old.addImage("site.example/kolla/"+name+":1", map[string]string{"etc/" + name: name})
	}
	base := noise(1, 100_000)
	old.addImage("other.example/kolla/base:1", map[string]string{"usr/base": base})
	healthy, err := loadInto(rs.healthy, old)
	if err != nil {
		return err
	}
	defer healthy.Close()
	set := newBundle()
	set.addImage("other.example/kolla/new:1", map[string]string{"usr/base": base[:60_000] + "changed" + base[60_000:]})
	set.addImage("other.example/kolla/more:1", map[string]string{"etc/more": "more"})
	source, err := loadInto(filepath.Join(scratch, "source"), set)
	if err != nil {
		return err
	}
	defer source.Close()
	if _, err := load.Bundle(ctx, filepath.Join(scratch, "in.tar"), source, load.Options{Replace: true}); err != nil {
		return err
	}
	entries, err := source.Entries()
	if err != nil {
		return err
	}
	rs.made.loaded = map[string]string{}
	for i := range entries {
		rs.made.loaded[entries[i].Name] = string(entries[i].Digest)
		entries[i].Key, entries[i].Kind = foreignKey, store.KindBuilt
	}
	public, private, err := ed25519.GenerateKey(bytes.NewReader([]byte(noise(2, 64))))
	if err != nil {
		return err
	}
	_, other, err := ed25519.GenerateKey(bytes.NewReader([]byte(noise(3, 64))))
	if err != nil {
		return err
	}
	rs.made.key = public
	oldEntries, err := healthy.Entries()
	if err != nil {
		return err
	}
	saveBytes := func(st *store.Store, entries []store.Entry, opts save.Options) ([]byte, error) {
		var out bytes.Buffer
		opts.Stdout = &out
		_, err := save.Bundle(ctx, st, entries, "-", opts)
		return out.Bytes(), err
	}
	// The inventory of the other side comes from a bundle with all of its content.
	oldFile := filepath.Join(scratch, "old.tar")
	oldBundle, err := saveBytes(healthy, oldEntries, save.Options{})
	if err == nil {
		err = os.WriteFile(oldFile, oldBundle, 0o644)
	}
	if err != nil {
		return err
	}
	since, err := contents.Inventory(ctx, oldFile, healthy)
	if err != nil {
		return err
	}
	var inv bytes.Buffer
	if err := since.Write(&inv); err != nil {
		return err
	}
	rs.made.inventory = inv.Bytes()
	// A byte delta follows an image by its name.
	for i := range since.Images {
		since.Images[i].Name = strings.Replace(since.Images[i].Name, "/base:", "/new:", 1)
	}
	// The byte delta is made from the base in the store that saves.
	if _, err := load.Bundle(ctx, oldFile, source, load.Options{}); err != nil {
		return err
	}
	for _, want := range []struct {
		to   *[]byte
		opts save.Options
	}{
		{&rs.made.plain, save.Options{}}, {&rs.made.signed, save.Options{SignKey: private}},
		{&rs.made.foreign, save.Options{SignKey: other}},
		{&rs.made.delta, save.Options{Since: since}}, {&rs.made.byteDelta, save.Options{Since: since, ByteDeltas: true}},
	} {
		if *want.to, err = saveBytes(source, entries, want.opts); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(untarred(rs.made.byteDelta),
		func(m member) bool { return strings.HasPrefix(m.Name, "deltas/") }) {
		return errors.New("the byte delta has no delta")
	}
	if _, err := save.Bundle(ctx, source, entries, filepath.Join(scratch, "set.tar"),
		save.Options{Split: 70_000, Parity: 50}); err != nil {
		return err
	}
	rs.made.parts = map[string][]byte{}
	found, err := filepath.Glob(filepath.Join(scratch, "set.tar.*"))
	for _, file := range found {
		if rs.made.parts[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			return err
		}
	}
	rs.made.docker = dockerArchive()
	return err
}

// dockerArchive returns an archive of an older `docker save`.
func dockerArchive() []byte {
	file := func(name string, content []byte) member {
		m := member{content: content}
		m.Name, m.Mode, m.Size = name, 0o644, int64(len(content))
		return m
	}
	layer := writeTar([]member{file("etc/x", []byte("x"))})
	config, _ := json.Marshal(object{"architecture": "amd64", "os": "linux", "config": object{},
		"rootfs": object{"type": "layers", "diff_ids": []string{digest.FromBytes(layer).String()}}})
	id := digest.FromBytes(config).Encoded()
	dir := strings.Repeat("1", 64)
	manifest, _ := json.Marshal([]object{{"Config": id + ".json", "RepoTags": []string{"other.example/kolla/d:1"},
		"Layers": []string{dir + "/layer.tar"}}})
	return writeTar([]member{file(dir+"/VERSION", []byte("1.0")), file(dir+"/layer.tar", layer), file(id+".json", config),
		file("manifest.json", manifest),
		file("repositories", []byte(`{"other.example/kolla/d":{"1":"`+dir+`"}}`))})
}

// loadFiles loads files into the store with some of load's options, and compares the output
// of the other commands about the first one.
func loadFiles(ctx context.Context, rnd *rand.Rand, r *reading, files ...string) error {
	st, err := r.openStore()
	if err != nil {
		return brokenf("the store: %w", err)
	}
	opts := load.Options{}
	if rnd.IntN(6) == 0 {
		opts.Name = pick(rnd, hostileNames)
	}
	if rnd.IntN(6) == 0 {
		if rename, err := imageref.ParseRename(pick(rnd, renames)); err == nil {
			opts.Renames = append(opts.Renames, rename)
		}
	}
	var inputs []load.Input
	for _, f := range files {
		inputs = append(inputs, load.Input{Path: f})
	}
	if rnd.IntN(3) == 0 {
		preview := opts
		preview.NamesOnly = true
		_, _ = load.Read(ctx, inputs, nil, preview)
	}
	var report *verify.Report
	if rnd.IntN(2) == 0 && len(files) == 1 {
		var verr error
		report, verr = verify.Bundle(ctx, files[0], verify.Options{})
		if verr == nil && report.OK && (report.Parts == nil || len(report.Parts.Problems) == 0) {
			if _, err := contents.List(ctx, files[0], nil, nil); err != nil {
				return brokenf("verify accepts it, and list does not: %w", err)
			}
		}
		_, _ = contents.Inventory(ctx, files[0], st)
		if err := printed(ctx, files[0]); err != nil {
			return err
		}
	}
	loaded, err := load.Read(ctx, inputs, st, opts)
	if err == nil {
		err = loaded.Name()
	}
	if report != nil && report.OK && report.Required == 0 && err != nil && len(opts.Renames) == 0 && opts.Name == "" {
		var taken *store.NamesTakenError
		var name *imageref.Error
		needsName := errors.As(err, &name) && !strings.ContainsAny(name.Value, "/:") // --name gives the image another
		if !errors.As(err, &taken) && !needsName {
			return brokenf("verify accepts it, and load does not: %w", err)
		}
	}
	return err
}

// printed checks the output of list and verify about a bundle.
func printed(ctx context.Context, file string) error {
	var stdout, stderr limitedBuffer
	con := &console.Console{Stdout: &stdout, Stderr: &stderr}
	if err := storecmd.List(ctx, con, []string{file}, false); err != nil {
		fmt.Fprintln(&stderr, errorText(err))
	}
	if err := storecmd.Verify(ctx, con, []string{file}, storecmd.VerifyOptions{Progress: "quiet"}); err != nil {
		fmt.Fprintln(&stderr, errorText(err))
	}
	return errors.Join(controlsTerminal("list or verify", stdout.Bytes()),
		controlsTerminal("list or verify", stderr.Bytes()))
}

func (r *reading) loadBytes(ctx context.Context, rnd *rand.Rand, content []byte) error {
	file, err := r.input("in.tar", content)
	if err != nil {
		return brokenf("%w", err)
	}
	return loadFiles(ctx, rnd, r, file)
}

func readBundle(ctx context.Context, rnd *rand.Rand, r *reading) error {
	if rnd.IntN(3) == 0 {
		b, _ := hostileBundle(rnd)
		return r.loadBytes(ctx, rnd, damage(rnd, b.tar()))
	}
	return r.loadBytes(ctx, rnd, mutateTar(rnd, r.readers.made.plain))
}

// readSigned loads and verifies changed bundles with a key. An accepted bundle must be
// the set that was signed with it.
func readSigned(ctx context.Context, rnd *rand.Rand, r *reading) error {
	made := r.readers.made
	content, fake := made.signed, false
	switch rnd.IntN(6) {
	case 0:
		content, fake = made.foreign, true
	case 1:
		content, fake = made.plain, true
	case 2: // the signature of the set with the rest of another
		content, fake = withMember(made.delta, "kolla-bundle.sig", contentOf(made.signed, "kolla-bundle.sig")), true
	case 4: // a manifest that is sealed again after a change
		content = withMember(made.signed, "kolla-bundle.json",
			reseal(mutateJSON(rnd, contentOf(made.signed, "kolla-bundle.json"))))
		fake = !bytes.Equal(contentOf(content, "kolla-bundle.json"), contentOf(made.signed, "kolla-bundle.json"))
	}
	if rnd.IntN(4) > 0 && !fake {
		content = mutateTar(rnd, content)
	}
	file, err := r.input("in.tar", content)
	if err != nil {
		return brokenf("%w", err)
	}
	if report, err := verify.Bundle(ctx, file, verify.Options{VerifyKey: made.key}); err == nil && report.OK && fake {
		return brokenf("verify accepts a bundle that is not signed with the key: %+v", report)
	}
	st, err := r.openStore()
	if err != nil {
		return brokenf("the store: %w", err)
	}
	loaded, err := load.Read(ctx, []load.Input{{Path: file}}, st, load.Options{VerifyKey: made.key})
	if err != nil {
		return err
	}
	if fake || !loaded.Signed {
		return brokenf("load accepts a bundle that is not signed with the key")
	}
	names := map[string]string{}
	for _, e := range loaded.Images {
		names[e.Name] = string(e.Digest)
	}
	if fmt.Sprint(names) != fmt.Sprint(made.loaded) {
		return brokenf("load accepts %v, and signed was %v", names, made.loaded)
	}
	return nil
}

func contentOf(raw []byte, name string) []byte {
	for _, m := range untarred(raw) {
		if m.Name == name {
			return m.content
		}
	}
	return nil
}

// withMember replaces a member of an archive, or adds it in the third place.
func withMember(raw []byte, name string, content []byte) []byte {
	members := untarred(raw)
	i := slices.IndexFunc(members, func(m member) bool { return m.Name == name })
	if i < 0 {
		m := members[0]
		m.Name = name
		i = min(2, len(members))
		members = slices.Insert(members, i, m)
	}
	members[i].content, members[i].Size = content, int64(len(content))
	return writeTar(members)
}

// reseal ends a manifest with the digest of what is before it.
func reseal(b []byte) []byte {
	var doc object
	if json.Unmarshal(b, &doc) != nil {
		return b
	}
	delete(doc, "check")
	body, err := json.Marshal(doc)
	if err != nil {
		return b
	}
	body = bytes.TrimSuffix(body, []byte("}"))
	return fmt.Appendf(bytes.Clone(body), `,"check":"%s"}`, digest.FromBytes(body))
}

func readDelta(ctx context.Context, rnd *rand.Rand, r *reading) error {
	return r.loadBytes(ctx, rnd, mutateTar(rnd, r.readers.made.delta))
}

// readByteDelta changes the deltas themselves, or their base or target.
func readByteDelta(ctx context.Context, rnd *rand.Rand, r *reading) error {
	members := untarred(r.readers.made.byteDelta)
	for i, m := range members {
		if strings.HasPrefix(m.Name, "deltas/") && rnd.IntN(4) > 0 {
			content := bytes.Clone(m.content)
			for range 1 + rnd.IntN(8) {
				content[rnd.IntN(min(len(content), pick(rnd, []int{16, 200, 1 << 30})))] = byte(rnd.IntN(256))
			}
			members[i].content = content
		}
	}
	if rnd.IntN(3) > 0 { // without the manifest, which would find the change first
		members = slices.DeleteFunc(members, func(m member) bool { return m.Name == "kolla-bundle.json" })
	}
	raw := writeTar(members)
	if rnd.IntN(3) == 0 {
		raw = mutateTar(rnd, raw)
	}
	return r.loadBytes(ctx, rnd, raw)
}

// readParts changes, omits, repeats and renames parts.
func readParts(ctx context.Context, rnd *rand.Rand, r *reading) error {
	all := r.readers.made.parts
	names := sortedKeys(all)
	first := ""
	for _, name := range names {
		content := bytes.Clone(all[name])
		switch rnd.IntN(8) {
		case 0:
			continue
		case 1:
			content = damage(rnd, content)
		case 2: // its header
			line, rest, _ := bytes.Cut(content, []byte("\n"))
			line = mutateJSON(rnd, line)
			content = slices.Concat(line, []byte("\n"), rest)
		case 3:
			content = bytes.Clone(all[pick(rnd, names)])
		case 4:
			name = pick(rnd, []string{"set.tar.999", "set.tar.000", "set.tar.0001", "\u202e.001", "x.001"})
		}
		path, err := r.input(name, content)
		if err != nil {
			return brokenf("%w", err)
		}
		if first == "" || rnd.IntN(3) == 0 {
			first = path
		}
	}
	if first == "" {
		return errors.New("no part is left")
	}
	if rnd.IntN(6) == 0 {
		if err := syscall.Mkfifo(filepath.Join(filepath.Dir(first), "set.tar.007"), 0o644); err != nil && !os.IsExist(err) {
			return brokenf("%w", err)
		}
	}
	if set, err := parts.Open(first); err == nil {
		_, _ = set.Problems(), set.Lost()
	}
	return loadFiles(ctx, rnd, r, first)
}

// readBundleDir loads a bundle that is a directory with forbidden content.
func readBundleDir(ctx context.Context, rnd *rand.Rand, r *reading) error {
	dir := filepath.Join(r.dir, "in")
	source := pick(rnd, [][]byte{r.readers.made.plain, r.readers.made.byteDelta, r.readers.made.docker})
	if rnd.IntN(2) == 0 {
		source = mutateTarContent(rnd, source)
	}
	var names []string
	for _, m := range untarred(source) {
		if m.Typeflag == '5' || strings.HasSuffix(m.Name, "/") {
			continue
		}
		if _, err := r.input(m.Name, m.content); err != nil {
			return brokenf("%w", err)
		}
		names = append(names, m.Name)
	}
	for range rnd.IntN(4) {
		name := pick(rnd, append([]string{"x", "blobs/sha256/x", "manifest.json", "blobs", "deltas", "version"}, names...))
		if err := plant(rnd, dir, name, r.readers.made.inventory); err != nil {
			return brokenf("%w", err)
		}
	}
	return loadFiles(ctx, rnd, r, dir)
}

// mutateTarContent changes the content of members alone.
func mutateTarContent(rnd *rand.Rand, raw []byte) []byte {
	members := untarred(raw)
	for range 1 + rnd.IntN(2) {
		i := rnd.IntN(len(members))
		if c := members[i].content; len(c) > 0 && (c[0] == '{' || c[0] == '[') {
			members[i].content = mutateJSON(rnd, c)
		} else if len(c) > 0 {
			members[i].content = damage(rnd, bytes.Clone(c))
		}
		members[i].Size = int64(len(members[i].content))
	}
	return writeTar(members)
}

// readSeveral loads several files as one set.
func readSeveral(ctx context.Context, rnd *rand.Rand, r *reading) error {
	made := r.readers.made
	var files []string
	for i := range 2 + rnd.IntN(3) {
		content := pick(rnd, [][]byte{made.plain, made.signed, made.foreign, made.delta, made.byteDelta, made.docker})
		if rnd.IntN(2) == 0 {
			content = mutateTar(rnd, content)
		}
		file, err := r.input(fmt.Sprintf("in%d.tar", i), content)
		if err != nil {
			return brokenf("%w", err)
		}
		files = append(files, file)
	}
	return loadFiles(ctx, rnd, r, files...)
}

func readDocker(ctx context.Context, rnd *rand.Rand, r *reading) error {
	raw := mutateTar(rnd, r.readers.made.docker)
	if rnd.IntN(6) == 0 {
		raw = compress(raw)
	}
	return r.loadBytes(ctx, rnd, raw)
}

func readIndex(ctx context.Context, rnd *rand.Rand, r *reading) error {
	return r.loadBytes(ctx, rnd, hostileIndex(rnd))
}

func readInventory(ctx context.Context, rnd *rand.Rand, r *reading) error {
	raw := mutateJSON(rnd, r.readers.made.inventory)
	if rnd.IntN(4) == 0 {
		raw = damage(rnd, raw)
	}
	since, err := inventory.Read(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	st, err := r.openStore()
	if err != nil {
		return brokenf("the store: %w", err)
	}
	entries, err := st.Entries()
	if err != nil {
		return brokenf("the store: %w", err)
	}
	_, err = save.Bundle(ctx, st, entries, "-", save.Options{Stdout: io.Discard, Since: since, ByteDeltas: true})
	return err
}
