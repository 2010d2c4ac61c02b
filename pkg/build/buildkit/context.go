package buildkit

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moby/buildkit/client/llb"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/dockerfile"
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
	Mode fs.FileMode // type, permissions, setuid, setgid and sticky
	Data []byte      // content, or a link's target

	// Blob is the digest of the blob in the store with the content of a large regular file;
	// Data is nil then. If IsArchived(Path), the blob is a tar that contains the file.
	Blob digest.Digest

	// Read returns Data and Blob of a regular file that the Dockerfile does not name:
	// it is read only if a trigger of a parent copies the file. nil for files that have
	// been read.
	Read func(context.Context) (data []byte, blob digest.Digest, err error)
}

// InlineLimit reports the size in bytes above which a file's content must be
// in the store and named by Blob.
func InlineLimit() int64 { return inlineLimit }

// readFiles returns the files of a context that used names, or all if used is nil,
// with their contents.
func readFiles(ctx context.Context, files []ContextFile, used []string) ([]ContextFile, error) {
	out := make([]ContextFile, 0, len(files))
	for _, f := range files {
		switch {
		case f.Read == nil:
		case !dockerfile.NamesPath(used, f.Path):
			continue
		default:
			var err error
			if f.Data, f.Blob, err = f.Read(ctx); err != nil {
				return nil, err
			}
			f.Read = nil
		}
		out = append(out, f)
	}
	return out, nil
}

// contextState returns the LLB of a build context with the files that used
// names, or all if used is nil.
func contextState(files []ContextFile, used []string) (llb.State, error) {
	st := llb.Scratch()
	// The Dockerfile frontend needs a context even if nothing is copied.
	action := llb.Mkdir("/", 0o755, llb.WithParents(true), llb.WithCreatedTime(Epoch))
	dirs := map[string]bool{".": true}
	var blobs, special []ContextFile
	mkdir := func(dir string, mode fs.FileMode) {
		if dirs[dir] || IsArchived(dir) {
			return
		}
		dirs[dir] = true
		opts := []llb.MkdirOption{llb.WithParents(true), llb.WithCreatedTime(Epoch)}
		action = action.Mkdir("/"+dir, mode, opts...)
	}
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b ContextFile) int { return strings.Compare(a.Path, b.Path) })
	for _, f := range files {
		if path.Clean(f.Path) != f.Path || !filepath.IsLocal(f.Path) {
			return st, fmt.Errorf("unsafe path %q", f.Path)
		}
		if !dockerfile.NamesPath(used, f.Path) {
			continue
		}
		perm := f.Mode.Perm()
		if f.Mode.IsDir() {
			mkdir(f.Path, perm)
			if isSpecial(f) {
				special = append(special, f)
			}
			continue
		}
		mkdir(path.Dir(f.Path), 0o755)
		switch {
		case f.Blob == "" && isSpecial(f):
			special = append(special, f)
		case f.Mode&fs.ModeSymlink != 0:
			action = action.Symlink(string(f.Data), "/"+f.Path, llb.WithCreatedTime(Epoch))
		case f.Blob != "":
			blobs = append(blobs, f)
		case !f.Mode.IsRegular():
			return st, fmt.Errorf("%s is not a file, a directory or a link", f.Path)
		default:
			action = action.Mkfile("/"+f.Path, perm, f.Data, llb.WithCreatedTime(Epoch))
		}
	}
	st = st.File(action, llb.WithCustomName("[internal] build context"))
	if len(special) > 0 {
		var err error
		if st, err = unpackSpecial(st, special); err != nil {
			return st, err
		}
	}
	for _, f := range blobs {
		if IsArchived(f.Path) {
			blob := llb.OCILayoutBlob("kolla-build/file@"+f.Blob.String(),
				llb.ImageBlobOCIStore("", storeID), llb.Filename("file.tar"), llb.WithCustomName("[internal] load file"))
			st = unpack(st, blob, "/file.tar")
			continue
		}
		name := path.Base(f.Path)
		blob := llb.OCILayoutBlob("kolla-build/file@"+f.Blob.String(),
			llb.ImageBlobOCIStore("", storeID), llb.Filename(name), llb.WithCustomName("load "+name))
		st = st.File(llb.Copy(blob, "/"+name, "/"+f.Path, &llb.CopyInfo{
			CreateDestPath: true, Mode: &llb.ChmodOpt{Mode: fs.FileMode(unixMode(f.Mode))}, CreatedTime: &Epoch,
		}), llb.WithCustomName("[internal] "+name))
	}
	return st, nil
}

// isSpecial reports whether a file cannot be a Mkfile, Mkdir or Symlink of the LLB:
// these have neither setuid, setgid and sticky bits nor names that are not UTF-8.
func isSpecial(f ContextFile) bool {
	return f.Mode&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 || IsArchived(f.Path) ||
		f.Mode&fs.ModeSymlink != 0 && !utf8.Valid(f.Data)
}

// unpackSpecial adds special files to a context, from a tar that is a file of the LLB.
func unpackSpecial(st llb.State, files []ContextFile) (llb.State, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.Path, Mode: unixMode(f.Mode), ModTime: Epoch, Typeflag: tar.TypeReg, Format: tar.FormatGNU}
		data := f.Data
		switch {
		case f.Mode.IsDir():
			h.Typeflag, h.Name, data = tar.TypeDir, f.Path+"/", nil
		case f.Mode&fs.ModeSymlink != 0:
			h.Typeflag, h.Linkname, data = tar.TypeSymlink, string(f.Data), nil
		}
		h.Size = int64(len(data))
		if err := w.WriteHeader(h); err != nil {
			return st, fmt.Errorf("%s: %w", f.Path, err)
		}
		if _, err := w.Write(data); err != nil {
			return st, fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return st, err
	}
	archive := llb.Scratch().File(llb.Mkfile("/special.tar", 0o600, b.Bytes(), llb.WithCreatedTime(Epoch)),
		llb.WithCustomName("[internal] special files"))
	return unpack(st, archive, "/special.tar"), nil
}

// unpack adds the members of a tar to a context.
func unpack(st, from llb.State, name string) llb.State {
	return st.File(llb.Copy(from, name, "/", &llb.CopyInfo{AttemptUnpack: true, CreateDestPath: true}),
		llb.WithCustomName("[internal] special files"))
}

// IsArchived reports whether a file reaches the builder in a tar because of its name: LLB
// has only names that are UTF-8. The blob of a large one is a tar, as Archive writes it.
func IsArchived(name string) bool { return !utf8.ValidString(name) }

// Archive writes a tar with a file to w.
func Archive(w io.Writer, name string, mode fs.FileMode, size int64, content io.Reader) error {
	tw := tar.NewWriter(w)
	if err := tw.WriteHeader(&tar.Header{
		Name:     name,
		Mode:     unixMode(mode),
		Size:     size,
		ModTime:  Epoch,
		Typeflag: tar.TypeReg,
		Format:   tar.FormatGNU,
	}); err != nil {
		return err
	}
	if _, err := io.Copy(tw, content); err != nil {
		return err
	}
	return tw.Close()
}

// unixMode returns the permissions with the special bits of Unix.
func unixMode(mode fs.FileMode) int64 {
	m := int64(mode.Perm())
	for bit, unixBit := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&bit != 0 {
			m |= unixBit
		}
	}
	return m
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
