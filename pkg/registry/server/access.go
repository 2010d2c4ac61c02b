package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd" // registers itself
)

// Access is a level of access of clients.
type Access string

// Levels of access. Each one includes those before it.
const (
	AccessNone Access = "none"
	AccessPull Access = "pull" // look up and pull, list tags and repositories
	AccessPush Access = "push" // push and delete
)

// accessPolicy decides which requests need a login.
type accessPolicy struct {
	htpasswd  bool   // there are logins
	anonymous Access // of clients elsewhere
	local     Access // of clients on this host
}

func newAccessPolicy(opts Options) accessPolicy {
	p := accessPolicy{htpasswd: opts.Htpasswd != "", anonymous: opts.Anonymous}
	if p.anonymous == "" {
		p.anonymous = AccessNone
		if opts.ReadOnly && !p.htpasswd {
			p.anonymous = AccessPull
		}
	}
	if p.local = p.anonymous; !p.htpasswd && opts.Anonymous != AccessNone {
		p.local = AccessPush
	}
	return p
}

// allows reports whether a request is allowed without a login.
func (p accessPolicy) allows(r *http.Request) bool {
	level := p.anonymous
	if isLocal(r) {
		level = p.local
	}
	switch {
	case level == AccessPush:
		return true
	case level == AccessPull && r.URL.Path == "/v2/":
		// Clients find out here whether they need to log in: if this were allowed, a
		// client that pushes would never do so.
		return !p.htpasswd
	case level == AccessPull:
		return r.Method == http.MethodGet || r.Method == http.MethodHead
	}
	return false
}

// isLocal reports whether a request comes from this host. Requests that were forwarded
// by a proxy or caused by a web page do not count as local.
func isLocal(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "Via", "Origin"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// listensOnLoopback reports whether only this host can connect to an address to listen
// on.
func listensOnLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// accessScheme is the name of our access controller in the distribution.
const accessScheme = "kolla-build"

type allowedKey struct{}

// withAllowed marks a request as allowed without a login.
func withAllowed(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), allowedKey{}, true))
}

type refusedKey struct{}

// withRefused records why a request was refused, so that its password is not compared again.
func withRefused(r *http.Request, err error) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), refusedKey{}, err))
}

// comparisons bounds the passwords that are compared at the same time, to half of the
// processors: clients that try out passwords must not stop the others.
var comparisons = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// accessController asks for a login of the htpasswd file, unless the request is allowed
// without.
type accessController struct {
	htpasswd auth.AccessController
	path     string
	secret   []byte

	// Keyed hashes of correct passwords, because bcrypt is slow on purpose and pushing
	// a set takes thousands of requests. They are dropped when the file changes.
	mu       sync.Mutex
	modified time.Time
	verified map[[sha256.Size]byte]bool
}

func init() {
	err := auth.Register(accessScheme, func(options map[string]any) (auth.AccessController, error) {
		return newAccessController(fmt.Sprint(options["path"]))
	})
	if err != nil {
		panic(err) // a second scheme of that name
	}
}

func newAccessController(path string) (*accessController, error) {
	inner, err := auth.GetAccessController("htpasswd", map[string]any{"realm": "kolla-build registry", "path": path})
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret) // documented never to fail
	return &accessController{htpasswd: inner, path: path, secret: secret}, err
}

// admit reports whether a request that does not reach the distribution may be answered.
// If not, it answers with a login challenge.
func (c *accessController) admit(w http.ResponseWriter, r *http.Request) bool {
	_, err := c.Authorized(r)
	if err == nil {
		return true
	}
	var challenge auth.Challenge
	if errors.As(err, &challenge) {
		challenge.SetHeaders(r, w)
	}
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	return false
}

// Authorized implements auth.AccessController.
func (c *accessController) Authorized(r *http.Request, access ...auth.Access) (*auth.Grant, error) {
	user, password, login := r.BasicAuth()
	anonymous := !login && r.Header.Get("Authorization") == "" || user == "" && password == ""
	if anonymous && r.Context().Value(allowedKey{}) != nil {
		return &auth.Grant{}, nil
	}
	if err, ok := r.Context().Value(refusedKey{}).(error); ok {
		return nil, err
	}
	info, err := os.Stat(c.path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxHtpasswd { // the distribution reads it whatever it is
		return nil, unusableHtpasswd(c.path)
	}
	mac := hmac.New(sha256.New, c.secret)
	fmt.Fprintf(mac, "%d:%s%s", len(user), user, password)
	sum := [sha256.Size]byte(mac.Sum(nil))
	c.mu.Lock()
	if !c.modified.Equal(info.ModTime()) {
		c.modified, c.verified = info.ModTime(), map[[sha256.Size]byte]bool{}
	}
	known := c.verified[sum]
	c.mu.Unlock()
	if known {
		setUser(r, user)
		return &auth.Grant{User: auth.UserInfo{Name: user}}, nil
	}
	grant, err := c.compare(r, access)
	if err == nil {
		setUser(r, user)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.modified.Equal(info.ModTime()) {
			c.verified[sum] = true
		}
	}
	return grant, err
}

// compare compares the request's password with that of the file, when its turn comes.
func (c *accessController) compare(r *http.Request, access []auth.Access) (*auth.Grant, error) {
	select {
	case comparisons <- struct{}{}:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	defer func() { <-comparisons }()
	return c.htpasswd.Authorized(r, access...)
}

// stripForwarded removes what a client or a proxy claims about hosts and addresses.
func stripForwarded(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "X-Forwarded-") || name == "Forwarded" || name == "X-Real-Ip" {
			delete(h, name)
		}
	}
}
