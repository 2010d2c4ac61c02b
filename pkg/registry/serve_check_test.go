package registry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestForeignDirectoriesAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "passwd"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var de *DirError
	if _, err := GarbageCollect(context.Background(), dir, GCOptions{}); !errors.As(err, &de) || de.Foreign != "passwd" || de.Hint() == "" {
		t.Errorf("collecting garbage: %v", err)
	}
	if _, err := Start(ServeOptions{Addr: "127.0.0.1:0", Dir: dir}); !errors.As(err, &de) || de.Foreign != "passwd" {
		t.Errorf("serving: %v", err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("it holds %v now", names)
	}
	if n, err := GarbageCollect(context.Background(), t.TempDir(), GCOptions{}); n != 0 || err != nil {
		t.Errorf("an empty directory: %d, %v", n, err)
	}
	if _, err := GarbageCollect(context.Background(), filepath.Join(dir, "none"), GCOptions{}); !errors.As(err, &de) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no directory: %v", err)
	}
}

func TestHtpasswdIsChecked(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "holds no user",
		"# nobody\n\n":           "holds no user",
		"\x00\xff\xfe":           ":1: expected USER:HASH",
		"\nbob:secret\n":         `:2: the password of "bob" is not hashed with bcrypt`,
		"bob:$apr1$abc$def\n":    "not hashed with bcrypt",
		":$2y$05$" + "x" + "\n":  ":1: expected USER:HASH",
		strings.Repeat("a", 1e5): "too long",
	} {
		path := filepath.Join(t.TempDir(), "htpasswd")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Start(ServeOptions{Addr: "127.0.0.1:0", Dir: t.TempDir(), Htpasswd: path})
		var he *HtpasswdError
		if !errors.As(err, &he) || !strings.Contains(err.Error(), want) || !strings.Contains(he.Hint(), path) {
			t.Errorf("%.20q: got %v, want %q", text, err, want)
		}
	}
	var he *HtpasswdError
	if _, err := Start(ServeOptions{Addr: "127.0.0.1:0", Dir: t.TempDir(), Htpasswd: t.TempDir()}); !errors.As(err, &he) {
		t.Errorf("a directory: %v", err)
	}
}

func TestAddressesAreChecked(t *testing.T) {
	for addr, hint := range map[string]string{"5941": "--addr :5941", "nowhere": ":4000", ":99999": ":4000", ":http": ":4000"} {
		var ae *AddrError
		if _, err := Start(ServeOptions{Addr: addr, Dir: t.TempDir()}); !errors.As(err, &ae) || !strings.Contains(ae.Hint(), hint) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// What answers and is no registry is told apart from one that has not what is
// asked for, at the first contact.
func TestNoRegistry(t *testing.T) {
	html := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<html>"))
		}
	}
	for name, h := range map[string]http.Handler{"plain 404": http.NotFoundHandler(), "HTML 404": html(404), "a web site": html(200)} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: h}
		go func() { _ = srv.Serve(ln) }()
		defer srv.Close()
		mustBeNone(t, name, ln.Addr().String())
	}
	// Something that does not speak HTTP, such as an SSH server.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
			c.Close()
		}
	}()
	mustBeNone(t, "SSH", ln.Addr().String())
}

func mustBeNone(t *testing.T, name, host string) {
	t.Helper()
	c := newClient(t, Options{Retries: 1})
	var no *NoRegistryError
	if err := c.Ping(context.Background(), host+"/kolla/base:t"); !errors.As(err, &no) || !strings.Contains(err.Error(), host+" answers, but not as a registry") || !strings.Contains(no.Hint(), "4000") {
		t.Errorf("%s: %v", name, err)
	}
	if _, _, err := c.Fetch(context.Background(), host+"/debian:x", ""); !errors.As(err, &no) {
		t.Errorf("%s, pulling: %v", name, err)
	}
}
