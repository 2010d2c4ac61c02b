package source

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/opencontainers/go-digest"
)

// fetchLocal archives a directory, or copies a file unchanged.
func (f *Fetcher) fetchLocal(ctx context.Context, spec Spec) (blob, Resolved, error) {
	fail := func(problem string, err error) (blob, Resolved, error) {
		if isContext(err) && ctx.Err() != nil {
			return blob{}, Resolved{}, context.Cause(ctx)
		}
		return blob{}, Resolved{}, &Error{Section: spec.Name, Location: spec.Location, Problem: problem, Err: err}
	}
	path, info, err := findLocal(spec, f.opts.LocalsBase)
	if err != nil {
		return blob{}, Resolved{}, err
	}
	res := Resolved{Type: TypeLocal, Location: path, Mutable: true}
	var content blob
	if info.IsDir() {
		top, err := topOfLocal(spec.Location)
		if err != nil {
			return fail("", err)
		}
		t := newTree(f.cache)
		defer t.close()
		warn := func(text string) { f.opts.Warn(fmt.Sprintf("source [%s]: %s", spec.Name, text)) }
		if err := t.addDir(ctx, path, top, warn); err != nil {
			return fail("archiving it", err)
		}
		if content, err = t.write(ctx); err != nil {
			return fail("archiving it", err)
		}
		res.Modified = t.newest
	} else {
		if content, err = f.cache.addFile(ctx, path); err != nil {
			return fail("reading it", err)
		}
		if err := f.checkMembers(ctx, spec, content); err != nil {
			return blob{}, Resolved{}, err
		}
		res.Modified = info.ModTime()
	}
	if want := strings.ToLower(spec.SHA256[f.opts.Arch]); want != "" && info.Mode().IsRegular() &&
		content.Digest != digest.NewDigestFromEncoded(digest.SHA256, want) {
		return blob{}, Resolved{},
			&ChecksumError{Section: spec.Name, Location: path, Arch: f.opts.Arch, Want: want, Got: content.Digest.Encoded()}
	}
	res.ID = content.Digest.String()
	return content, res, nil
}

// findLocal returns the path of a local source: as written, or in localsBase.
func findLocal(spec Spec, localsBase string) (string, fs.FileInfo, error) {
	path := spec.Location
	info, err := os.Stat(path)
	if os.IsNotExist(err) && !filepath.IsAbs(path) && localsBase != "" {
		if other, statErr := os.Stat(filepath.Join(localsBase, path)); statErr == nil {
			path, info, err = filepath.Join(localsBase, path), other, nil
		}
	}
	switch {
	case os.IsNotExist(err):
		hint := fmt.Sprintf("check location in [%s] and --locals-base", spec.Name)
		if strings.HasPrefix(path, "~") {
			hint = fmt.Sprintf("~ is not expanded in files: write the whole path in [%s]", spec.Name)
		}
		return "", nil, &Error{Section: spec.Name, Location: path, Err: syscall.ENOENT, hint: hint}
	case err != nil:
		return "", nil, &Error{Section: spec.Name, Location: path, Err: inputfile.WithoutPath(err)}
	case !info.IsDir() && !info.Mode().IsRegular():
		return "", nil, &Error{Section: spec.Name, Location: path, Problem: "neither a regular file nor a directory"}
	}
	return path, info, nil
}

// topOfLocal returns the top directory in the archive of a local directory. As in
// Kolla, it is the last element of the location as written: a location that ends in
// a slash has none, and its files are at the top of the archive.
func topOfLocal(location string) (string, error) {
	switch last := location[strings.LastIndexByte(location, '/')+1:]; last {
	case "", ".":
		return ".", nil
	case "..":
		abs, err := filepath.Abs(location)
		return filepath.Base(abs), err
	default:
		return last, nil
	}
}
