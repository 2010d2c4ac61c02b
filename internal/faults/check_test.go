package faults

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// ref returns the name of an image in the registry, without the proxy.
func (tr *trial) ref(image, suffix string) name.Reference {
	tr.Helper()
	r, err := name.ParseReference(tr.server.Addr().String()+"/kolla/"+image+suffix, name.Insecure)
	if err != nil {
		tr.Fatal(err)
	}
	return r
}

// tag returns the digest that the tag of an image names in the registry.
func (tr *trial) tag(image string) string {
	tr.Helper()
	d, err := remote.Head(tr.ref(image, ":t"))
	if err != nil {
		tr.Fatalf("%s: the tag of %s: %v", tr.name, image, err)
	}
	return d.Digest.String()
}

// tagOf returns the digest that another tag of an image names, "" if there is no such tag.
func (tr *trial) tagOf(image, tag string) string {
	tr.Helper()
	d, err := remote.Head(tr.ref(image, ":"+tag))
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return ""
	}
	if err != nil {
		tr.Fatalf("%s: the tag %s of %s: %v", tr.name, tag, image, err)
	}
	return d.Digest.String()
}

// identity returns the digest of an image if builds are reproducible, else a digest
// of its files. Every blob is read from the registry and verified in any case.
func (tr *trial) identity(digest string) string {
	tr.Helper()
	if tr.contents[digest] == "" {
		tr.contents[digest] = tr.read(digest)
	}
	if tr.w.reproducible {
		return digest
	}
	return tr.contents[digest]
}

func (tr *trial) read(digest string) string {
	tr.Helper()
	for _, im := range images {
		img, err := remote.Image(tr.ref(im.name, "@"+digest))
		if err != nil {
			continue // of another repository
		}
		id, err := content(img)
		if err != nil {
			tr.Fatalf("%s: %s@%s in the registry is not whole: %v", tr.name, im.name, digest, err)
		}
		return id
	}
	tr.Fatalf("%s: %s is in no repository", tr.name, digest)
	return ""
}

// content returns a digest of the files of an image, without their times.
func content(img v1.Image) (string, error) {
	conf, err := img.ConfigFile()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, conf.Config.Env, conf.Config.Cmd, conf.Config.Entrypoint)
	layers, err := img.Layers()
	if err != nil {
		return "", err
	}
	for _, l := range layers {
		r, err := l.Compressed() // checks what it reads against the digest
		if err != nil {
			return "", err
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return "", err
		}
		r.Close()
		u, err := l.Uncompressed()
		if err != nil {
			return "", err
		}
		tr := tar.NewReader(u)
		var files []string
		for {
			f, err := tr.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return "", err
			}
			sum := sha256.New()
			if _, err := io.Copy(sum, tr); err != nil {
				return "", err
			}
			files = append(files, fmt.Sprintf("%s %o %d %d %c %s %x", f.Name, f.Mode, f.Uid, f.Gid, f.Typeflag,
				f.Linkname, sum.Sum(nil)))
		}
		u.Close()
		sort.Strings(files)
		fmt.Fprintln(h, strings.Join(files, "\n"))
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// sets returns for each image which set its tag in the registry names: old, new, or
// neither, which is an error. Each image must be complete.
func (tr *trial) sets() map[string]string {
	tr.Helper()
	sets := map[string]string{}
	for _, im := range images {
		d := tr.tag(im.name)
		got := tr.identity(d)
		switch {
		case d == tr.w.was[im.name]:
			sets[im.name] = old
		case got == tr.w.want[im.name]:
			sets[im.name] = new_
		default:
			tr.Errorf("%s: the tag of %s names no image that was built: %s", tr.name, im.name, d)
		}
	}
	return sets
}

// published returns which set all tags in the registry name: old or new. Another result
// is an error.
func (tr *trial) published() string {
	tr.Helper()
	sets := tr.sets()
	set := sets[images[0].name]
	for _, im := range images {
		if sets[im.name] != set {
			tr.Errorf("%s: the tags in the registry name no set that was built: %v", tr.name, sets)
			return "torn"
		}
	}
	return set
}

// storeIsWhole reads every blob of every named image in the store.
func (tr *trial) storeIsWhole() {
	tr.Helper()
	s, err := store.OpenReadOnly(filepath.Join(tr.dir, "data", "store"))
	if err != nil {
		if _, serr := os.Stat(filepath.Join(tr.dir, "data", "store", "index.json")); serr != nil {
			return // the run ended before it had a store
		}
		tr.Errorf("%s: the store: %v", tr.name, err)
		return
	}
	defer s.Close()
	entries, err := s.Entries()
	if err != nil {
		tr.Errorf("%s: the store: %v", tr.name, err)
	}
	for _, e := range entries {
		if err := s.Verify(tr.Context(), e.Digest); err != nil {
			tr.Errorf("%s: %s %s in the store: %v", tr.name, e.Name, e.Digest, err)
		}
	}
}

// nothingLeft checks that runs that have ended left no processes, mounts and
// temporary files.
func (tr *trial) nothingLeft() {
	tr.Helper()
	// A process that syncs the builder's files outlives the run for a moment.
	leftover := processes(tr.dir)
	for deadline := time.Now().Add(20 * time.Second); len(leftover) > 0 &&
		time.Now().Before(deadline); leftover = processes(tr.dir) {
		time.Sleep(50 * time.Millisecond)
	}
	if len(leftover) > 0 {
		tr.Errorf("%s: processes live: %v", tr.name, leftover)
	}
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		tr.Fatal(err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], filepath.Join(tr.dir, "data")+"/") {
			tr.Errorf("%s: still mounted: %s", tr.name, f[4])
		}
	}
	for _, pattern := range []string{"data/store/tmp/*", "data/store/ingest/*", "data/.*", "data/sources/tmp/*",
		"data/buildkit/tmp/*", "t/*",
		"data/buildkit/runc-overlayfs/executor/?????????????????????????"} {
		leftover, err := filepath.Glob(filepath.Join(tr.dir, pattern))
		if err != nil {
			tr.Fatal(err)
		}
		if len(leftover) > 0 {
			tr.Errorf("%s: left behind: %v", tr.name, leftover)
		}
	}
}

// processes returns the processes that use a directory, by their command lines or
// their roots.
func processes(dir string) []string {
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var leftover []string
	for _, p := range all {
		cmd, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil || len(cmd) == 0 {
			continue // a thread of the kernel, or one that waits for its parent
		}
		mounts, _ := os.ReadFile(filepath.Join(p, "mountinfo"))
		ours := strings.Contains(string(cmd), dir+"/")
		for _, line := range strings.Split(string(mounts), "\n") {
			f := strings.Fields(line)
			ours = ours || len(f) > 4 && f[4] == "/" && strings.Contains(line, "upperdir="+dir+"/")
		}
		if ours {
			leftover = append(leftover, filepath.Base(p)+" "+strings.ReplaceAll(string(cmd), "\x00", " "))
		}
	}
	return leftover
}

// nothingLost checks what must hold after every fault, regardless of the result of the run.
func (tr *trial) nothingLost() string {
	tr.Helper()
	set := tr.published()
	tr.storeIsWhole()
	return set
}

// recovers checks that the next undisturbed run succeeds with the usual result, and
// leaves nothing behind.
func (tr *trial) recovers() {
	tr.Helper()
	out := tr.mustRun(new_)
	if set := tr.nothingLost(); set != new_ {
		tr.Errorf("%s: after the next run the registry has the %s set:\n%s", tr.name, set, out)
	}
	tr.nothingLeft()
}
