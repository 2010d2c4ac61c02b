package setcopy

import (
	"io"
	"net/http"
	"strings"

	"github.com/kolla-build/kolla-build/internal/registrytest"
)

type readCloser = io.ReadCloser

type nopCloser struct{ io.Reader }

func (nopCloser) Close() error { return nil }

// refuseTag drops updates of a tag.
func refuseTag(path string) func(*http.Request) registrytest.Fault {
	return func(r *http.Request) registrytest.Fault {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, path) {
			return registrytest.Truncate
		}
		return registrytest.None
	}
}
