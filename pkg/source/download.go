package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/httpget"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/internal/units"
)

// maxDownload limits the size of a download. Sources are below 1 GiB.
const maxDownload = 64 << 30

// downloader downloads to files. It resumes interrupted transfers and ends stalled
// ones.
type downloader struct {
	opts   Options
	client *http.Client
	retry  retry.Policy
}

func newDownloader(o Options) *downloader {
	return &downloader{opts: o, client: httpget.NewHTTPClient(o.Timeout, o.Jobs),
		retry: retry.Policy{Retries: o.Retries, MaxElapsed: o.MaxElapsed, BaseDelay: time.Second}}
}

// errTruncated reports that a transfer was shorter than announced.
var errTruncated = fmt.Errorf("the transfer ended early: %w", io.ErrUnexpectedEOF)

// transient reports whether another attempt may succeed.
func transient(err error) bool {
	var known *retry.Error
	if errors.As(httpget.Retryable(err), &known) {
		return known.Again
	}
	return retry.Transient(err)
}

// resumable returns the validator with which a transfer can be resumed, or "".
func resumable(v httpget.Validators) string {
	if v.ETag != "" && !strings.HasPrefix(v.ETag, "W/") {
		return v.ETag
	}
	return v.LastModified
}

// partialFile describes the content of which a partial file is the beginning.
type partialFile struct {
	httpget.Validators
	Size int64 // of all of it in bytes, -1 if unknown
}

// justModified reports whether an answer's only validator is a time of the second in which
// the server answered: the content may change again within it (RFC 9110, 8.8.2.2).
func justModified(resp *http.Response) bool {
	if etag := resp.Header.Get("ETag"); etag != "" && !strings.HasPrefix(etag, "W/") {
		return false
	}
	modified, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	if err != nil {
		return false
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	return err == nil && date.Sub(modified) < time.Second
}

// download is one attempt to get a URL. part is the path of its partial file: a
// transfer resumes from it, and an interrupted transfer keeps it. validators are
// those of the caller's copy; unchanged reports that the copy is current.
func (d *downloader) download(ctx context.Context, location, part string, validators httpget.Validators) (b blob, v httpget.Validators, unchanged bool, err error) {
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return b, v, false, err
	}
	defer f.Close()
	validatorFile := part + ".json"
	var partial partialFile
	offset := int64(0)
	if data, err := inputfile.ReadRegular(validatorFile, inputfile.MaxState); err == nil && json.Unmarshal(data, &partial) == nil && resumable(partial.Validators) != "" {
		if offset, err = f.Seek(0, io.SeekEnd); err != nil {
			return b, v, false, err
		}
	}
	ctx, watch := retry.WatchStall(ctx, d.opts.Timeout)
	defer watch.Stop()
	req, err := httpget.NewRequest(ctx, location, d.opts.UserAgent, validators)
	if err != nil {
		return b, v, false, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		req.Header.Set("If-Range", resumable(partial.Validators))
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return b, v, false, httpget.Cause(ctx, err)
	}
	defer resp.Body.Close()
	v = httpget.Validators{ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified")}
	total := int64(-1)
	switch resp.StatusCode {
	case http.StatusNotModified:
		return b, validators, true, nil
	case http.StatusOK:
		offset = 0
		total = resp.ContentLength // -1 if unknown
	case http.StatusPartialContent:
		start, size, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || start != offset || partial.Size > 0 && size > 0 && size != partial.Size {
			discardPartial(f, validatorFile)
			return b, v, false, errTruncated
		}
		total = size
		if resumable(v) == "" {
			v = partial.Validators
		}
	case http.StatusRequestedRangeNotSatisfiable:
		// The content became shorter, or the partial file is complete: start again.
		discardPartial(f, validatorFile)
		return b, v, false, errTruncated
	default:
		return b, v, false, httpget.NewStatusError(resp)
	}
	if err := f.Truncate(offset); err != nil {
		return b, v, false, err
	}
	if offset == 0 {
		os.Remove(validatorFile)
	}
	if data, err := json.Marshal(partialFile{v, total}); err == nil && resumable(v) != "" && !justModified(resp) {
		_ = os.WriteFile(validatorFile, data, 0o600) // without it, the next attempt starts again
	}
	sum := digest.SHA256.Digester()
	if offset > 0 {
		d.opts.Log(fmt.Sprintf("%s: resumed at byte %d", redact.URL(location), offset))
		if err := hashStart(f, sum.Hash(), offset); err != nil {
			return b, v, false, err
		}
	}
	n, err := io.Copy(io.MultiWriter(f, sum.Hash()), io.LimitReader(watch.Reader(resp.Body), maxDownload-offset+1))
	size := offset + n
	if err != nil {
		return b, v, false, httpget.Cause(ctx, err)
	}
	if size > maxDownload {
		discardPartial(f, validatorFile)
		return b, v, false, fmt.Errorf("larger than %s", units.Bytes(maxDownload))
	}
	if total >= 0 && size != total {
		return b, v, false, errTruncated
	}
	if err := f.Close(); err != nil {
		return b, v, false, err
	}
	os.Remove(validatorFile)
	return blob{Digest: sum.Digest(), Size: size}, v, false, nil
}

func discardPartial(f *os.File, validatorFile string) {
	_ = f.Truncate(0)
	os.Remove(validatorFile)
}

// hashStart hashes the first n bytes of a file and leaves its offset after them.
func hashStart(f *os.File, sum hash.Hash, n int64) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(sum, f, n)
	return err
}

// contentRange parses "bytes START-END/SIZE". size is -1 if it is "*".
func contentRange(s string) (start, size int64, ok bool) {
	s, isBytes := strings.CutPrefix(s, "bytes ")
	span, total, hasTotal := strings.Cut(s, "/")
	first, _, hasEnd := strings.Cut(span, "-")
	start, err := strconv.ParseInt(first, 10, 64)
	if !isBytes || !hasTotal || !hasEnd || err != nil {
		return 0, 0, false
	}
	if total == "*" {
		return start, -1, true
	}
	size, err = strconv.ParseInt(total, 10, 64)
	return start, size, err == nil
}
