package lock

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/opencontainers/go-digest"
	"github.com/pelletier/go-toml/v2"

	"github.com/kolla-build/kolla-build/internal/stepproxy"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
)

// The limits of a lock. One of 300 images has about 20,000 files in 6 MB.
const (
	maxSize    = 32 << 20 // bytes
	maxEntries = 200_000
	maxValues  = 3_000_000
	maxList    = 100_000 // values of one list
	maxKey     = 255     // bytes
	maxUnknown = 1000    // keys that only other versions have
	maxFile    = 1 << 40 // bytes of an input; the sum of all inputs does not overflow
	maxText    = 8192    // bytes of one value
)

// Error is a mistake in a lock.
type Error struct {
	Path    string
	Line    int // 0 if it is not about a line
	Problem string
	hint    string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.Path, e.Problem)
	}
	return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Problem)
}

// Hint returns what to do about it, or "".
func (e *Error) Hint() string { return e.hint }

// Read reads a lock. The file is untrusted: every value is checked, so that digests,
// URLs and names can be used as they are. Errors are *Error, or about the file.
func Read(path string) (*Lock, error) {
	// Opening a FIFO would block otherwise.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, usererr.Errorf("kolla-build lock writes one", "%s: no such lock", path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the lock: %w", err)
	}
	defer f.Close()
	return ReadFile(f, path)
}

// ReadFile reads a lock from an open file; path is for messages.
func ReadFile(f *os.File, path string) (*Lock, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading the lock: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, &Error{Path: path, Problem: "not a regular file"}
	}
	if info.Size() > maxSize {
		return nil, tooLarge(path)
	}
	// One buffer of the file's size: growing one would take several times as much memory.
	data := make([]byte, info.Size())
	n, err := io.ReadFull(f, data)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("reading the lock: %w", err)
	}
	return Parse(data[:n], path)
}

func tooLarge(path string) error {
	return &Error{Path: path, Problem: "larger than " + units.Bytes(maxSize)}
}

// Parse reads a lock from its text; path is for messages.
func Parse(data []byte, path string) (*Lock, error) {
	if len(data) > maxSize {
		return nil, tooLarge(path)
	}
	form := limitScan{data: data, path: path}
	if err := form.scan(); err != nil {
		return nil, err
	}
	var version struct {
		Version int `toml:"version"`
	}
	if err := toml.Unmarshal(data, &version); err != nil {
		return nil, decodeError(path, err)
	}
	if version.Version != Version {
		return nil, &Error{
			Path:    path,
			Problem: fmt.Sprintf("version %d of the format, where %d is known", version.Version, Version),
			hint:    "a newer kolla-build wrote it",
		}
	}
	l := &Lock{}
	if err := toml.Unmarshal(data, l); err != nil {
		return nil, decodeError(path, err)
	}
	if form.unknown != nil {
		return nil, form.unknown
	}
	c := checker{path: path, data: data}
	c.check(l)
	return l, c.err()
}

func decodeError(path string, err error) error {
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		line, _ := decode.Position()
		return &Error{Path: path, Line: line, Problem: strings.TrimPrefix(decode.Error(), "toml: ")}
	}
	return &Error{Path: path, Problem: strings.TrimPrefix(err.Error(), "toml: ")}
}

// checker checks the values of a lock. It reports the first problem.
type checker struct {
	path  string
	data  []byte
	first error
}

func (c *checker) err() error { return c.first }

// fail notes a problem of an entry: the n-th of a kind.
func (c *checker) fail(kind string, n int, format string, args ...any) {
	if c.first == nil {
		c.first = &Error{Path: c.path, Line: lineOf(c.data, kind, n), Problem: kind + ": " + fmt.Sprintf(format, args...)}
	}
}

// lineOf returns the line at which the n-th entry of a kind begins.
func lineOf(data []byte, kind string, n int) int {
	line := 0
	for text := range bytes.Lines(data) {
		line++
		if strings.TrimSpace(string(text)) == "[["+kind+"]]" {
			if n == 0 {
				return line
			}
			n--
		}
	}
	return 0
}

func (c *checker) check(l *Lock) {
	if l.Compatibility < 0 || l.Compatibility > 1_000_000 {
		c.first = &Error{Path: c.path, Problem: fmt.Sprintf("compatibility-version %d cannot be", l.Compatibility)}
	}
	for i, im := range l.Images {
		c.texts("image", i, im.Name)
		c.name("image", i, im.Name)
		c.digest("image", i, im.Key)
		c.digest("image", i, im.Digest)
	}
	for i, b := range l.Bases {
		c.texts("base-image", i, b.Name, b.Platform)
		if b.Name == "" || b.Platform == "" {
			c.fail("base-image", i, "it has no name or no platform")
		}
		c.digest("base-image", i, b.Digest)
		c.size("base-image", i, b.Size)
	}
	for i, s := range l.Sources {
		c.texts("source", i, s.Section, s.Type, s.Location, s.Reference, s.Commit)
		if !slices.Contains([]string{"url", "git", "local"}, s.Type) {
			c.fail("source", i, "type %q is not one of url, git and local", s.Type)
		}
		c.name("source", i, s.Section)
		c.digest("source", i, s.Digest)
		c.size("source", i, s.Size)
	}
	urls := map[string]bool{}
	for i, f := range l.Files {
		c.texts("file", i, append([]string{f.Type, f.Encoding}, f.Images...)...)
		c.url("file", i, f.URL, urls)
		c.digest("file", i, f.Digest)
		c.size("file", i, f.Size)
	}
	for i, r := range l.Redirect {
		c.texts("redirect", i, r.Images...)
		c.url("redirect", i, r.URL, urls)
		c.url("redirect", i, r.To, nil)
		if r.Status < 300 || r.Status > 399 {
			c.fail("redirect", i, "status %d is not that of a redirect", r.Status)
		}
	}
	for i, a := range l.Absent {
		c.texts("absent", i, a.Images...)
		c.url("absent", i, a.URL, urls)
		if a.Status < 400 || a.Status > 499 {
			c.fail("absent", i, "status %d is not that of a missing file", a.Status)
		}
	}
	for i, m := range l.Missed {
		c.texts("not-captured", i, m.Request, m.Image, m.Reason)
	}
	if c.first == nil && !l.sorted() {
		// The order does not matter: the file may have been edited.
		l.Sort()
	}
}

func (l *Lock) sorted() bool {
	return slices.IsSortedFunc(l.Images, func(a, b Image) int { return cmp.Compare(a.Name, b.Name) }) &&
		slices.IsSortedFunc(l.Sources, compareSource)
}

func (c *checker) texts(kind string, n int, texts ...string) {
	for _, t := range texts {
		if len(t) > maxText {
			c.fail(kind, n, "a value of %d bytes is too long", len(t))
		}
		if strings.ContainsFunc(t, func(r rune) bool { return !unicode.IsPrint(r) }) {
			c.fail(kind, n, "%q contains a control or invisible character", t)
		}
	}
}

func (c *checker) name(kind string, n int, name string) {
	badSegment := func(segment string) bool { return segment == ".." || segment == "." || segment == "" }
	if strings.ContainsAny(name, "\\\x00") || slices.ContainsFunc(strings.Split(name, "/"), badSegment) {
		c.fail(kind, n, "%q is not a name", name)
	}
}

func (c *checker) digest(kind string, n int, d digest.Digest) {
	if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		c.fail(kind, n, "%q is not a sha256 digest", d)
	}
}

func (c *checker) size(kind string, n int, size int64) {
	switch {
	case size < 0:
		c.fail(kind, n, "size %d is negative", size)
	case size > maxFile:
		c.fail(kind, n, "size %d is more than %s", size, units.Bytes(maxFile))
	}
}

// url checks a URL, and that it is not in seen, if that is not nil.
func (c *checker) url(kind string, n int, text string, seen map[string]bool) {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxText:
		c.fail(kind, n, "a URL of %d bytes is too long", len(text))
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.Opaque != "":
		c.fail(kind, n, "%q is not an http or https URL", text)
	case u.User != nil:
		c.fail(kind, n, "the URL of host %s contains credentials", u.Host)
	case stepproxy.CleanURL(u) != text:
		c.fail(kind, n, "%q is not in the form that requests have: %s", text, stepproxy.CleanURL(u))
	case seen != nil && seen[text]:
		c.fail(kind, n, "%s occurs twice", text)
	}
	if seen != nil {
		seen[text] = true
	}
}
