package server_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

func TestForeignDirectoriesAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "passwd"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var de *server.DirError
	if _, err := server.GarbageCollect(context.Background(), dir, server.GCOptions{}); !errors.As(err, &de) ||
		de.Foreign != "passwd" || de.Hint() == "" {
		t.Errorf("collecting garbage: %v", err)
	}
	if _, err := server.Start(server.Options{Addr: "127.0.0.1:0", Dir: dir}); !errors.As(err, &de) ||
		de.Foreign != "passwd" {
		t.Errorf("serving: %v", err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("it holds %v now", names)
	}
	if n, err := server.GarbageCollect(context.Background(), t.TempDir(), server.GCOptions{}); n.Freed != 0 || err != nil {
		t.Errorf("an empty directory: %d, %v", n, err)
	}
	if _, err := server.GarbageCollect(context.Background(), filepath.Join(dir, "none"),
		server.GCOptions{}); !errors.As(err, &de) ||
		!strings.Contains(err.Error(), "no such file") {
		t.Errorf("no directory: %v", err)
	}
}

func TestHtpasswdIsChecked(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "no user",
		"# nobody\n\n":           "no user",
		"\x00\xff\xfe":           ":1: expected USER:HASH",
		"\nbob:secret\n":         `:2: the password of "bob" is not hashed with bcrypt`,
		"bob:$apr1$abc$def\n":    "not hashed with bcrypt",
		":$2y$05$" + "x" + "\n":  ":1: expected USER:HASH",
		strings.Repeat("a", 1e5): "too long",

		"bob:$2y$31$" + strings.Repeat("x", 53) + "\n": ":1: the password of \"bob\" has a cost of 31",
	} {
		path := filepath.Join(t.TempDir(), "htpasswd")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := server.Start(server.Options{Addr: "127.0.0.1:0", Dir: t.TempDir(), Htpasswd: path})
		var he *server.HtpasswdError
		if !errors.As(err, &he) || !strings.Contains(err.Error(), want) || !strings.Contains(he.Hint(), path) {
			t.Errorf("%.20q: got %v, want %q", text, err, want)
		}
	}
	large := filepath.Join(t.TempDir(), "htpasswd")
	if err := errors.Join(os.WriteFile(large, nil, 0o600), os.Truncate(large, 16<<20+1)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{t.TempDir(), large} {
		var he *server.HtpasswdError
		_, err := server.Start(server.Options{Addr: "127.0.0.1:0", Dir: t.TempDir(), Htpasswd: path})
		if want := "password file " + path + ": it is not a regular file of at most 16.0 MiB"; !errors.As(err, &he) ||
			err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestAddressesAreChecked(t *testing.T) {
	for addr, hint := range map[string]string{"5941": "--addr :5941", "nowhere": ":4000",
		":99999": ":4000", ":http": ":4000"} {
		var ae *server.AddrError
		if _, err := server.Start(server.Options{Addr: addr, Dir: t.TempDir()}); !errors.As(err, &ae) ||
			!strings.Contains(ae.Hint(), hint) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// Directories that resemble a registry's are rejected.
func TestUnrelatedDirectories(t *testing.T) {
	for name, files := range map[string][]string{
		"Docker's own":                     {"docker/overlay2/x"},
		"configuration":                    {"docker/registry/config.yml", "passwd"},
		"Docker's beside a registry":       {"docker/registry/v2/repositories/x", "docker/overlay2/x"},
		"a registry and more":              {"docker/registry/v2/repositories/x", "notes.txt"},
		"another version":                  {"docker/registry/v1/x"},
		"a home directory":                 {".ssh/id"},
		"hidden files":                     {".git/config"},
		"a lock that is a directory":       {".kolla-build-registry.lock/x"},
		"something else within a registry": {"docker/registry/v2/repositories/x", "docker/registry/v2/home/x"},
	} {
		dir := t.TempDir()
		for _, f := range files {
			path := filepath.Join(dir, f)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var de *server.DirError
		if _, err := server.Start(server.Options{Addr: "127.0.0.1:0", Dir: dir}); !errors.As(err, &de) || de.Foreign == "" {
			t.Errorf("%s: serving: %v", name, err)
		}
		if _, err := server.GarbageCollect(context.Background(), dir, server.GCOptions{Untagged: true}); !errors.As(err,
			&de) || de.Foreign == "" {
			t.Errorf("%s: collecting garbage: %v", name, err)
		}
		for _, f := range files {
			if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
