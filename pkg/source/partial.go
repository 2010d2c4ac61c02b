package source

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/internal/httpget"
	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// resumable returns the validator with which a transfer can be resumed, or "".
func resumable(v httpget.Validators) string {
	if v.ETag != "" && !strings.HasPrefix(v.ETag, "W/") {
		return v.ETag
	}
	return v.LastModified
}

// partialContent describes the content of which a partial file is the beginning.
type partialContent struct {
	httpget.Validators
	Size int64 // of all of it in bytes, -1 if unknown
}

// partial is the file of an interrupted transfer, beside which a description of its content
// is stored.
type partial struct {
	*os.File
	content partialContent
	size    int64 // with which the transfer can be resumed, 0 if it cannot
}

func openPartial(path string) (*partial, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	p := &partial{File: f}
	data, err := inputfile.ReadRegular(p.description(), inputfile.MaxState)
	if err == nil && json.Unmarshal(data, &p.content) == nil && resumable(p.content.Validators) != "" {
		if p.size, err = f.Seek(0, io.SeekEnd); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return p, nil
}

// partialDescription returns the path of the description of a partial file.
func partialDescription(path string) string { return path + ".json" }

func (p *partial) description() string { return partialDescription(p.Name()) }

// start prepares the file for content that continues at its offset.
func (p *partial) start(offset int64, content partialContent, justModified bool) error {
	if err := p.Truncate(offset); err != nil {
		return err
	}
	if offset == 0 {
		os.Remove(p.description())
	}
	if data, err := json.Marshal(content); err == nil && resumable(content.Validators) != "" && !justModified {
		_ = os.WriteFile(p.description(), data, 0o600) // without it, the next attempt starts again
	}
	return nil
}

func (p *partial) discard() {
	_ = p.Truncate(0)
	os.Remove(p.description())
}

// answer returns what an answer's body is, and the offset at which it continues the file. If
// that is impossible, it discards the file.
func (p *partial) answer(resp *http.Response) (offset int64, content partialContent, err error) {
	content.Validators = httpget.Validators{ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified")}
	switch resp.StatusCode {
	case http.StatusOK:
		content.Size = resp.ContentLength // -1 if unknown
		return 0, content, nil
	case http.StatusPartialContent:
		start, size, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || start != p.size || p.content.Size > 0 && size > 0 && size != p.content.Size {
			p.discard()
			return 0, content, errTruncated
		}
		content.Size = size
		if resumable(content.Validators) == "" {
			content.Validators = p.content.Validators
		}
		return p.size, content, nil
	case http.StatusRequestedRangeNotSatisfiable:
		// The content became shorter, or the partial file is complete: start again.
		p.discard()
		return 0, content, errTruncated
	}
	return 0, content, httpget.NewStatusError(resp)
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
