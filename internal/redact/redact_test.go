package redact

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestURL(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"https://example.org/x": "https://example.org/x",
		"https://user:secret@example.org/x?token=abc&a=b": "https://***@example.org/x?a=***&token=***",
		"https://ghp_token@github.com/o/r":                "https://***@github.com/o/r",
		"http://user:se/cret@proxy:3128":                  "http://***@proxy:3128",
		"http://user:p@ss@proxy:3128":                     "http://***@proxy:3128",
		"http://user:%zz@proxy:3128?x=y":                  "http://***@proxy:3128",
		"user:secret@proxy:3128":                          "***@proxy:3128",
		"proxy:3128":                                      "proxy:3128",
		"git@github.com:openstack/kolla":                  "git@github.com:openstack/kolla",
		"ssh://git@example.org/x":                         "ssh://***@example.org/x",
		"/srv/mirror/x.tar.gz":                            "/srv/mirror/x.tar.gz",
		"/srv/a b/x":                                      "/srv/a b/x",
	} {
		if got := URL(in); got != want {
			t.Errorf("URL(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestInPlace(t *testing.T) {
	for in, want := range map[string]string{
		"location = https://user:sécret@host/x": "location = https://***********@host/x",
		"a http://x:y@b and http://c/d@e":       "a http://***@b and http://c/d@e",
		"no url: user@host":                     "no url: user@host",
		"http://u:p@ss@host":                    "http://******@host",
	} {
		got := InPlace(in)
		if got != want {
			t.Errorf("InPlace(%q) = %q, want %q", in, got, want)
		}
		if utf8.RuneCountInString(got) != utf8.RuneCountInString(in) {
			t.Errorf("InPlace(%q) moves columns", in)
		}
	}
}

func TestText(t *testing.T) {
	const location = "https://user:p%40ss%20word@example.org/x?token=abcdef"
	text := "fatal: unable to access 'https://user:p%40ss%20word@example.org/x?token=abcdef': auth p@ss word, abcdef; " +
		"redirected to https://other:word@mirror/x"
	got := Text(text, location)
	for _, secret := range []string{"p@ss", "p%40ss", "abcdef", "other:word"} {
		if strings.Contains(got, secret) {
			t.Errorf("%q is left in %q", secret, got)
		}
	}
	if !strings.Contains(got, "unable to access") || !strings.Contains(got, "mirror/x") {
		t.Errorf("too much is masked: %q", got)
	}
	if got := Text("git clone failed", "https://git@example.org/x"); got != "git clone failed" {
		t.Errorf("the user git is masked everywhere: %q", got)
	}
}

func TestVariable(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"HTTPS_PROXY", "http://u:p@proxy:3128", "http://***@proxy:3128"},
		{"http_proxy", "u:p@proxy:3128", "***@proxy:3128"},
		{"no_proxy", "localhost,.example.org", "localhost,.example.org"},
		{"PIP_INDEX_URL", "https://u:p@pypi.example.org/simple", "https://***@pypi.example.org/simple"},
		{"MAINTAINER", "Kolla <kolla@example.org>", "Kolla <kolla@example.org>"},
	} {
		if got := Variable(c.name, c.value); got != c.want {
			t.Errorf("%s=%q: %q, want %q", c.name, c.value, got, c.want)
		}
	}
}
