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
)

// readTags reads one page of a list of tags. last is where the next page begins, "" if
// there is none.
func readTags(resp *http.Response) (tags []string, last string, err error) {
	b, err := readList(resp, "list of tags")
	if err != nil {
		return nil, "", err
	}
	var page struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(b, &page); err != nil {
		return nil, "", fmt.Errorf("reading the list: %w", err)
	}
	return page.Tags, nextPage(resp.Header.Get("Link")), nil
}

// readList reads one page of a list of names, in JSON.
func readList(resp *http.Response, what string) ([]byte, error) {
	b, err := readLimited(resp.Body, maxTagPage, what)
	if err == nil && bytes.Count(b, []byte(",")) > maxTags {
		err = &SizeError{What: what, Limit: maxTags, Unit: "entries"}
	}
	return b, err
}

// nextPage reads the parameter "last" of the link to the next page:
// </v2/NAME/tags/list?last=TAG&n=1000>; rel="next".
func nextPage(link string) string {
	target, params, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
	if !ok || !strings.Contains(params, "next") {
		return ""
	}
	u, err := url.Parse(target)
	if err != nil {
		return ""
	}
	return u.Query().Get("last")
}
