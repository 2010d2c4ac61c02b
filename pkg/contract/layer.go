package contract

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/inspect"
)

// Limits of the content that is read and kept.
const (
	maxText       = 256 << 10 // bytes of a text
	maxTexts      = 24 << 20  // bytes of all texts of an image, and of the names in its programs and scripts
	maxPrograms   = 100_000   // programs, libraries and scripts of an image, and other files that are read
	maxExecutable = 1 << 30   // bytes of a program or library
	maxBuffered   = 16 << 20  // bytes of one that is in memory as a whole
	maxWithoutDir = 256 << 20 // the same, if there is no directory for a temporary file
	maxKept       = 300_000   // entries of layers that a reader keeps
	maxKeptTexts  = 48 << 20  // bytes of the texts in these
)

// maxUsage are the limits of all layers of an image. Images of OpenStack have up to 150,000 files.
var maxUsage = inspect.Limits{Entries: 300_000, Names: 40 << 20, Implied: 100_000}

// fileInfo is the relevant information about a file's content.
type fileInfo struct {
	interpreter string // of a script or program, "" if it needs none
	script      bool
	elf         *elfInfo
	text        string // of files that wantsText selects
	bad         string // why a script, program or library is invalid
}

// layerInfo is the content of a layer.
type layerInfo struct {
	layer *inspect.Layer
	files map[string]fileInfo
	links map[string]string // hard links, with the paths of their targets
	texts int               // bytes
	read  int               // files that were kept in files
}

// imageUsage is what the layers of an image have in all.
type imageUsage struct {
	inspect.Usage
	texts int // bytes
	read  int // files
}

// add adds files of a layer, and their texts.
func (u *imageUsage) add(files, texts int) error {
	if u.read += files; u.read > maxPrograms {
		return fmt.Errorf("more than %d programs, libraries and scripts", maxPrograms)
	}
	if u.texts += texts; u.texts > maxTexts {
		return fmt.Errorf("more than %s of accounts, scripts, modules and names of libraries and interpreters", units.Bytes(maxTexts))
	}
	return nil
}

// reader reads images. It keeps the layers that it has read, because images share them.
type reader struct {
	wanted map[string]bool // the ends of paths of Python modules
	layers map[digest.Digest]*layerInfo
	kept   int // entries in these
	texts  int // bytes of texts in these

	tempDirs []string // directories for temporary files; the first that can be used is used
}

// newReader returns a reader for images that are checked against the rows.
func newReader(t *Table) *reader {
	r := &reader{wanted: map[string]bool{}, layers: map[digest.Digest]*layerInfo{}, tempDirs: []string{os.TempDir()}}
	for _, row := range t.rows {
		if kind, module, ok := strings.Cut(row.Value, ":"); ok && row.Kind == KindModule && kind != "ansible" {
			module, _, _ = strings.Cut(module, ":")
			for _, name := range moduleFiles(module) {
				r.wanted[name] = true
				if base := path.Base(name); base != "__init__.py" {
					r.wanted[base] = true // packages link to files elsewhere
				}
			}
		}
	}
	return r
}

// wantsText reports whether the text of a file matters: accounts, paths of libraries, the
// start scripts, and Python modules that rows name.
func (r *reader) wantsText(name string) bool {
	switch name {
	case "etc/passwd", "etc/group", "etc/os-release", "usr/lib/os-release", "etc/ld.so.conf":
		return true
	}
	switch dir := path.Dir(name); dir {
	case "etc/ld.so.conf.d", "usr/local/bin", "usr/local/lib/kolla", "usr/local/lib/neutron-wrappers":
		return true
	}
	for rest := name; strings.HasSuffix(name, ".py"); {
		if r.wanted[rest] {
			return true
		}
		_, after, ok := strings.Cut(rest, "/")
		if !ok {
			break
		}
		rest = after
	}
	return false
}

// layer reads a layer of an image and adds it to usage, which all layers of the image share.
func (r *reader) layer(ctx context.Context, l v1.Layer, usage *imageUsage) (*layerInfo, error) {
	hash, err := l.Digest()
	if err != nil {
		return nil, err
	}
	id := digest.Digest(hash.String())
	if info, ok := r.layers[id]; ok {
		return info, errors.Join(usage.add(info.read, info.texts), usage.Add(info.layer, maxUsage))
	}
	info := &layerInfo{files: map[string]fileInfo{}, links: map[string]string{}}
	var buffer bytes.Buffer
	opts := inspect.Options{Limits: maxUsage, Usage: &usage.Usage}
	opts.Visit = func(e inspect.Entry, content io.Reader) error {
		f, ok, err := r.file(e, content, &buffer)
		size := len(f.text) + len(f.interpreter)
		if f.elf != nil {
			size += f.elf.size()
		}
		read := 0
		if ok && f != (fileInfo{}) {
			read = 1
		}
		info.texts += size
		info.read += read
		if err := usage.add(read, size); err != nil {
			return err
		}
		if read > 0 {
			info.files[e.Path] = f
		} else {
			delete(info.files, e.Path) // the last entry of a path counts
		}
		return err
	}
	info.layer, _, err = inspect.ReadLayer(ctx, l, opts)
	if err != nil {
		return nil, err
	}
	for _, e := range info.layer.Entries {
		delete(info.links, e.Path) // the last entry of a path counts
		if e.Type == inspect.Hardlink {
			info.links[e.Path] = e.Link
		}
	}
	r.kept += len(info.layer.Entries)
	r.texts += info.texts
	if r.kept > maxKept || r.texts > maxKeptTexts {
		clear(r.layers)
		r.kept, r.texts = len(info.layer.Entries), info.texts
	}
	r.layers[id] = info
	return info, nil
}

// file returns the relevant information about a file, or false. The
// buffer is reused.
func (r *reader) file(e inspect.Entry, content io.Reader, buffer *bytes.Buffer) (fileInfo, bool, error) {
	library := strings.Contains(path.Base(e.Path), ".so")
	text := r.wantsText(e.Path)
	if e.Mode&0o111 == 0 && !library && !text {
		return fileInfo{}, false, nil
	}
	const head = 256
	buffer.Reset()
	if _, err := io.CopyN(buffer, content, head); err != nil && err != io.EOF {
		return fileInfo{}, false, err
	}
	var f fileInfo
	switch first := buffer.Bytes(); {
	case bytes.HasPrefix(first, []byte(elf.ELFMAG)):
		var err error
		if f, err = r.readExecutable(e.Size, content, buffer); err != nil {
			return f, false, err
		}
	case bytes.HasPrefix(first, []byte("#!")):
		line, _, _ := strings.Cut(string(first[2:]), "\n")
		f.script = true
		if words := strings.Fields(line); len(words) > 0 {
			f.interpreter = words[0]
			if path.Base(words[0]) == "env" {
				f.interpreter = envInterpreter(words[1:])
			}
			f.interpreter = strings.Clone(f.interpreter) // without the rest of the line
		}
	}
	if text {
		if _, err := io.CopyN(buffer, content, maxText-head); err != nil && err != io.EOF {
			return f, false, err
		}
		f.text = strings.ToValidUTF8(buffer.String(), "?")
	}
	return f, true, nil
}

// envInterpreter returns the program that env runs with these arguments.
func envInterpreter(args []string) string {
	for _, a := range args {
		if !strings.HasPrefix(a, "-") && !strings.Contains(a, "=") {
			return a
		}
	}
	return "env"
}

// readExecutable reads a program or library, whose beginning is in the buffer. A large one is written
// to an unnamed file: its tables may be at its end.
func (r *reader) readExecutable(size int64, content io.Reader, buffer *bytes.Buffer) (fileInfo, error) {
	if size > maxExecutable {
		return fileInfo{bad: fmt.Sprintf("is larger than %d bytes", maxExecutable)}, nil
	}
	if size <= maxBuffered {
		_, err := io.Copy(buffer, content)
		return readELF(bytes.NewReader(buffer.Bytes())), err
	}
	file, err := r.tempFile(size)
	if err != nil && size <= maxWithoutDir {
		var whole bytes.Buffer // not the one that is reused, which would keep the memory
		_, err := io.Copy(&whole, io.MultiReader(buffer, content))
		return readELF(bytes.NewReader(whole.Bytes())), err
	}
	if err != nil {
		return fileInfo{}, err
	}
	defer file.Close()
	if _, err := io.Copy(file, io.MultiReader(buffer, content)); err != nil {
		return fileInfo{}, err
	}
	return readELF(file), nil
}

// tempFile returns an unnamed file in the first directory that has enough space.
func (r *reader) tempFile(size int64) (*os.File, error) {
	var errs []error
	for _, dir := range r.tempDirs {
		if _, free := disk.Space(dir); free > 0 && free < size {
			errs = append(errs, fmt.Errorf("%s has %s of free space, %s are needed", dir, units.Bytes(free), units.Bytes(size)))
			continue
		}
		file, err := atomicfile.Unnamed(dir)
		if err == nil {
			return file, nil
		}
		errs = append(errs, err)
	}
	return nil, usererr.WithHint(fmt.Errorf("making a temporary file: %w", errors.Join(errs...)),
		"TMPDIR=DIR names a directory on another disk")
}

// moduleFiles returns the paths of a Python module below a directory of modules.
func moduleFiles(module string) []string {
	p := strings.ReplaceAll(module, ".", "/")
	return []string{p + ".py", p + "/__init__.py"}
}
