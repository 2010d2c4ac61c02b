package imageref

import (
	"errors"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
)

const (
	sha256Digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	sha512Digest = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]struct{ full, familiar string }{
		"debian":                          {"docker.io/library/debian", "debian"},
		"debian:trixie":                   {"docker.io/library/debian:trixie", "debian:trixie"},
		"docker.io/library/debian:trixie": {"docker.io/library/debian:trixie", "debian:trixie"},
		"index.docker.io/kolla/base:t":    {"docker.io/kolla/base:t", "kolla/base:t"},
		"localhost/base":                  {"localhost/base", "localhost/base"},
		"localhost:4000/kolla/base:t":     {"localhost:4000/kolla/base:t", "localhost:4000/kolla/base:t"},
		"[::1]:4000/kolla/base:t":         {"[::1]:4000/kolla/base:t", "[::1]:4000/kolla/base:t"},
		"quay.io/a/b/c@" + sha256Digest:   {"quay.io/a/b/c@" + sha256Digest, "quay.io/a/b/c@" + sha256Digest},
		"quay.io/a/b@" + sha512Digest:     {"quay.io/a/b@" + sha512Digest, "quay.io/a/b@" + sha512Digest},
		"debian:trixie@" + sha256Digest: {"docker.io/library/debian:trixie@" + sha256Digest,
			"debian:trixie@" + sha256Digest},
		"registry.example/a.b/c__d/e-f---g:T": {"registry.example/a.b/c__d/e-f---g:T", "registry.example/a.b/c__d/e-f---g:T"},
	} {
		r, err := Parse(in)
		if err != nil || r.String() != want.full || r.Familiar() != want.familiar {
			t.Errorf("%s: %s, %s, %v", in, r, r.Familiar(), err)
			continue
		}
		for _, spelling := range []string{r.String(), r.Familiar()} {
			if reparsed, err := Parse(spelling); err != nil || reparsed != r {
				t.Errorf("%s: %s is read as %s, %v", in, spelling, reparsed, err)
			}
		}
	}
}

func TestParseRejects(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "it is empty",
		"Debian":                              "upper-case",
		"kolla//base:t":                       "expected [REGISTRY/]NAME[:TAG]",
		"localhost:4000/kolla/../base:t":      "",
		"../base":                             "",
		"a..b":                                "",
		"kolla/ba\u202ese:t":                  "characters that are not allowed",
		"kolla/base:t\u2066":                  "characters that are not allowed",
		"kolla/base:t\n":                      "characters that are not allowed",
		"kolla/base:a/b":                      "",
		"localhost:99999/base":                "the port is greater than 65535",
		"base@sha256:abc":                     "",
		"base@md5:" + strings.Repeat("a", 32): "",
		strings.Repeat("a/", 150) + "b":       "255",
		strings.Repeat("a", 64):               "",
		"base:" + strings.Repeat("t", 129):    "129 characters",
	} {
		r, err := Parse(in)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", in, r, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\u202e\u2066\n") {
			t.Errorf("%q: the error contains the control character itself: %s", in, err)
		}
	}
}

func TestParseTag(t *testing.T) {
	r, err := ParseTag("localhost:4000/kolla/base")
	if err != nil || r.Tag() != "latest" {
		t.Errorf("%v, %v", r, err)
	}
	var e *Error
	_, err = ParseTag("localhost:4000/kolla/base:t@" + sha256Digest)
	if !errors.As(err, &e) || e.Suggestion != "localhost:4000/kolla/base:t" {
		t.Errorf("a name with tag and digest: %v (%+v)", err, e)
	}
	if _, err = ParseTag("localhost:4000/kolla/base@" + sha256Digest); err == nil {
		t.Error("a name with a digest alone was accepted")
	}
}

func TestRefParts(t *testing.T) {
	r, err := Parse("localhost:4000/kolla/base:t")
	if err != nil {
		t.Fatal(err)
	}
	if r.Registry() != "localhost:4000" || r.Path() != "kolla/base" || r.Repository() != "localhost:4000/kolla/base" ||
		r.Tag() != "t" || r.Digest() != "" {
		t.Errorf("%+v", r)
	}
	if got := r.WithTag("u").String(); got != "localhost:4000/kolla/base:u" {
		t.Error(got)
	}
	if got := r.WithDigest(sha256Digest).String(); got != "localhost:4000/kolla/base@"+sha256Digest {
		t.Error(got)
	}
	if got := r.WithDigest(sha256Digest).WithDefaultTag().Tag(); got != "" {
		t.Errorf("a reference by digest got the tag %q", got)
	}
}

func TestSplit(t *testing.T) {
	for in, want := range map[string][3]string{
		"localhost:4000/kolla/base":        {"localhost:4000/kolla/base", "", ""},
		"localhost:4000/kolla/base:t":      {"localhost:4000/kolla/base", "t", ""},
		"kolla/base:t@" + sha256Digest:     {"kolla/base", "t", sha256Digest},
		"localhost:4000/b@" + sha256Digest: {"localhost:4000/b", "", sha256Digest},
	} {
		repo, tag, d := Split(in)
		if got := [3]string{repo, tag, d.String()}; got != want {
			t.Errorf("%s: %q", in, got)
		}
	}
}

func TestNaming(t *testing.T) {
	for _, c := range []struct {
		n    Naming
		want string
	}{
		{Naming{"localhost:4000", "kolla", "", "2026.1"}, "localhost:4000/kolla/base:2026.1"},
		{Naming{"localhost:4000", "kolla", "ubuntu-", "2026.1"}, "localhost:4000/kolla/ubuntu-base:2026.1"},
		{Naming{"localhost:4000", "", "", "t"}, "localhost:4000/base:t"},
		{Naming{"", "kolla", "", "t"}, "kolla/base:t"},
		{Naming{"", "", "", "t"}, "base:t"},
		{Naming{"quay.io", "team/kolla", "", "t"}, "quay.io/team/kolla/base:t"},
	} {
		clean, notes, err := c.n.Normalize()
		if err != nil || len(notes) != 0 || clean != c.n {
			t.Errorf("%+v: %+v %v %v", c.n, clean, notes, err)
		}
		if got := clean.Reference("base"); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
		if _, err := Parse(c.want); err != nil {
			t.Error(err)
		}
	}
}

func TestNamingAcceptsWhatUsersType(t *testing.T) {
	for in, want := range map[Naming]Naming{
		{Registry: "http://host:4000", Namespace: "kolla"}:         {Registry: "host:4000", Namespace: "kolla"},
		{Registry: "https://quay.io/", Namespace: "kolla"}:         {Registry: "quay.io", Namespace: "kolla"},
		{Registry: "docker://localhost:4000/", Namespace: "kolla"}: {Registry: "localhost:4000", Namespace: "kolla"},
		{Registry: "host:4000///", Namespace: "kolla"}:             {Registry: "host:4000", Namespace: "kolla"},
		{Registry: " host:4000 ", Namespace: "kolla"}:              {Registry: "host:4000", Namespace: "kolla"},
		{Registry: "quay.io/v2/", Namespace: "kolla"}:              {Registry: "quay.io", Namespace: "kolla"},
		{Registry: "quay.io/team", Namespace: "kolla"}:             {Registry: "quay.io", Namespace: "team/kolla"},
		{Registry: "quay.io/team", Namespace: "/"}:                 {Registry: "quay.io", Namespace: "team"},
		{Registry: "[::1]:4000", Namespace: "kolla"}:               {Registry: "[::1]:4000", Namespace: "kolla"},
		{Namespace: "quay.io/team/kolla"}:                          {Registry: "quay.io", Namespace: "team/kolla"},
		{Namespace: "localhost:4000/kolla"}:                        {Registry: "localhost:4000", Namespace: "kolla"},
		{Registry: "", Namespace: "kolla/"}:                        {Registry: "", Namespace: "kolla"},
		{Registry: "", Namespace: "/team/kolla//"}:                 {Registry: "", Namespace: "team/kolla"},
	} {
		got, notes, err := in.Normalize()
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
		if (strings.Contains(in.Registry, "://") || strings.Trim(in.Namespace, "/") != in.Namespace &&
			want.Namespace != "team") && len(notes) == 0 {
			t.Errorf("%q: changed without a note", in)
		}
	}
}

func TestNamingErrors(t *testing.T) {
	for _, c := range []struct {
		n          Naming
		says, hint string
	}{
		{Naming{Tag: "a b"}, `tag "a b": character ' ' at position 2 is not allowed`, `did you mean "a-b"?`},
		{Naming{Tag: "v1 #2"}, `tag "v1 #2": character ' ' at position 3`, `did you mean "v1--2"?`},
		{Naming{Tag: "stable/2026.1"}, `character '/' at position 7`, `"stable-2026.1"`},
		{Naming{Tag: "-x"}, `may not begin with "-"`, `"x"`},
		{Naming{Tag: "1:2"}, `character ':'`, `"1-2"`},
		{Naming{Tag: "é"}, `character 'é' at position 1`, ""},
		{Naming{Tag: "éé!"}, `character 'é' at position 1`, ""},
		{Naming{Tag: "a\xffb"}, `position 2`, `"a-b"`},
		{Naming{Tag: strings.Repeat("x", 129)}, "129 characters, 128 are allowed", ""},
		{Naming{Namespace: "Kolla"}, `namespace "Kolla": upper-case`, `"kolla"`},
		{Naming{Namespace: "a//b"}, "a part between the slashes is empty", ""},
		{Naming{Namespace: "a b"}, "lower-case letters and digits", ""},
		{Naming{Namespace: ".."}, "lower-case letters and digits", ""},
		{Naming{Namespace: "example.org:x/kolla"}, "expected HOST or HOST:PORT", ""},
		{Naming{Prefix: "Ubuntu-"}, `image-name-prefix "Ubuntu-"`, `"ubuntu-"`},
		{Naming{Prefix: "a/b"}, `image-name-prefix "a/b"`, ""},
		{Naming{Registry: "myregistry"}, "is read as a namespace on Docker Hub", `"myregistry:4000"`},
		{Naming{Registry: "ftp://x:1"}, `scheme "ftp"`, `"x:1"`},
		{Naming{Registry: "http://"}, "no host", ""},
		{Naming{Registry: "host:port"}, "expected HOST or HOST:PORT", ""},
		{Naming{Registry: "host:70000"}, "65535", ""},
		{Naming{Registry: "ada:s3cret@host:4000"}, "use `docker login`", `"host:4000"`},
		{Naming{Registry: "https://ada:s3cret@host:4000"}, "use `docker login`", `"host:4000"`},
	} {
		_, _, err := c.n.Normalize()
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.says) || !strings.Contains(e.Hint(), c.hint) {
			t.Errorf("%+v: %v (hint %v)", c.n, err, e)
		}
		if err != nil && strings.Contains(err.Error()+e.Hint(), "s3cret") {
			t.Errorf("the password is shown: %v", err)
		}
	}
	for _, bad := range []string{"", "Nova", "a/B", "nova api", "-nova", "nova--", "nova__api_", "..", "nova\u202e"} {
		reference := Naming{Registry: "localhost:4000", Namespace: "kolla", Tag: "t"}.Reference(bad)
		if _, err := Parse(reference); err == nil {
			t.Errorf("reference %q was accepted", reference)
		}
	}
}

func TestRelocate(t *testing.T) {
	for _, c := range []struct {
		n        Naming
		in, want string
	}{
		{Naming{Registry: "site:4000", Namespace: "openstack"}, "localhost:4000/kolla/nova-api:t",
			"site:4000/openstack/nova-api:t"},
		{Naming{Registry: "site:4000"}, "localhost:4000/team/kolla/nova-api:t", "site:4000/team/kolla/nova-api:t"},
		{Naming{Namespace: "openstack"}, "localhost:4000/kolla/nova-api:t", "localhost:4000/openstack/nova-api:t"},
		{Naming{Registry: "site:4000"}, "debian:trixie", "site:4000/debian:trixie"},
		{Naming{Registry: "site:4000", Tag: "u"}, "kolla/base:t", "site:4000/kolla/base:u"},
		{Naming{Prefix: "eu-"}, "localhost:4000/kolla/base:t", "localhost:4000/kolla/eu-base:t"},
		{Naming{}, "localhost:4000/kolla/base:t", "localhost:4000/kolla/base:t"},
	} {
		r, err := Parse(c.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.n.Relocate(r).String(); got != c.want {
			t.Errorf("%s in %+v: %s, want %s", c.in, c.n, got, c.want)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:4000": true, "a.localhost": true, "127.0.0.1:1": true, "127.9.9.9": true,
		"[::1]:4000": true, "::1": true,
		"10.0.0.1": false, "example.org:443": false, "localhost.example.org": false, "0.0.0.0:4000": false, "": false,
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

// A naming that is accepted composes the same names again, and Docker and the registry
// client accept them.
func FuzzNaming(f *testing.F) {
	f.Add("localhost:4000", "kolla", "ubuntu-", "2026.1")
	f.Add("http://host:4000/x", "/a/b/", "", "latest")
	f.Add("[::1]:4000", "", "p", "")
	f.Add("", "example.org", "a", "")
	f.Fuzz(func(t *testing.T, registry, namespace, prefix, tag string) {
		clean, _, err := Naming{registry, namespace, prefix, tag}.Normalize()
		if err != nil {
			return
		}
		if reparsed, _, err := clean.Normalize(); err != nil || reparsed != clean {
			t.Errorf("%+v is not stable: %+v, %v", clean, reparsed, err)
		}
		full := clean.Reference("base")
		r, err := Parse(full)
		if err != nil {
			return // such as a name that is too long
		}
		if r.Familiar() != full && r.String() != full && clean.Registry != "index.docker.io" {
			t.Errorf("%s is normalized to %s", full, r)
		}
		if _, err := name.ParseReference(full); err != nil {
			t.Errorf("%+v: %v", clean, err)
		}
	})
}

// The library parses an accepted reference in the same way, and its complete form is
// stable.
func FuzzParse(f *testing.F) {
	f.Add("debian:trixie")
	f.Add("localhost:4000/kolla/base:t@" + sha256Digest)
	f.Add("kolla//base")
	f.Add("a\u202eb")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			return
		}
		named, err := reference.ParseNormalizedNamed(s)
		if err != nil || named.String() != r.String() {
			t.Errorf("%q: %s, the library has %v, %v", s, r, named, err)
		}
		if reparsed, err := Parse(r.String()); err != nil || reparsed != r {
			t.Errorf("%q: %s is parsed as %s, %v", s, r, reparsed, err)
		}
	})
}
