package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Bounds on the lists of tags that are read.
const (
	maxTags     = 1_000_000
	maxTagPages = 1_000
	maxTagPage  = 32 << 20 // bytes
	maxTagBytes = 64 << 20 // of all pages: 1,000 of the largest would be 32 GB
)

// readTags reads one page of a list of tags. next is the query of the next page, nil if
// there is none.
func readTags(resp *http.Response) (tags []string, next url.Values, err error) {
	b, err := readList(resp, "list of tags")
	if err != nil {
		return nil, nil, err
	}
	var page struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(b, &page); err != nil {
		return nil, nil, fmt.Errorf("reading the list: %w", err)
	}
	next, err = nextPage(resp.Header)
	return page.Tags, next, final(err)
}

// readList reads one page of a list of names, in JSON.
func readList(resp *http.Response, subject string) ([]byte, error) {
	b, err := readLimited(resp.Body, maxTagPage, subject)
	if err == nil && bytes.Count(b, []byte(",")) > maxTags {
		err = &SizeError{What: subject, Limit: maxTags, Unit: "entries"}
	}
	return b, err
}

// nextPage returns the query of the link to the next page of a list, or nil:
// </v2/NAME/tags/list?last=TAG&n=1000>; rel="next". Which parameters it has is up to the
// registry: most have last, Quay next_page.
func nextPage(header http.Header) (url.Values, error) {
	for _, links := range header.Values("Link") {
		for {
			_, rest, ok := strings.Cut(links, "<")
			if !ok {
				break
			}
			target, rest, ok := strings.Cut(rest, ">")
			if !ok {
				break
			}
			params, _, _ := strings.Cut(rest, "<")
			if links = rest; !strings.Contains(params, "next") {
				continue
			}
			u, err := url.Parse(target)
			if err != nil || u.RawQuery == "" {
				return nil, fmt.Errorf("the link to the next page, %q, has no query", target)
			}
			return u.Query(), nil
		}
	}
	return nil, nil
}

// textSize returns the bytes of names.
func textSize(names []string) (n int) {
	for _, name := range names {
		n += len(name)
	}
	return n
}

// samePage reports whether two queries are for the same page.
func samePage(a, b url.Values) bool { return a.Encode() == b.Encode() }
