package stepproxy

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzCleanURL checks that the URL of any request has one form, without credentials, so
// that it finds its record.
func FuzzCleanURL(f *testing.F) {
	f.Add("HTTP://User:pw@Host.Example:80/a%2bb/../c/?x=%20#f")
	f.Add("https://[::1]:443/./..//%2e%2e/x")
	f.Add("http://h?q")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return
		}
		clean := CleanURL(u)
		reparsed, err := url.Parse(clean)
		if err != nil {
			t.Fatalf("%q of %q: %v", clean, text, err)
		}
		if twice := CleanURL(reparsed); twice != clean {
			t.Errorf("%q, then %q", clean, twice)
		}
		if reparsed.User != nil || reparsed.Fragment != "" || strings.Contains("/"+reparsed.Path+"/", "/../") {
			t.Errorf("%q of %q", clean, text)
		}
	})
}
