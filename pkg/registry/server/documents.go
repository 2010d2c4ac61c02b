package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/printable"
)

// How many manifests and lists that clients have requested are in memory at the same time: the
// distribution makes each of them as a whole, and one may have 4 MiB. One client's address never has
// all of them.
const (
	maxMade         = 8
	maxMadeOfClient = 6
)

// How many bytes of lists wait on disk until clients have read them, and of these of one client's
// address.
const (
	maxWaiting         = 1 << 30
	maxWaitingOfClient = maxWaiting / 4
)

// listPath is the path of a list that the distribution makes.
var listPath = regexp.MustCompile(`^/v2/(?:.+/tags/list|_catalog)$`)

// isDocument reports whether a request is for a manifest or a list.
func isDocument(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		(manifestPath.MatchString(r.URL.Path) || listPath.MatchString(r.URL.Path))
}

// documentTurns limit the manifests and lists that are made for clients, and those that wait on disk.
type documentTurns struct {
	ofClient *turnsOf[netip.Prefix]
	made     chan struct{} // has an element for each manifest or list that is made
	waiting  *clientCount  // bytes of lists
}

func newDocumentTurns() documentTurns {
	return documentTurns{ofClient: newTurns[netip.Prefix](maxMadeOfClient), made: make(chan struct{}, maxMade),
		waiting: newClientCount(maxWaiting, maxWaitingOfClient)}
}

// sendDocument answers a request with a document that write makes in memory, when its turn comes.
// The turn ends before the client reads the answer from a file: otherwise a hundred clients that do
// not read would take gigabytes.
func (h *handler) sendDocument(w http.ResponseWriter, r *http.Request, write func(http.ResponseWriter)) {
	client := clientOf(r.RemoteAddr)
	endOfClient, err := h.documents.ofClient.take(r, client, h.pace.pause)
	if err == nil {
		if err = h.take(r, h.documents.made); err != nil {
			endOfClient()
		}
	}
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, "UNAVAILABLE", "too many manifests and lists are being read")
		return
	}
	a := &documentAnswer{ResponseWriter: w, h: h, client: client}
	a.manifest = r.Method == http.MethodGet && manifestPath.MatchString(r.URL.Path)
	defer a.close()
	func() {
		defer endOfClient()
		defer func() { <-h.documents.made }()
		write(a)
		if a.inMemory {
			a.send(r)
		}
	}()
	if !a.inMemory {
		a.send(r)
	}
}

// errManyWait reports that clients read too many lists too slowly.
var errManyWait = errors.New("too many lists wait until clients have read them")

// documentAnswer keeps an answer until it is sent: a short one in memory, a list in an unnamed file.
// Of a manifest, which is a blob, it only opens the file.
type documentAnswer struct {
	http.ResponseWriter
	h        *handler
	client   netip.Prefix
	manifest bool // it is the answer to a request for a manifest's content

	status   int
	head     []byte
	file     *os.File // the rest, or nil
	spool    int64    // bytes in an unnamed file
	inMemory bool     // the disk is full, so that all of it is in head
	err      error
}

// WriteHeader implements http.ResponseWriter.
func (a *documentAnswer) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	a.status, a.manifest = status, a.manifest && status == http.StatusOK
	if a.manifest {
		a.err = a.openManifest()
	}
}

// openManifest opens the manifest that the distribution has named.
func (a *documentAnswer) openManifest() error {
	named, length := a.Header().Get("Docker-Content-Digest"), a.Header().Get("Content-Length")
	d := validDigest(named)
	if d == "" {
		return fmt.Errorf("the distribution names it %q, which is not a digest", named)
	}
	var err error
	if a.file, err = inputfile.OpenRegular(a.h.use.blob(d)); err != nil {
		return err
	}
	info, err := a.file.Stat()
	if err == nil && strconv.FormatInt(info.Size(), 10) != length {
		err = fmt.Errorf("manifest %s has %d bytes, and the distribution gives %s", d, info.Size(), length)
	}
	return err
}

// Write implements http.ResponseWriter.
func (a *documentAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	switch {
	case a.err != nil:
		return 0, a.err
	case a.manifest:
		return len(p), nil
	case a.inMemory, a.file == nil && len(a.head)+len(p) <= maxSmall:
		a.head = append(a.head, p...)
		return len(p), nil
	}
	var n int
	n, a.err = a.spoolOut(p)
	if errors.Is(a.err, syscall.ENOSPC) || errors.Is(a.err, syscall.EDQUOT) {
		// Lists are what an operator needs to free space.
		if a.err = a.moveToMemory(); a.err == nil {
			a.head = append(a.head, p...)
			return len(p), nil
		}
	}
	return n, a.err
}

// spoolOut appends a piece to the unnamed file.
func (a *documentAnswer) spoolOut(p []byte) (n int, err error) {
	if a.file == nil {
		if a.file, err = atomicfile.Unnamed(a.h.dir); err != nil {
			return 0, err
		}
	}
	if _, ok := a.h.documents.waiting.add(a.client, len(p)); !ok {
		return 0, errManyWait
	}
	if n, err = a.file.WriteAt(p, a.spool); err != nil {
		a.h.documents.waiting.remove(a.client, len(p))
		return 0, err
	}
	a.spool += int64(n)
	return n, nil
}

// moveToMemory replaces the unnamed file.
func (a *documentAnswer) moveToMemory() error {
	if a.spool > 0 {
		rest := make([]byte, a.spool)
		if _, err := a.file.ReadAt(rest, 0); err != nil {
			return err
		}
		a.head = append(a.head, rest...)
	}
	a.close()
	a.inMemory = true
	return nil
}

// Unwrap lets http.ResponseController reach the connection.
func (a *documentAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// send sends the answer to the client.
func (a *documentAnswer) send(r *http.Request) {
	if a.err != nil {
		a.Header().Del("Content-Length")
		a.Header().Del("Docker-Content-Digest")
		p := documentProblem(a.err)
		if p.status == http.StatusInternalServerError {
			a.h.log.printf("%s %s: preparing the answer: %v", r.Method, printable.Field(r.URL.Path), a.err)
		}
		refuse(a.ResponseWriter, p.status, p.code, p.message)
		return
	}
	a.WriteHeader(http.StatusOK)
	if a.spool > 0 {
		a.Header().Set("Content-Length", strconv.FormatInt(int64(len(a.head))+a.spool, 10))
	}
	a.ResponseWriter.WriteHeader(a.status)
	if len(a.head) > 0 {
		_, _ = a.ResponseWriter.Write(a.head)
	}
	if a.file != nil {
		// The wrappers hide WriteTo and ReadFrom, which take larger buffers.
		_, _ = io.CopyBuffer(struct{ io.Writer }{a.ResponseWriter}, struct{ io.Reader }{a.file}, make([]byte, maxSmall))
	}
}

// documentProblem is the answer to a request whose document could not be prepared.
func documentProblem(err error) *problem {
	switch {
	case errors.Is(err, errManyWait):
		return busy(err)
	case errors.Is(err, fs.ErrNotExist):
		return &problem{http.StatusNotFound, "MANIFEST_UNKNOWN", "the manifest has just been deleted"}
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return &tooManyFiles
	}
	return &problem{http.StatusInternalServerError, "UNKNOWN",
		"the registry cannot read what was requested: its log has the cause"}
}

// close closes the file, and ends the count of its bytes.
func (a *documentAnswer) close() {
	if a.file != nil {
		a.file.Close()
	}
	a.h.documents.waiting.remove(a.client, int(a.spool))
	a.file, a.spool = nil, 0
}
