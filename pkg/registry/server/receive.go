package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/printable"
)

// maxReceived is how many manifests are received and stored at the same time. Each of them
// has maxSmall bytes of memory, and an open file if it is larger. Others wait.
const maxReceived = 256

// maxSmall is the size in bytes of a manifest that is kept in memory while a client sends it.
// An entry of a layer has about 200 bytes, so most images' manifests are smaller.
const maxSmall = 16 << 10

// smallValues is how many values a manifest may have that does not count as large: parsing
// takes hundreds of bytes for each.
const smallValues = 1000

// largeManifests is how many larger manifests are in memory at the same time.
const largeManifests = 4

// manifestTurns limit how many manifests are received at the same time, and how many of the large
// ones are in memory.
type manifestTurns struct {
	received, large chan struct{} // have an element for each manifest
}

func newManifestTurns() manifestTurns {
	return manifestTurns{received: make(chan struct{}, maxReceived), large: make(chan struct{}, largeManifests)}
}

// errBusy reports that too many manifests were being received for as long as a client may pause.
var errBusy = errors.New("too many manifests are being pushed")

// take waits for a turn, at most as long as a client may pause.
func (h *handler) take(r *http.Request, turns chan struct{}) error {
	limit := time.NewTimer(h.pace.pause)
	defer limit.Stop()
	select {
	case turns <- struct{}{}:
		return nil
	case <-r.Context().Done():
		return context.Cause(r.Context())
	case <-limit.C:
		return errBusy
	}
}

// spoolError is a fault of the file in which a large manifest waits.
type spoolError struct{ error }

// Unwrap returns the system's error.
func (e spoolError) Unwrap() error { return e.error }

// spoolWriter marks the errors of a file.
type spoolWriter struct{ file *os.File }

// Write implements io.Writer.
func (w spoolWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	if err != nil {
		err = spoolError{err}
	}
	return n, err
}

// manifestBody reads the manifest that a request puts. A large one stays on disk until the
// client has sent all of it and one of the few turns is free: otherwise a thousand slow clients
// would take gigabytes. The turn ends with done.
func (h *handler) manifestBody(r *http.Request) (raw []byte, done func(), err error) {
	done = func() {}
	head, err := io.ReadAll(io.LimitReader(r.Body, maxSmall+1))
	if err != nil {
		return head, done, err
	}
	endTurn := func() { <-h.turns.large }
	if len(head) <= maxSmall {
		if values(head) <= smallValues {
			return head, done, nil
		}
		if err := h.take(r, h.turns.large); err != nil {
			return nil, done, err
		}
		return head, endTurn, nil
	}
	file, err := atomicfile.Unnamed(h.dir)
	if err != nil {
		return nil, done, spoolError{err}
	}
	defer file.Close()
	spool := spoolWriter{file}
	n, err := spool.Write(head)
	if err != nil {
		return nil, done, err
	}
	// head becomes the buffer, so that a client that pauses here has no other memory.
	rest, err := io.CopyBuffer(spool, io.LimitReader(r.Body, maxManifest+1-int64(n)), head)
	if err != nil {
		return nil, done, err
	}
	if err := h.take(r, h.turns.large); err != nil {
		return nil, done, err
	}
	raw = make([]byte, int64(n)+rest)
	if _, err := file.ReadAt(raw, 0); err != nil {
		return nil, endTurn, spoolError{err}
	}
	return raw, endTurn, nil
}

// putManifest reads the manifest that a request puts, when its turn comes, and restores the
// request's body. For other requests and other content it returns the zero value. A manifest
// with more values than any image needs is rejected, because this program and the distribution
// need hundreds of bytes of memory for a value of two bytes. The caller calls done after the
// request.
func (h *handler) putManifest(r *http.Request) (m manifest, done func(), p *problem) {
	if r.Method != http.MethodPut || !manifestPath.MatchString(r.URL.Path) {
		return manifest{}, func() {}, nil
	}
	if err := h.take(r, h.turns.received); err != nil {
		return manifest{}, func() {}, busy(err)
	}
	if body, ok := r.Body.(*watchedBody); ok {
		body.begin() // the client has no part in the time before its turn
	}
	raw, read, err := h.manifestBody(r)
	done = func() {
		read()
		<-h.turns.received
	}
	var fault spoolError
	switch {
	case errors.As(err, &fault):
		h.log.printf("%s %s: storing the manifest while it is received: %v", r.Method, printable.Field(r.URL.Path), fault)
		_, _ = io.CopyN(io.Discard, r.Body, maxManifest) // otherwise the client may not read the answer
		return manifest{}, done, spoolProblem(fault)
	case errors.Is(err, errBusy):
		return manifest{}, done, busy(err)
	}
	m, p = parseUploaded(r, raw, err)
	return m, done, p
}

func busy(err error) *problem {
	return &problem{http.StatusServiceUnavailable, "UNAVAILABLE", err.Error()}
}

// diskFull is the problem of a full disk.
var diskFull = problem{http.StatusInsufficientStorage, "UNKNOWN",
	"the registry's disk is full: no space left on device"}

// tooManyFiles is the problem of a process that may open no more files.
var tooManyFiles = problem{http.StatusServiceUnavailable, "UNAVAILABLE", "the registry has too many open files"}

// spoolProblem is the answer to a request whose manifest could not be stored while it was
// received. Its cause is in the log.
func spoolProblem(err error) *problem {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &diskFull
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return &tooManyFiles
	}
	return &problem{http.StatusInternalServerError, "UNKNOWN",
		"the registry cannot store the manifest: its log has the cause"}
}

// parseUploaded parses the manifest of a request, as far as it was read, and restores the
// request's body. err is why the rest of it was not read.
func parseUploaded(r *http.Request, raw []byte, err error) (manifest, *problem) {
	rest := r.Body
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(raw), errorReader{err}, rest), rest}
	if err != nil || len(raw) > maxManifest {
		return manifest{}, nil
	}
	if n := values(raw); n > maxValues {
		return manifest{}, &problem{http.StatusBadRequest, "MANIFEST_INVALID",
			fmt.Sprintf("the manifest has %d values, more than %d", n, maxValues)}
	}
	m, err := parseManifest(raw)
	var otherType *json.UnmarshalTypeError
	// The distribution may not read the field that has a wrong type, so the others are checked.
	if err == nil || errors.As(err, &otherType) {
		if p := m.check(); p != nil {
			return manifest{}, p
		}
	}
	if err != nil {
		return manifest{}, nil
	}
	return m, nil
}

// maxValues bounds the values in a manifest. One of 1,000 layers, more than engines mount,
// has about 4,000.
const maxValues = 30_000

// values counts the values in the arrays and objects of a JSON document.
func values(raw []byte) int {
	n, inString, escaped := 1, false, false
	for _, c := range raw {
		switch {
		case escaped:
			escaped = false
		case inString && c == '\\':
			escaped = true
		case c == '"':
			inString = !inString
		case !inString && (c == ',' || c == '[' || c == '{'):
			n++
		}
	}
	return n
}

// errorReader fails with an error, or is empty.
type errorReader struct{ err error }

// Read implements io.Reader.
func (e errorReader) Read([]byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return 0, io.EOF
}
