package source

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/httpget"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/internal/untar"
)

// CheckURL returns an error, without the text, for what cannot be the location of a source of
// type url.
func CheckURL(text string) error {
	_, err := parseURL(text)
	return err
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme == "":
		return nil, errors.New("not a URL")
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "file":
		return nil, fmt.Errorf("scheme %q is not one of http, https and file", u.Scheme)
	case u.Scheme != "file" && u.Host == "":
		return nil, errors.New("a URL without a host")
	}
	return u, nil
}

// fetchURL gets a URL into the cache, unless its current content is there.
func (f *Fetcher) fetchURL(ctx context.Context, spec Spec) (blob, Resolved, error) {
	location := redact.URL(spec.Location)
	res := Resolved{Type: TypeURL, Location: location, Mutable: true}
	fail := func(problem string, err error, hint string) (blob, Resolved, error) {
		if isContext(err) && ctx.Err() != nil {
			return blob{}, Resolved{}, context.Cause(ctx)
		}
		return blob{}, Resolved{}, &Error{Section: spec.Name, Location: location, Problem: problem, Err: err, hint: hint}
	}
	u, err := parseURL(spec.Location)
	if err != nil {
		return fail("", err, fmt.Sprintf("write https://… or file:///…, or set type = local in [%s]", spec.Name))
	}
	if u.Scheme == "file" {
		return f.fetchFileURL(ctx, spec, u.Path)
	}

	want := strings.ToLower(spec.SHA256[f.opts.Arch])
	if want == "" && len(spec.SHA256) > 0 {
		f.opts.Warn(fmt.Sprintf("source [%s]: sha256 has no digest for %s: the content is not verified", spec.Name,
			f.opts.Arch))
	}
	key := keyOf(TypeURL, spec.Location)
	if want != "" {
		res.Mutable = false
		if b, ok := f.cache.find(ctx, digest.NewDigestFromEncoded(digest.SHA256, want)); ok {
			res.ID = b.Digest.String()
			if n, ok := f.cache.readNote(key); ok && n.Blob == b {
				res.Modified, res.ETag = n.Modified, n.ETag
			}
			return b, res, nil
		}
	}
	unlock, err := f.cache.lock(ctx, key)
	if err != nil {
		return fail("locking the cache", err, "")
	}
	defer unlock()
	cached, known := f.cache.readNote(key)
	known = known && f.cache.has(ctx, cached.Blob)
	if known && want == "" && (f.opts.Offline || cached.isRecent(f.opts.MaxAge)) {
		res.ID, res.Modified, res.ETag = cached.Blob.Digest.String(), cached.Modified, cached.ETag
		return cached.Blob, res, nil
	}
	if f.opts.Offline {
		return fail("not in the cache, and nothing may be downloaded (offline)", nil,
			"run once with a network, or copy the cache of a machine that has one")
	}
	b, n, err := f.fromMirrors(ctx, spec, key, want, cached, known)
	if err != nil {
		var ce *ChecksumError
		if errors.As(err, &ce) {
			return blob{}, Resolved{}, err
		}
		return fail("downloading", err, hintFor(err))
	}
	if err := f.checkMembers(ctx, spec, b); err != nil {
		return blob{}, Resolved{}, err
	}
	if err := f.cache.writeNote(key, n); err != nil {
		return fail("writing the cache", err, "")
	}
	res.ID, res.Modified, res.ETag = b.Digest.String(), n.Modified, n.ETag
	return b, res, nil
}

// fetchFileURL gets a file:// URL.
func (f *Fetcher) fetchFileURL(ctx context.Context, s Spec, path string) (blob, Resolved, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = inputfile.ErrNotRegular
	}
	if err != nil {
		return blob{}, Resolved{}, &Error{Section: s.Name, Location: redact.URL(s.Location), Err: inputfile.WithoutPath(err)}
	}
	local := s
	local.Location = path
	b, res, err := f.fetchLocal(ctx, local)
	if err != nil {
		return b, res, err
	}
	res.Type, res.Location, res.Mutable = TypeURL, redact.URL(s.Location), s.SHA256[f.opts.Arch] == ""
	return b, res, nil
}

func hintFor(err error) string {
	var status *httpget.StatusError
	var dns *net.DNSError
	switch {
	case errors.As(err, &status) && (status.Code == http.StatusUnauthorized || status.Code == http.StatusForbidden):
		return "the server requires a login: put user and token into the location (https://USER:TOKEN@HOST/…); they are " +
			"never shown"
	case errors.As(err, &status) && status.Code == http.StatusNotFound:
		return "check the location, and the release and branch in it (--openstack-release, --openstack-branch)"
	case errors.Is(err, httpget.ErrDowngrade):
		return "write the location that it redirects to, if the network is to be trusted, or use another server"
	case retry.OfProxy(err):
		return retry.ProxyHint
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %q does not resolve: check --tarballs-base, the resolver and the proxy variables",
			dns.Name)
	}
	return ""
}

// mirrorsOf returns the locations of a URL's content: itself, then its mirrors.
func (f *Fetcher) mirrorsOf(s Spec) []string {
	out := append([]string{s.Location}, s.Mirrors...)
	for prefix, mirrors := range f.opts.Mirrors {
		if rest, ok := strings.CutPrefix(s.Location, prefix); ok {
			for _, m := range mirrors {
				out = append(out, m+rest)
			}
		}
	}
	return out
}

// fromMirrors tries the locations in rounds: after a fault, the next location is tried
// immediately; it only waits after a round without success.
func (f *Fetcher) fromMirrors(ctx context.Context, spec Spec, key, checksum string, cached note, known bool) (
	blob, note, error) {
	locations := f.mirrorsOf(spec)
	start := time.Now()
	final := make([]error, len(locations)) // errors that another attempt would repeat
	mismatches := make([]int, len(locations))
	var last error
	for attempt := 0; ; attempt++ {
		var after time.Duration
		retryable := false
		for i, location := range locations {
			if final[i] != nil {
				continue
			}
			b, n, err := f.fromLocation(ctx, spec, location, key, checksum, cached, known && i == 0)
			if err == nil {
				return b, n, nil
			}
			if ctx.Err() != nil {
				return blob{}, note{}, context.Cause(ctx)
			}
			var status *httpget.StatusError
			var ce *ChecksumError
			switch {
			case errors.As(err, &ce):
				// The mirror may be being updated, or the transfer was damaged: try
				// once more.
				if mismatches[i]++; mismatches[i] > 1 {
					final[i] = err
				}
			case !transient(err):
				final[i] = err
			case errors.As(err, &status):
				after = max(after, status.After)
			}
			retryable = retryable || final[i] == nil
			last = err
			f.opts.Log(fmt.Sprintf("source [%s]: %s: %v", spec.Name, redact.URL(location), err))
		}
		if !retryable || !f.downloads.retry.Wait(ctx, attempt, start, after) {
			if ctx.Err() != nil {
				return blob{}, note{}, context.Cause(ctx)
			}
			return blob{}, note{}, errorToShow(final, last)
		}
	}
}

// errorToShow returns the error of the first location, which the user wrote, unless
// a mirror had wrong content.
func errorToShow(final []error, last error) error {
	for _, err := range final {
		var ce *ChecksumError
		if errors.As(err, &ce) {
			return err
		}
	}
	if final[0] != nil {
		return final[0]
	}
	return last
}

// fromLocation is one attempt at one location.
func (f *Fetcher) fromLocation(ctx context.Context, spec Spec, location, key, checksum string, cached note,
	known bool) (blob, note, error) {
	part, err := f.cache.toWrite("partial", keyOf(key, location))
	if err != nil {
		return blob{}, note{}, err
	}
	var validators httpget.Validators
	if known && checksum == "" {
		validators = httpget.Validators{ETag: cached.ETag, LastModified: cached.LastMod}
	}
	got, err := f.downloads.download(ctx, location, part, validators)
	if err != nil {
		// Without validators, a partial file cannot be resumed.
		if _, statErr := os.Stat(partialDescription(part)); statErr != nil {
			os.Remove(part)
		}
		return blob{}, note{}, err
	}
	if got.unchanged {
		os.Remove(part)
		return cached.Blob, cached, nil
	}
	content, v := got.blob, got.validators
	if checksum != "" && checksum != content.Digest.Encoded() {
		os.Remove(part)
		return blob{}, note{}, &ChecksumError{Section: spec.Name, Location: redact.URL(location), Arch: f.opts.Arch,
			Want: checksum, Got: content.Digest.Encoded()}
	}
	if err := f.cache.adopt(ctx, part, content); err != nil {
		return blob{}, note{}, err
	}
	n := note{Blob: content, ETag: v.ETag, LastMod: v.LastModified}
	if t, err := http.ParseTime(v.LastModified); err == nil {
		n.Modified = t.UTC()
	}
	if location != spec.Location {
		n.ETag, n.LastMod = "", "" // the origin does not know a mirror's validators
	}
	f.opts.Log(fmt.Sprintf("source [%s]: downloaded %s, %d bytes", spec.Name, redact.URL(location), content.Size))
	return content, n, nil
}

// checkMembers rejects archives with unsafe members or an excessive expanded size,
// because templates unpack them with ADD. Content that is not an archive is used
// unchanged.
func (f *Fetcher) checkMembers(ctx context.Context, s Spec, b blob) error {
	err := eachMember(ctx, f.cache.path(b.Digest), func(h *tar.Header, _ io.Reader) error {
		_, err := memberName(h)
		return err
	})
	var unsafe *untar.UnsafeError
	var limit *untar.LimitError
	switch {
	case errors.As(err, &unsafe), errors.As(err, &limit):
		return &Error{
			Section:  s.Name,
			Location: redact.URL(s.Location),
			Err:      err,
			hint:     "do not use this archive; get it from its publisher",
		}
	case isContext(err):
		return err
	}
	return nil
}
