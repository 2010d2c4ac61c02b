package registry

import (
	"net/http"
	"net/url"
)

// UseProxy makes all requests of a client go through an HTTP proxy.
func UseProxy(c *Client, proxy *url.URL) {
	c.proxy = http.ProxyURL(proxy)
}

// DeleteByPlaceholder deletes a tag as if the registry could delete digests only.
var DeleteByPlaceholder = (*Repository).deleteByPlaceholder
