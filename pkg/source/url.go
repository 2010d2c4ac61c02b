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
	"path/filepath"
	"strings"
	"time"
)

// fetchURL gets a url, or finds that the cache has it.
func (f *Fetcher) fetchURL(ctx context.Context, s Spec) (blob, Resolved, error) {
	shown := redact(s.Location)
	res := Resolved{Type: TypeURL, Location: shown, Moving: true}
	fail := func(problem string, err error, advice string) (blob, Resolved, error) {
		if isContext(err) && ctx.Err() != nil {
			return blob{}, Resolved{}, context.Cause(ctx)
		}
		return blob{}, Resolved{}, &Error{Section: s.Name, Location: shown, Problem: problem, Err: err, Advice: advice}
	}
	u, err := url.Parse(s.Location)
	if err != nil || u.Scheme == "" {
		return fail("it is not a url", nil, fmt.Sprintf("write https://… or file:///…, or set type = local in [%s]", s.Name))
	}
	if u.Scheme == "file" {
		local := s
		local.Location = u.Path
		info, err := os.Stat(u.Path)
		if err != nil || !info.Mode().IsRegular() {
			return fail("there is no such file", nil, "")
		}
		b, r, err := f.fetchLocal(ctx, local)
		if err != nil {
			return b, r, err
		}
		r.Type, r.Location, r.Moving = TypeURL, shown, s.SHA256[f.opts.Arch] == ""
		return b, r, nil
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return fail(fmt.Sprintf("scheme %q is not one of http, https, file", u.Scheme), nil, "")
	}

	want := strings.ToLower(s.SHA256[f.opts.Arch])
	if want == "" && len(s.SHA256) > 0 {
		f.opts.Log(fmt.Sprintf("source [%s]: sha256 names no digest for %s: it is not checked", s.Name, f.opts.Arch))
	}
	key := keyOf(TypeURL, s.Location)
	if want != "" {
		res.Moving = false
		if b, ok := f.cache.find(want); ok {
			res.ID = b.Digest
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
	old, known := f.cache.readNote(key)
	known = known && f.cache.has(old.Blob)
	if known && want == "" && (f.opts.Offline || old.fresh(f.opts.MaxAge)) {
		res.ID, res.Modified, res.ETag = old.Blob.Digest, old.Modified, old.ETag
		return old.Blob, res, nil
	}
	if f.opts.Offline {
		return fail("it is not in the cache, and nothing may be fetched (offline)", nil, "run once with a network, or copy the cache of a machine that has one")
	}
	b, n, err := f.fromMirrors(ctx, s, key, want, old, known)
	if err != nil {
		var ce *ChecksumError
		if errors.As(err, &ce) {
			return blob{}, Resolved{}, err
		}
		return fail("downloading it", err, adviceFor(err))
	}
	if err := f.checkSafe(ctx, s, b); err != nil {
		return blob{}, Resolved{}, err
	}
	if err := f.cache.writeNote(key, n); err != nil {
		return fail("writing the cache", err, "")
	}
	res.ID, res.Modified, res.ETag = b.Digest, n.Modified, n.ETag
	return b, res, nil
}

func adviceFor(err error) string {
	var se *statusError
	var dns *net.DNSError
	switch {
	case errors.As(err, &se) && (se.status == http.StatusUnauthorized || se.status == http.StatusForbidden):
		return "the server wants a login: put user and token into the location (https://USER:TOKEN@HOST/…); they are not shown anywhere"
	case errors.As(err, &se) && se.status == http.StatusNotFound:
		return "check the location, and the release and branch in it (--openstack-release, --openstack-branch)"
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %q does not resolve: check --tarballs-base, the resolver and the proxy variables", dns.Name)
	}
	return ""
}

// places lists where a url's content may be had: it, then its mirrors.
func (f *Fetcher) places(s Spec) []string {
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

// fromMirrors tries each place in turn, in rounds: a fault at one leads to the
// next, and only after a round without success there is a wait.
func (f *Fetcher) fromMirrors(ctx context.Context, s Spec, key, want string, old note, known bool) (blob, note, error) {
	places := f.places(s)
	start := time.Now()
	dead := make([]error, len(places)) // places whose answer is final
	mismatches := make([]int, len(places))
	var last error
	for attempt := 0; ; attempt++ {
		var after time.Duration
		alive := false
		for i, place := range places {
			if dead[i] != nil {
				continue
			}
			b, n, err := f.fromPlace(ctx, s, place, key, want, old, known && i == 0)
			if err == nil {
				return b, n, nil
			}
			if ctx.Err() != nil {
				return blob{}, note{}, context.Cause(ctx)
			}
			var se *statusError
			var ce *ChecksumError
			switch {
			case errors.As(err, &ce):
				// A mirror in the middle of an update, or damage on the way: once
				// more is worth it, the same again is not.
				if mismatches[i]++; mismatches[i] > 1 {
					dead[i] = err
				}
			case !transient(err):
				dead[i] = err
			case errors.As(err, &se):
				after = max(after, se.after)
			}
			alive = alive || dead[i] == nil
			last = err
			f.opts.Log(fmt.Sprintf("source [%s]: %s: %v", s.Name, redact(place), err))
		}
		if !alive || !f.http.wait(ctx, attempt, start, after) {
			if ctx.Err() != nil {
				return blob{}, note{}, context.Cause(ctx)
			}
			return blob{}, note{}, worst(dead, last)
		}
	}
}

// worst chooses the error to show: the first place's, which is what the user
// wrote, unless only a mirror had content and it was wrong.
func worst(dead []error, last error) error {
	for _, err := range dead {
		var ce *ChecksumError
		if errors.As(err, &ce) {
			return err
		}
	}
	if dead[0] != nil {
		return dead[0]
	}
	return last
}

// fromPlace is one try at one place.
func (f *Fetcher) fromPlace(ctx context.Context, s Spec, place, key, want string, old note, known bool) (blob, note, error) {
	part := filepath.Join(f.cache.dir, "partial", keyOf(key, place))
	var have validators
	if known && want == "" {
		have = validators{old.ETag, old.LastMod}
	}
	b, v, unchanged, err := f.http.download(ctx, place, part, have)
	if unchanged {
		os.Remove(part)
		return old.Blob, old, nil
	}
	if err != nil {
		// What cannot be continued is of no use.
		if _, serr := os.Stat(part + ".json"); serr != nil {
			os.Remove(part)
		}
		return blob{}, note{}, err
	}
	if want != "" && !sameDigest(want, b.Digest) {
		os.Remove(part)
		return blob{}, note{}, &ChecksumError{Section: s.Name, Location: redact(place), Arch: f.opts.Arch, Want: want, Got: b.hex()}
	}
	if err := f.cache.adopt(part, b); err != nil {
		return blob{}, note{}, err
	}
	n := note{Blob: b, ETag: v.ETag, LastMod: v.LastMod}
	if t, err := http.ParseTime(v.LastMod); err == nil {
		n.Modified = t.UTC()
	}
	if place != s.Location {
		n.ETag, n.LastMod = "", "" // a mirror's validators say nothing to the origin
	}
	f.opts.Log(fmt.Sprintf("source [%s]: fetched %s, %d bytes", s.Name, redact(place), b.Size))
	return b, n, nil
}

// checkSafe refuses archives with unsafe members. Templates unpack them with
// ADD; what is no archive is handed on as it is.
func (f *Fetcher) checkSafe(ctx context.Context, s Spec, b blob) error {
	err := eachMember(ctx, f.cache.path(b.Digest), func(h *tar.Header, _ io.Reader) error {
		_, err := safeName(h)
		return err
	})
	var ue *UnsafeError
	if errors.As(err, &ue) {
		return &Error{Section: s.Name, Location: redact(s.Location), Err: ue, Advice: "do not use this archive; get it from where it is published"}
	}
	if isContext(err) {
		return err
	}
	return nil
}
