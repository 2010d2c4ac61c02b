package registry

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// TestTokensAreBounded checks that a registry that asks for another token with each answer does not
// fill the memory.
func TestTokensAreBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"token": %q, "expires_in": 3600}`, strings.Repeat("x", maxToken))
	}))
	defer server.Close()
	c, err := New(t.Context(), Options{EtcDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := c.host("127.0.0.1:1", "")
	key := func(i int) tokenKey { return tokenKey{realm: server.URL, service: strconv.Itoa(i)} }
	for i := range 3 * maxTokens / maxToken {
		if _, err := h.token(t.Context(), key(i)); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for range h.tokens.All() {
		n++
	}
	if _, kept := h.tokens.Known(key(0)); kept || n == 0 || n > maxTokens/maxToken {
		t.Errorf("%d tokens of %d bytes are kept", n, maxToken)
	}
}
