package registry

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestTokensAreBounded checks that a registry that asks for another token with each answer does not
// fill the memory.
func TestTokensAreBounded(t *testing.T) {
	h := &host{}
	var first tokenKey
	for i := range 10 * maxTokens / maxToken {
		key := tokenKey{service: strconv.Itoa(i)}
		if i == 0 {
			first = key
		}
		value := token{value: strings.Repeat("x", maxToken), expires: time.Now().Add(time.Hour)}
		h.countToken(key, value)
		h.tokens.Set(key, value)
	}
	n := 0
	for range h.tokens.All() {
		n++
	}
	if _, kept := h.tokens.Known(first); kept || n == 0 || n > maxTokens/maxToken {
		t.Errorf("%d tokens of %d bytes are kept", n, maxToken)
	}
}
