package buildkit

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/client/llb"
	digest "github.com/opencontainers/go-digest"
)

// Epoch is the time of files of build contexts: the Unix epoch, as in upstream
// Kolla, so that the dates of a checkout do not reach images.
var Epoch = time.Unix(0, 0).UTC()

// inlineLimit is the size in bytes up to which a context file is part of the
// LLB, and InlineBudget that of all such files of an image: BuildKit's messages
// have at most 16 MiB. Other files are blobs of the store, fetched by digest.
const (
	inlineLimit  = 64 << 10
	InlineBudget = 2 << 20
)

// ContextFile is a file, directory or symbolic link of a build context.
type ContextFile struct {
	Path string      // slash-separated, relative, clean
	Mode fs.FileMode // type and permission bits
	Data []byte      // content, or a link's target

	// Blob is the digest of a blob in the store that holds the content of a
	// large regular file; Data is nil then.
	Blob digest.Digest
}

// InlineLimit reports the size in bytes above which a file's content must be
// in the store and named by Blob.
func InlineLimit() int64 { return inlineLimit }

// contextState returns the LLB of a build context with the files that used
// names, or all if used is nil.
func contextState(files []ContextFile, used []string) (llb.State, error) {
	st := llb.Scratch()
	// The Dockerfile frontend needs a context even if nothing is copied.
	action := llb.Mkdir("/", 0o755, llb.WithParents(true), llb.WithCreatedTime(Epoch))
	dirs := map[string]bool{".": true}
	var blobs []ContextFile
	mkdir := func(dir string, mode fs.FileMode) {
		if dirs[dir] {
			return
		}
		dirs[dir] = true
		opts := []llb.MkdirOption{llb.WithParents(true), llb.WithCreatedTime(Epoch)}
		action = action.Mkdir("/"+dir, mode, opts...)
	}
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b ContextFile) int { return strings.Compare(a.Path, b.Path) })
	for _, f := range files {
		if f.Path == "" || path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == ".." || strings.HasPrefix(f.Path, "../") {
			return st, fmt.Errorf("unsafe path %q", f.Path)
		}
		if !wanted(f.Path, used) {
			continue
		}
		perm := f.Mode.Perm()
		if f.Mode.IsDir() {
			mkdir(f.Path, perm)
			continue
		}
		mkdir(path.Dir(f.Path), 0o755)
		switch {
		case f.Mode&fs.ModeSymlink != 0:
			action = action.Symlink(string(f.Data), "/"+f.Path, llb.WithCreatedTime(Epoch))
		case f.Blob != "":
			blobs = append(blobs, f)
		case !f.Mode.IsRegular():
			return st, fmt.Errorf("%s is neither a file, a directory nor a link", f.Path)
		default:
			action = action.Mkfile("/"+f.Path, perm, f.Data, llb.WithCreatedTime(Epoch))
		}
	}
	st = st.File(action, llb.WithCustomName("[internal] build context"))
	for _, f := range blobs {
		name := path.Base(f.Path)
		blob := llb.OCILayoutBlob("kolla-build/file@"+f.Blob.String(),
			llb.ImageBlobOCIStore("", storeID), llb.Filename(name), llb.WithCustomName("load "+name))
		perm := f.Mode.Perm()
		st = st.File(llb.Copy(blob, "/"+name, "/"+f.Path, &llb.CopyInfo{
			CreateDestPath: true, Mode: &llb.ChmodOpt{Mode: perm}, CreatedTime: &Epoch,
		}), llb.WithCustomName("[internal] "+name))
	}
	return st, nil
}

// wanted reports whether a file is under one of the paths or matches one.
func wanted(file string, used []string) bool {
	if used == nil {
		return true
	}
	for _, u := range used {
		u = strings.TrimSuffix(u, "/")
		if file == u || strings.HasPrefix(file, u+"/") || strings.HasPrefix(u, file+"/") {
			return true
		}
		if strings.ContainsAny(u, "*?[\\") {
			// A pattern may match the file or a directory that contains it.
			for p := file; p != "."; p = path.Dir(p) {
				if ok, err := path.Match(u, p); ok || err != nil {
					return true
				}
			}
		}
	}
	return false
}

func contextDigest(files []ContextFile) digest.Digest {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b ContextFile) int { return strings.Compare(a.Path, b.Path) })
	h := digest.Canonical.Digester()
	for _, f := range files {
		d := f.Blob
		if d == "" {
			d = digest.FromBytes(f.Data)
		}
		fmt.Fprintf(h.Hash(), "%q %v %s\n", f.Path, f.Mode, d)
	}
	return h.Digest()
}
