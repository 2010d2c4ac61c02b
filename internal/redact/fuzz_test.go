package redact

import (
	"strings"
	"testing"
)

// FuzzURL checks that the password of a URL is in none of the redacted forms.
func FuzzURL(f *testing.F) {
	f.Add("https", "user", "s3cret-word", "example.org/x?token=s3cret-word")
	f.Add("http", "", "p@ss-s3cret:", "proxy:3128")
	f.Add("git+ssh", "a%zz", "s3cret\x00word", "[::1]/x")
	f.Fuzz(func(t *testing.T, scheme, user, password, rest string) {
		// Shorter ones occur by chance; the others are not the password to any program.
		if len(password) < 8 || strings.ContainsAny(password, "/?#\\ \t\r\n\f\v") ||
			strings.ContainsAny(user, "/?#\\ \t\r\n\f\v@:") ||
			scheme == "" || strings.ContainsFunc(scheme, func(r rune) bool { return r < 'a' || r > 'z' }) {
			return
		}
		if strings.Contains(rest+user+scheme, password) {
			return
		}
		location := scheme + "://" + user + ":" + password + "@" + rest
		for name, got := range map[string]string{"URL": URL(location), "InPlace": InPlace("location = " + location),
			"Text": Text("fatal: unable to access "+location, location), "Variable": Variable("https_proxy", location)} {
			if strings.Contains(got, password) {
				t.Errorf("%s(%q) = %q", name, location, got)
			}
		}
	})
}
