package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/internal/redact"
)

// maxSubmodules is how many submodules of a repository are fetched, with those of submodules. Tests
// change it.
var maxSubmodules = 500

// maxModulesFile is the largest .gitmodules, in bytes.
const maxModulesFile = 1 << 20

// submodule is a repository in another.
type submodule struct {
	path, commit string
	url          string // as in .gitmodules, may be ""
	ignored      bool   // .gitmodules asks not to fetch it
}

// fetchSubmodules fetches the files of the submodules of a repository, which is itself the submodule
// at prefix, or "". Kolla leaves submodules empty, and so does this if a server does not have or
// provide one. "git submodule update --recursive" limits neither their number nor that of their
// files, and reads settings in .gitmodules that are not needed here.
func (c *checkout) fetchSubmodules(ctx context.Context, g gitCommand, prefix string) error {
	modules, err := c.listSubmodules(ctx, g)
	if err != nil {
		return err
	}
	if c.submodules += len(modules); c.submodules > maxSubmodules {
		return &Error{Section: c.spec.Name, Location: redact.URL(c.location),
			Problem: fmt.Sprintf("more than %d submodules", maxSubmodules), hint: limitHint(c.spec)}
	}
	for _, m := range modules {
		if m.ignored {
			continue
		}
		name := prefix + m.path
		sub, err := c.fetchSubmodule(ctx, g, m)
		var known *Error
		var failed *gitError
		switch {
		case err == nil:
			if err := c.fetchSubmodules(ctx, sub, name+"/"); err != nil {
				return err
			}
		case ctx.Err() != nil, errors.As(err, &known):
			return err
		case isIdle(err), errors.As(err, &failed) && failed.transient():
			return &Error{
				Section:  c.spec.Name,
				Location: redact.URL(c.location),
				Problem:  "submodule " + printable.Quoted(name),
				Err:      err,
				hint:     "its server must be reachable; url.MIRROR.insteadOf in the settings of git names another one",
			}
		default:
			c.incomplete = true
			c.f.opts.Warn(fmt.Sprintf("source [%s]: the submodule %s cannot be fetched and is left empty: %v",
				c.spec.Name, printable.Quoted(name), err))
			dir := filepath.Join(g.workTree, filepath.FromSlash(m.path))
			if plainDir(g.workTree, m.path) != nil {
				continue
			}
			if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetchSubmodule fetches the files of one submodule, without those of its own submodules.
func (c *checkout) fetchSubmodule(ctx context.Context, g gitCommand, m submodule) (gitCommand, error) {
	location, err := submoduleURL(g.location, m.url)
	if err != nil {
		return g, err
	}
	if err := plainDir(g.workTree, m.path); err != nil {
		return g, err
	}
	sub := g
	sub.location, sub.submodule = location, true
	sub.workTree = filepath.Join(g.workTree, filepath.FromSlash(m.path))
	if err := os.MkdirAll(sub.workTree, 0o755); err != nil {
		return g, err
	}
	format := "sha1"
	if len(m.commit) == 64 {
		format = "sha256"
	}
	if _, err := sub.run(ctx, "init", "-q", "--template=", "--object-format="+format); err != nil {
		return g, err
	}
	fetch := []string{"fetch", "-q", "--no-write-fetch-head", "--no-recurse-submodules"}
	err = c.f.retryGit(ctx, c.spec, func() error {
		_, err := sub.run(ctx, append(fetch, "--depth=1", "--no-tags", "origin", m.commit)...)
		if err != nil && ctx.Err() == nil && !isIdle(err) { // a server may refuse a commit without a branch
			_, err = sub.run(ctx, append(fetch, "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*")...)
		}
		return err
	})
	if err != nil {
		return g, err
	}
	return sub, c.checkOut(ctx, sub, m.commit)
}

// listSubmodules returns the submodules of the commit that was checked out.
func (c *checkout) listSubmodules(ctx context.Context, g gitCommand) ([]submodule, error) {
	file := filepath.Join(g.workTree, ".gitmodules")
	info, err := os.Lstat(file)
	if err != nil || !info.Mode().IsRegular() {
		return nil, nil
	}
	if info.Size() > maxModulesFile {
		return nil, &Error{Section: c.spec.Name, Location: redact.URL(c.location),
			Problem: fmt.Sprintf(".gitmodules is larger than %d MiB", maxModulesFile>>20), hint: limitHint(c.spec)}
	}
	var modules []submodule
	list := g
	list.stdout = &lineWriter{end: 0, line: func(entry string) error {
		meta, path, _ := strings.Cut(entry, "\t")
		if f := strings.Fields(meta); len(f) == 3 && f[0] == "160000" && len(modules) <= maxSubmodules {
			modules = append(modules, submodule{path: path, commit: f[1]})
		}
		return nil
	}}
	if _, err := list.run(ctx, "ls-files", "-z", "--stage"); err != nil || len(modules) == 0 {
		return nil, err
	}
	// Without a match or with a mistake in the file, the submodules have no URL.
	settings, err := g.run(ctx, "config", "--null", "--file", file, "--no-includes", "--get-regexp", `^submodule\.`)
	var failed *gitError
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	sections := map[string]map[string]string{}
	for setting := range strings.SplitSeq(settings, "\x00") {
		key, value, _ := strings.Cut(setting, "\n")
		key = strings.TrimPrefix(key, "submodule.")
		if i := strings.LastIndexByte(key, '.'); i > 0 {
			if sections[key[:i]] == nil {
				sections[key[:i]] = map[string]string{}
			}
			sections[key[:i]][key[i+1:]] = value
		}
	}
	byPath := map[string]map[string]string{}
	for _, s := range sections {
		byPath[strings.TrimSuffix(s["path"], "/")] = s
	}
	for i, m := range modules {
		s := byPath[m.path]
		modules[i].url, modules[i].ignored = s["url"], s["update"] == "none"
	}
	return modules, nil
}

// submoduleURL returns the location of a submodule. One that begins with ./ or ../ is relative to the
// location of the repository that contains it, and stays on its server.
func submoduleURL(parent, location string) (string, error) {
	switch {
	case location == "":
		return "", errors.New(".gitmodules has no URL for it")
	case strings.HasPrefix(location, "-"), strings.ContainsAny(location, "\r\n\x00"):
		return "", errors.New("the URL in .gitmodules is not a location of a git repository")
	}
	if !strings.HasPrefix(location, "./") && !strings.HasPrefix(location, "../") && location != ".." {
		return location, nil
	}
	root := 0 // the length of what names the server
	if i := strings.Index(parent, "://"); i >= 0 {
		host, _, _ := strings.Cut(parent[i+len("://"):], "/")
		root = i + len("://") + len(host)
	} else {
		root = len(scpLocation.FindString(parent))
	}
	base := strings.TrimRight(parent[root:], "/")
	for rest := location; ; {
		if after, ok := strings.CutPrefix(rest, "./"); ok {
			rest = after
		} else if after, ok := strings.CutPrefix(rest+"/", "../"); ok {
			if base == "" {
				return "", fmt.Errorf("its URL %s in .gitmodules leads out of %s", printable.Quoted(location), redact.URL(parent))
			}
			rest, base = strings.TrimSuffix(after, "/"), base[:max(0, strings.LastIndexByte(base, '/'))]
		} else if base == "" && !strings.Contains(parent, "://") && root > 0 {
			return parent[:root] + strings.TrimSuffix(rest, "/"), nil // HOST:PATH
		} else {
			return parent[:root] + base + "/" + strings.TrimSuffix(rest, "/"), nil
		}
	}
}

// plainDir returns an error if a path in a work tree leads through something that is not a directory,
// such as a symbolic link. What does not exist is no error.
func plainDir(workTree, path string) error {
	dir := workTree
	for element := range strings.SplitSeq(path, "/") {
		dir = filepath.Join(dir, element)
		info, err := os.Lstat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", printable.Quoted(path))
		}
	}
	return nil
}
