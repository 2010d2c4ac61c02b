package registrytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TokenOptions describe how a token server behaves. Registries' token servers differ in all
// of this.
type TokenOptions struct {
	// Accounts are passwords by user name. A user may pull and push everywhere, unless
	// Paths limits that.
	Accounts map[string]string
	// Paths limits users to repositories with one of the prefixes.
	Paths map[string][]string
	// IdentityTokens are users by the tokens that "docker login" stores instead of
	// passwords; they are exchanged by POST.
	IdentityTokens map[string]string
	// Public lets everyone pull.
	Public bool
	// Field is where the token is in the answer: "token", "access_token", "" both.
	Field string
	// Life is the life of a token; 0 means 5 minutes. Silent omits it from the answer.
	Life   time.Duration
	Silent bool
	// Together is how many requests must be waiting before any is answered; 0 means 1.
	// After 10 seconds they are answered anyway, and later ones without waiting.
	Together int
}

// TokenServer signs tokens for a registry.
type TokenServer struct {
	URL  string // its realm
	opts TokenOptions
	key  *ecdsa.PrivateKey
	cert []byte // DER

	mu       sync.Mutex
	requests []string // METHOD USER SCOPES of each
	waiting  int
	most     int           // of requests at once
	together chan struct{} // closed when enough are waiting
}

// WithTokens starts Debian's docker-registry behind a token server.
func WithTokens(t testing.TB, opts TokenOptions) (host string, tokens *TokenServer) {
	t.Helper()
	ts := &TokenServer{opts: opts, together: make(chan struct{})}
	var err error
	if ts.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "token server"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	if ts.cert, err = x509.CreateCertificate(rand.Reader, template, template, ts.key.Public(), ts.key); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ts.cert})
	if err := os.WriteFile(bundle, encoded, 0o644); err != nil {
		t.Fatal(err)
	}
	ts.URL = "http://" + Serve(t, ts) + "/token"
	host = Debian(t, "auth:", "  token:", "    realm: "+ts.URL, "    service: registry.test", "    issuer: issuer.test",
		"    rootcertbundle: "+bundle)
	return host, ts
}

// Requests returns "METHOD USER SCOPES" of the requests so far, and forgets them.
func (s *TokenServer) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.requests
	s.requests = nil
	return out
}

// MostAtOnce returns the greatest number of requests that were waiting at once.
func (s *TokenServer) MostAtOnce() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// wait waits for other requests. The returned function ends this one.
func (s *TokenServer) wait() (done func()) {
	s.mu.Lock()
	s.waiting++
	s.most = max(s.most, s.waiting)
	if s.waiting == s.opts.Together {
		close(s.together)
		s.opts.Together = 0
	}
	enough := s.opts.Together == 0
	s.mu.Unlock()
	if !enough {
		select {
		case <-s.together:
		case <-time.After(10 * time.Second):
			s.mu.Lock()
			s.opts.Together = 0
			s.mu.Unlock()
		}
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.waiting--
	}
}

// access is one entry of what a token allows.
type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// ServeHTTP implements http.Handler.
func (s *TokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer s.wait()()
	_ = r.ParseForm()
	user, password, basic := r.BasicAuth()
	scopes := r.Form["scope"]
	authenticated := !basic || s.opts.Accounts[user] == password && password != ""
	if r.Method == http.MethodPost {
		scopes = strings.Fields(r.Form.Get("scope"))
		if len(s.opts.IdentityTokens) == 0 {
			http.NotFound(w, r)
			return
		}
		user, authenticated = s.opts.IdentityTokens[r.Form.Get("refresh_token")]
	}
	s.mu.Lock()
	s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+user+" "+strings.Join(scopes, " ")))
	s.mu.Unlock()
	if !authenticated || r.Form.Get("service") != "registry.test" {
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
		return
	}
	granted := []access{}
	for _, scope := range scopes {
		parts := strings.Split(scope, ":")
		if len(parts) != 3 {
			continue
		}
		a := access{Type: parts[0], Name: parts[1]}
		for _, action := range strings.Split(parts[2], ",") {
			if s.allows(user, a.Name, action) {
				a.Actions = append(a.Actions, action)
			}
		}
		if len(a.Actions) > 0 {
			granted = append(granted, a)
		}
	}
	life := s.opts.Life
	if life == 0 {
		life = 5 * time.Minute
	}
	token, err := s.sign(user, granted, life)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer := map[string]any{}
	if s.opts.Field != "access_token" {
		answer["token"] = token
	}
	if s.opts.Field != "token" {
		answer["access_token"] = token
	}
	if !s.opts.Silent {
		answer["expires_in"], answer["issued_at"] = int(life.Seconds()), time.Now().UTC().Format(time.RFC3339)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *TokenServer) allows(user, repository, action string) bool {
	if user == "" {
		return s.opts.Public && action == "pull"
	}
	prefixes, limited := s.opts.Paths[user]
	return !limited || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(repository, p) })
}

// sign makes a JSON Web Token that carries its certificate.
func (s *TokenServer) sign(user string, granted []access, life time.Duration) (string, error) {
	now := time.Now()
	header := map[string]any{"typ": "JWT", "alg": "ES256", "x5c": []string{base64.StdEncoding.EncodeToString(s.cert)}}
	claims := map[string]any{
		"iss": "issuer.test", "sub": user, "aud": "registry.test", "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Add(-time.Second).Unix(), "exp": now.Add(life).Unix(), "access": granted,
	}
	var parts []string
	for _, part := range []any{header, claims} {
		b, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(b))
	}
	signed := strings.Join(parts, ".")
	sum := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		return "", err
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	v.FillBytes(sig[32:])
	return fmt.Sprintf("%s.%s", signed, base64.RawURLEncoding.EncodeToString(sig)), nil
}
