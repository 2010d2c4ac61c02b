package standin

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
)

// The versions of every project in the index. A constraint may require the old one;
// otherwise pip uses the new one. Both are older than any pip, setuptools or wheel
// in a base image, so that pip never replaces itself.
const (
	OldVersion = "0.1.0"
	NewVersion = "0.2.0"
)

// A pyIndex has two versions of every name, as wheels that are generated on
// request: /simple/NAME/ and /files/FILE. special has the content of some of them.
type pyIndex struct {
	special map[string]Wheel // by normalized name
}

func (x *pyIndex) wheel(name, version string) Wheel {
	w := x.special[name]
	if w.Name == "" {
		w.Name = name
	}
	w.Version = version
	return w
}

func (x *pyIndex) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if name, ok := strings.CutPrefix(req.URL.Path, "/simple/"); ok {
		x.project(w, req, strings.Trim(name, "/"))
		return
	}
	file, ok := strings.CutPrefix(req.URL.Path, "/files/")
	parts := strings.Split(file, "-")
	if !ok || len(parts) != 5 || parts[1] != OldVersion && parts[1] != NewVersion {
		http.NotFound(w, req)
		return
	}
	serve(w, req, x.wheel(normalize(parts[0]), parts[1]).Bytes(), stamp)
}

func (x *pyIndex) project(w http.ResponseWriter, req *http.Request, name string) {
	if name == "" || name != normalize(name) {
		http.NotFound(w, req)
		return
	}
	var b strings.Builder
	b.WriteString("<!DOCTYPE html><html><head><meta name=\"pypi:repository-version\" content=\"1.0\"></head><body>\n")
	for _, v := range []string{OldVersion, NewVersion} {
		wheel := x.wheel(name, v)
		fmt.Fprintf(&b, "<a href=\"/pypi/files/%s#sha256=%x\">%s</a>\n", wheel.FileName(), sha256.Sum256(wheel.Bytes()),
			wheel.FileName())
	}
	b.WriteString("</body></html>\n")
	w.Header().Set("Content-Type", "text/html")
	serve(w, req, []byte(b.String()), stamp)
}
