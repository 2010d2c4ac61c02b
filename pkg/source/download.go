package source

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/httpget"
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

// downloaded is the result of a download.
type downloaded struct {
	blob       blob
	validators httpget.Validators
	unchanged  bool // the caller's copy is current, and there is no blob
}

// download is one attempt to get a URL. A transfer resumes from the partial file at path, and
// keeps it if it is interrupted. validators describe the caller's copy.
func (d *downloader) download(ctx context.Context, location, path string, validators httpget.Validators) (
	downloaded, error) {
	part, err := openPartial(path)
	if err != nil {
		return downloaded{}, err
	}
	defer part.Close()
	ctx, watch := retry.WatchStall(ctx, d.opts.Timeout)
	defer watch.Stop()
	req, err := httpget.NewRequest(ctx, location, d.opts.UserAgent, validators)
	if err != nil {
		return downloaded{}, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	if part.size > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", part.size))
		req.Header.Set("If-Range", resumable(part.content.Validators))
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return downloaded{}, httpget.Cause(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified && validators != (httpget.Validators{}) {
		return downloaded{validators: validators, unchanged: true}, nil
	}
	offset, content, err := part.answer(resp)
	if err != nil {
		return downloaded{}, err
	}
	if err := part.start(offset, content, justModified(resp)); err != nil {
		return downloaded{}, err
	}
	sum := digest.SHA256.Digester()
	if offset > 0 {
		d.opts.Log(fmt.Sprintf("%s: resumed at byte %d", redact.URL(location), offset))
		if err := hashStart(part.File, sum.Hash(), offset); err != nil {
			return downloaded{}, err
		}
	}
	n, err := io.Copy(io.MultiWriter(part, sum.Hash()), io.LimitReader(watch.Reader(resp.Body), maxDownload-offset+1))
	if err != nil {
		return downloaded{}, httpget.Cause(ctx, err)
	}
	size := offset + n
	if size > maxDownload {
		part.discard()
		return downloaded{}, fmt.Errorf("larger than %s", units.Bytes(maxDownload))
	}
	if content.Size >= 0 && size != content.Size {
		return downloaded{}, errTruncated
	}
	if err := part.Close(); err != nil {
		return downloaded{}, err
	}
	os.Remove(part.description())
	return downloaded{blob: blob{Digest: sum.Digest(), Size: size}, validators: content.Validators}, nil
}

// hashStart hashes the first n bytes of a file and leaves its offset after them.
func hashStart(f *os.File, sum hash.Hash, n int64) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(sum, f, n)
	return err
}
