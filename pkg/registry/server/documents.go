package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
)

// maxMade is how many manifests and lists that clients have requested are in memory at the same
// time. The distribution makes each of them as a whole, and one may have 4 MiB.
const maxMade = 8

// maxWaiting is how many bytes of lists wait on disk until clients have read them.
const maxWaiting = 1 << 30

// listPath is the path of a list that the distribution makes.
var listPath = regexp.MustCompile(`^/v2/(?:.+/tags/list|_catalog)$`)

// isDocument reports whether a request is for a manifest or a list.
func isDocument(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		(manifestPath.MatchString(r.URL.Path) || listPath.MatchString(r.URL.Path))
}

// sendDocument answers a request with a document that write makes in memory, when its turn comes.
// The turn ends before the client reads the answer from a file: otherwise a hundred clients that do
// not read would take gigabytes.
func (h *handler) sendDocument(w http.ResponseWriter, r *http.Request, write func(http.ResponseWriter)) {
	if err := h.take(r, h.turns.made); err != nil {
		refuse(w, http.StatusServiceUnavailable, "UNAVAILABLE", "too many manifests and lists are being read")
		return
	}
	a := &documentAnswer{ResponseWriter: w, h: h}
	a.manifest = r.Method == http.MethodGet && manifestPath.MatchString(r.URL.Path)
	defer a.close()
	func() {
		defer func() { <-h.turns.made }()
		write(a)
	}()
	a.send(r)
}

// errManyWait reports that too many clients read lists slowly.
var errManyWait = errors.New("too many clients are reading lists")

// documentAnswer keeps an answer until it is sent: a short one in memory, a list in an unnamed file.
// Of a manifest, which is a blob, it only opens the file.
type documentAnswer struct {
	http.ResponseWriter
	h        *handler
	manifest bool // it is the answer to a request for a manifest's content

	status int
	head   []byte
	file   *os.File // the rest, or nil
	spool  int64    // bytes in an unnamed file
	err    error
}

// WriteHeader implements http.ResponseWriter.
func (a *documentAnswer) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	a.status, a.manifest = status, a.manifest && status == http.StatusOK
	if a.manifest {
		a.file, a.err = os.Open(a.h.use.blob(digest.Digest(a.Header().Get("Docker-Content-Digest"))))
	}
}

// Write implements http.ResponseWriter.
func (a *documentAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	switch {
	case a.err != nil:
		return 0, a.err
	case a.manifest:
		return len(p), nil
	case a.file == nil && len(a.head)+len(p) <= maxSmall:
		a.head = append(a.head, p...)
		return len(p), nil
	case a.file == nil:
		if a.file, a.err = atomicfile.Unnamed(a.h.dir); a.err != nil {
			return 0, a.err
		}
	}
	a.spool += int64(len(p))
	if a.h.waiting.Add(int64(len(p))) > maxWaiting {
		a.err = errManyWait
		return 0, a.err
	}
	var n int
	n, a.err = a.file.Write(p)
	return n, a.err
}

// Unwrap lets http.ResponseController reach the connection.
func (a *documentAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// send sends the answer to the client.
func (a *documentAnswer) send(r *http.Request) {
	switch {
	case errors.Is(a.err, errManyWait):
		refuse(a.ResponseWriter, http.StatusServiceUnavailable, "UNAVAILABLE", a.err.Error())
		return
	case a.err != nil:
		a.h.log.printf("%s %s: keeping the answer until it is read: %v", r.Method, printable(r.URL.Path), a.err)
		a.Header().Del("Content-Length")
		p := spoolProblem(a.err)
		refuse(a.ResponseWriter, p.status, p.code, p.message)
		return
	}
	a.WriteHeader(http.StatusOK)
	if a.spool > 0 {
		a.Header().Set("Content-Length", strconv.FormatInt(int64(len(a.head))+a.spool, 10))
		_, a.err = a.file.Seek(0, io.SeekStart)
	}
	a.ResponseWriter.WriteHeader(a.status)
	if len(a.head) > 0 {
		_, _ = a.ResponseWriter.Write(a.head)
	}
	if a.file != nil && a.err == nil {
		// The wrappers hide WriteTo and ReadFrom, which take larger buffers.
		_, _ = io.CopyBuffer(struct{ io.Writer }{a.ResponseWriter}, struct{ io.Reader }{a.file}, make([]byte, maxSmall))
	}
}

func (a *documentAnswer) close() {
	if a.file != nil {
		a.file.Close()
	}
	a.h.waiting.Add(-a.spool)
}
