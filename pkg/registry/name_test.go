package registry

import (
	"errors"
	"strings"
	"testing"
)

func TestNaming(t *testing.T) {
	for _, c := range []struct {
		n    Naming
		want string
	}{
		{Naming{"localhost:4000", "kolla", "", "2026.1"}, "localhost:4000/kolla/base:2026.1"},
		{Naming{"localhost:4000", "kolla", "ubuntu-", "2026.1"}, "localhost:4000/kolla/ubuntu-base:2026.1"},
		{Naming{"", "kolla", "", "t"}, "kolla/base:t"},
		{Naming{"", "", "", "t"}, "base:t"},
		{Naming{"quay.io", "team/kolla", "", "t"}, "quay.io/team/kolla/base:t"},
	} {
		clean, notes, err := c.n.Check()
		if err != nil || len(notes) != 0 || clean != c.n {
			t.Errorf("%+v: %+v %v %v", c.n, clean, notes, err)
		}
		if got := clean.Image("base"); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
		if err := clean.CheckImage("base"); err != nil {
			t.Error(err)
		}
	}
}

func TestNamingAcceptsWhatUsersType(t *testing.T) {
	for in, want := range map[string]Naming{
		"http://host:4000":         {Registry: "host:4000", Namespace: "kolla"},
		"https://quay.io/":         {Registry: "quay.io", Namespace: "kolla"},
		"docker://localhost:4000/": {Registry: "localhost:4000", Namespace: "kolla"},
		"host:4000///":             {Registry: "host:4000", Namespace: "kolla"},
		" host:4000 ":              {Registry: "host:4000", Namespace: "kolla"},
		"quay.io/v2/":              {Registry: "quay.io", Namespace: "kolla"},
		"quay.io/team":             {Registry: "quay.io", Namespace: "team/kolla"},
		"[::1]:4000":               {Registry: "[::1]:4000", Namespace: "kolla"},
		"":                         {Registry: "", Namespace: "kolla"},
	} {
		got, notes, err := Naming{Registry: in, Namespace: "kolla"}.Check()
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
		if scheme := strings.Contains(in, "://"); scheme && len(notes) == 0 {
			t.Errorf("%q: no note", in)
		}
	}
}

func TestNamingErrors(t *testing.T) {
	for _, c := range []struct {
		n             Naming
		say, sayAlong string
	}{
		{Naming{Tag: "a b"}, `tag "a b": character ' ' at position 2 is not allowed`, `did you mean "a-b"?`},
		{Naming{Tag: "stable/2026.1"}, `character '/' at position 7`, `"stable-2026.1"`},
		{Naming{Tag: "-x"}, `may not begin with "-"`, `"x"`},
		{Naming{Tag: "1:2"}, `character ':'`, `"1-2"`},
		{Naming{Tag: "é"}, `character 'é' at position 1`, ""},
		{Naming{Tag: strings.Repeat("x", 129)}, "129 characters, 128 are allowed", ""},
		{Naming{Namespace: "Kolla"}, `namespace "Kolla": upper-case`, `"kolla"`},
		{Naming{Namespace: "a//b"}, "a part between the slashes is empty", ""},
		{Naming{Namespace: "a b"}, "lower-case letters and digits", ""},
		{Naming{Prefix: "Ubuntu-"}, `image-name-prefix "Ubuntu-"`, `"ubuntu-"`},
		{Naming{Registry: "myregistry"}, "is read as a namespace on Docker Hub", `"myregistry:4000"`},
		{Naming{Registry: "ftp://x:1"}, `scheme "ftp"`, `"x:1"`},
		{Naming{Registry: "http://"}, "there is no host in it", ""},
		{Naming{Registry: "host:port"}, "expected HOST or HOST:PORT", ""},
		{Naming{Registry: "ada:s3cret@host:4000"}, "use `docker login`", `"host:4000"`},
	} {
		_, _, err := c.n.Check()
		var ne *NameError
		if !errors.As(err, &ne) || !strings.Contains(err.Error(), c.say) || !strings.Contains(ne.Hint(), c.sayAlong) {
			t.Errorf("%+v: %v (hint %v)", c.n, err, ne)
		}
		if err != nil && strings.Contains(err.Error()+ne.Hint(), "s3cret") {
			t.Errorf("the password is shown: %v", err)
		}
	}
	for _, bad := range []string{"", "Nova", "a/B", "nova api", "-nova", "nova--", "nova__api_"} {
		if err := (Naming{Registry: "localhost:4000", Namespace: "kolla"}).CheckImage(bad); err == nil {
			t.Errorf("image name %q was taken", bad)
		}
	}
}

func FuzzNaming(f *testing.F) {
	f.Add("localhost:4000", "kolla", "ubuntu-", "2026.1")
	f.Add("http://host:4000/x", "/a/b/", "", "latest")
	f.Add("[::1]:4000", "", "p", "")
	f.Fuzz(func(t *testing.T, reg, ns, prefix, tag string) {
		clean, _, err := Naming{reg, ns, prefix, tag}.Check()
		if err != nil {
			return
		}
		if again, _, err := clean.Check(); err != nil || again != clean {
			t.Errorf("%+v is not stable: %+v, %v", clean, again, err)
		}
		// What passes is a name that go-containerregistry can read.
		if clean.Registry != "" && clean.CheckImage("base") == nil {
			c, err := New(Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.parse(clean.Image("base")); err != nil {
				t.Errorf("%+v: %v", clean, err)
			}
		}
	})
}
