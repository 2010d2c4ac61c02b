package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// catalogScope is the scope of a token that may list repositories.
const catalogScope = "registry:catalog:*"

// NoCatalogError reports that a registry does not list its repositories, or not to this
// user. Its other requests may work.
type NoCatalogError struct {
	Host string
	Err  error
}

// Error implements error.
func (e *NoCatalogError) Error() string {
	return fmt.Sprintf("%s does not list its repositories: %v", e.Host, e.Err)
}

// Hint returns what the user can do.
func (e *NoCatalogError) Hint() string {
	const names = "name the images in full instead of by regular expressions: nova-api nova-conductor"
	if u := (*UnauthorizedError)(nil); errors.As(e.Err, &u) && !u.Denied {
		return u.Hint() + "; if it never lists them, " + names
	}
	return names
}

// Unwrap returns the cause.
func (e *NoCatalogError) Unwrap() error { return e.Err }

// Repositories lists the paths of a registry's repositories that begin with a prefix,
// sorted. A registry that refuses the list is a *NoCatalogError.
func (c *Client) Repositories(ctx context.Context, registry, prefix string) ([]string, error) {
	h := c.host(registry, "")
	fail := func(err error) ([]string, error) {
		err = h.failure("", err)
		var missing *NotFoundError
		var refused *UnauthorizedError
		if errors.As(err, &missing) || errors.As(err, &refused) {
			return nil, &NoCatalogError{Host: registry, Err: err}
		}
		return nil, fmt.Errorf("listing the repositories of %s: %w", registry, err)
	}
	if err := c.conf.check(registry); err != nil {
		return fail(err)
	}
	query := url.Values{"n": {"1000"}}
	var found []string
	for page, seen, size := 0, 0, 0; ; page++ {
		var names []string
		var next url.Values
		err := c.repeat(ctx, func() error {
			scheme, err := h.contact(ctx)
			if err != nil {
				return final(err)
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url(scheme, "/v2/_catalog", query).String(), nil)
			if err != nil {
				return final(err)
			}
			resp, err := h.do(req, "", catalogScope)
			if err != nil {
				return final(err)
			}
			defer resp.Body.Close()
			if err := checkStatus(resp, http.StatusOK); err != nil {
				return final(err)
			}
			names, next, err = readCatalog(resp)
			return err
		})
		if err != nil {
			return fail(err)
		}
		seen += len(names)
		size += textSize(names)
		for _, name := range names {
			if strings.HasPrefix(name, prefix) {
				found = append(found, name)
			}
		}
		if next == nil {
			slices.Sort(found)
			return slices.Compact(found), nil
		}
		switch {
		case size > maxTagBytes:
			return fail(&SizeError{What: "the list of repositories", Limit: maxTagBytes})
		case page == maxTagPages || seen > maxTags:
			return fail(&SizeError{What: "the list of repositories", Limit: maxTags, Unit: "entries"})
		case samePage(next, query):
			return fail(fmt.Errorf("the page after %q is the same page", next.Encode()))
		}
		query = next
	}
}

// readCatalog reads one page of a list of repositories.
func readCatalog(resp *http.Response) (names []string, next url.Values, err error) {
	b, err := readList(resp, "list of repositories")
	if err != nil {
		return nil, nil, err
	}
	var page struct {
		Repositories []string `json:"repositories"`
	}
	if err := json.Unmarshal(b, &page); err != nil {
		return nil, nil, fmt.Errorf("reading the list: %w", err)
	}
	next, err = nextPage(resp.Header)
	return page.Repositories, next, final(err)
}
