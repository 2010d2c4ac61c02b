package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// AddrError says that an address to listen on is none.
type AddrError struct {
	Addr    string
	Problem string
}

// Error implements error.
func (e *AddrError) Error() string { return fmt.Sprintf("address %q: %s", e.Addr, e.Problem) }

// Hint says what the user can do.
func (e *AddrError) Hint() string {
	if _, err := strconv.ParseUint(e.Addr, 10, 16); err == nil {
		return fmt.Sprintf("did you mean --addr :%s?", e.Addr)
	}
	return "write HOST:PORT or :PORT, as in --addr :4000 or --addr 127.0.0.1:4000"
}

func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return &AddrError{Addr: addr, Problem: "expected HOST:PORT"}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return &AddrError{Addr: addr, Problem: fmt.Sprintf("%q is no port", port)}
	}
	return nil
}

// checkForeign refuses a directory that holds other things than a registry's, so
// that a mistyped path is neither filled nor cleaned. made reports whether there
// is a registry's content in it.
func checkForeign(dir string) (made bool, err error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &DirError{Dir: dir, Err: err}
	}
	for _, n := range names {
		switch name := n.Name(); {
		case name == "docker" && n.IsDir():
			if _, err := os.Stat(filepath.Join(dir, name, "registry")); err == nil {
				return true, nil
			}
			return false, &DirError{Dir: dir, Foreign: "docker/ without a registry"}
		case name == lockFile:
			made = true
		}
	}
	if made {
		return true, nil
	}
	for _, n := range names {
		// What an administrator may have laid ready there.
		if name := n.Name(); name != "lost+found" && !strings.HasPrefix(name, ".") && !strings.Contains(name, "htpasswd") {
			return false, &DirError{Dir: dir, Foreign: name}
		}
	}
	return false, nil
}

// HtpasswdError says what is wrong with a password file.
type HtpasswdError struct {
	Path    string
	Line    int // 1-based, 0 if it is about the whole file
	Problem string
}

// Error implements error.
func (e *HtpasswdError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Problem)
	}
	return fmt.Sprintf("password file %s: %s", e.Path, e.Problem)
}

// Hint says what the user can do.
func (e *HtpasswdError) Hint() string {
	return "it holds a line USER:HASH for each user; `htpasswd -Bn USER >> " + e.Path + "` adds one (Debian's package apache2-utils)"
}

// checkHtpasswd reads a password file as the registry will, which takes anything
// and then lets nobody in.
func checkHtpasswd(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return &HtpasswdError{Path: path, Problem: pathCause(err)}
	}
	users := 0
	sc := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		if !ok || user == "" {
			return &HtpasswdError{Path: path, Line: n, Problem: "expected USER:HASH"}
		}
		if _, err := bcrypt.Cost([]byte(hash)); err != nil {
			return &HtpasswdError{Path: path, Line: n, Problem: fmt.Sprintf("the password of %q is not hashed with bcrypt, which is all that a registry takes", user)}
		}
		users++
	}
	if err := sc.Err(); err != nil {
		return &HtpasswdError{Path: path, Problem: err.Error()}
	}
	if users == 0 {
		return &HtpasswdError{Path: path, Problem: "it holds no user, so that nobody could log in"}
	}
	return nil
}
