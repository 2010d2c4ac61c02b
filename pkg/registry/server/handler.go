package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/printable"
)

// handler wraps the handler of the distribution: it decides on access, limits slow
// clients, and corrects statuses that would make clients repeat requests that cannot
// succeed.
type handler struct {
	app           http.Handler
	dir           string
	logins        *accessController // nil if there are none
	policy        accessPolicy
	readOnly      bool
	readOnlyUsers []string
	purger        *purger
	use           *contentUse
	log           *requestLog
	certificates  *certificates // nil without TLS
	authority     string        // the file of the generated authority, or ""
	pace          pace
	turns         manifestTurns
	documents     documentTurns
	uploads       *turnsOf[string] // by upload

	// tagging is held for writing while a manifest is deleted: the distribution looks up its
	// tags first and removes them then, also those that were set to another manifest since.
	tagging sync.RWMutex
	// deleting is held while a blob is deleted: the distribution answers with status 500 if another
	// request deletes it after it was found.
	deleting sync.Mutex
}

func newHandler(s *Server, opts Options, log *requestLog, certificates *certificates) (*handler, error) {
	h := &handler{
		app: s.app, dir: s.dir, policy: newAccessPolicy(opts), readOnly: opts.ReadOnly, readOnlyUsers: opts.ReadOnlyUsers,
		purger: s.purger, use: s.use, log: log, certificates: certificates, pace: defaultPace,
		turns: newManifestTurns(), documents: newDocumentTurns(), uploads: newTurns[string](1),
	}
	if opts.GenerateTLS {
		h.authority = AuthorityFile(s.dir)
	}
	if opts.Htpasswd != "" {
		var err error
		if h.logins, err = newAccessController(opts.Htpasswd); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := h.watch(w, r)
	w = out
	if h.servePublic(w, r) {
		return
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if r.Header.Get("Origin") != "" && !reads {
		// Only browsers send this header, and web pages must not use the user's access.
		refuse(w, http.StatusForbidden, "DENIED", "web pages may not change this registry")
		return
	}
	switch {
	case h.policy.allows(r):
		r = withAllowed(r)
	case !h.policy.htpasswd:
		refuse(w, http.StatusForbidden, "DENIED", "this registry does not allow that without a login, and has no logins")
		return
	}
	stripForwarded(r.Header)
	if user, _, ok := r.BasicAuth(); ok && !reads && slices.Contains(h.readOnlyUsers, user) {
		if h.logins.admit(w, r) {
			refuse(w, http.StatusForbidden, "DENIED", fmt.Sprintf("user %q may only pull", user))
		}
		return
	}
	if r.URL.Path == "/metrics" {
		if h.logins == nil || h.logins.admit(w, r) {
			h.serveMetrics(w)
		}
		return
	}
	h.serveAPI(out, r)
}

// watch makes a client send and read with the pace, whatever the answer is.
func (h *handler) watch(w http.ResponseWriter, r *http.Request) *pacedWriter {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{}) // an earlier request of the connection may have set one
	body := &watchedBody{inner: r.Body, control: control, meter: meter{pace: h.pace}}
	r.Body = body
	body.begin()
	return &pacedWriter{ResponseWriter: w, control: control, meter: meter{pace: h.pace}, body: body}
}

// trusted serves the API to clients that need no login.
func (h *handler) trusted() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "socket"
		h.serveAPI(h.watch(w, r), withAllowed(r))
	})
}

// serveAPI serves requests that are allowed, or that the distribution answers with a
// login challenge.
func (h *handler) serveAPI(w *pacedWriter, r *http.Request) {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	for _, check := range []func(*http.Request) *problem{checkPath, checkName, checkUpload, checkPage} {
		if p := check(r); p != nil {
			refuse(w, p.status, p.code, p.message)
			return
		}
	}
	if reads && strings.Contains(r.URL.Path, "/referrers/") {
		if m := referrersPath.FindStringSubmatch(r.URL.Path); m != nil {
			if h.logins == nil || h.logins.admit(w, r) {
				h.sendDocument(w, r, func(w http.ResponseWriter) { serveReferrers(w, r, h.dir, m[1], m[2]) })
			}
			return
		}
	}
	if q := r.URL.Query(); q.Get("mount") != "" && !strings.HasPrefix(q.Get("mount"), digest.Canonical.String()+":") {
		q.Del("mount") // blobs that the distribution mounts by other digests cannot be read, so the blob is uploaded instead
		r.URL.RawQuery = q.Encode()
		r.Form = nil
	}
	allowed := true
	if h.logins != nil {
		if _, err := h.logins.Authorized(r); err != nil {
			allowed, r = false, withRefused(r, err)
		}
		w.body.begin() // passwords are compared in turn, and the client has no part in that time
	}
	if allowed {
		h.findMount(r)
	}
	var uploaded manifest
	done := func(string) {}
	if allowed {
		endTurn, p := h.takeUpload(r)
		if p != nil {
			refuse(w, p.status, p.code, p.message)
			return
		}
		defer endTurn()
		w.body.begin() // the client has no part in the time before its turn
		var end func()
		uploaded, end, p = h.putManifest(r)
		defer end()
		if p != nil {
			refuse(w, p.status, p.code, p.message)
			return
		}
	}
	answer := &answerWriter{digest: requestedDigest(r)}
	if uploaded.Subject != nil {
		answer.subject = uploaded.Subject.Digest.String()
	}
	defer func() { done(answer.stored) }()
	write := func(to http.ResponseWriter) {
		answer.ResponseWriter = to
		if allowed {
			done = h.use.begin(r, uploaded) // it reads the manifest, so it needs a turn too
		}
		h.callDistribution(answer, w.body, r, allowed)
	}
	if allowed && isDocument(r) {
		h.sendDocument(w, r, write)
	} else {
		write(w)
	}
}

// callDistribution answers a request with the distribution, whose status it may correct.
func (h *handler) callDistribution(answer *answerWriter, body *watchedBody, r *http.Request, allowed bool) {
	func() {
		if allowed {
			defer h.lockDeletions(r)()
		}
		h.app.ServeHTTP(answer, r)
	}()
	if answer.held != nil {
		h.correct(answer, body, r)
	}
}

// lockDeletions keeps manifests from being tagged while others are deleted, and blobs from being
// deleted at the same time, until the returned function is called. The manifest of r has been
// read, so that no client prolongs this.
func (h *handler) lockDeletions(r *http.Request) (unlock func()) {
	switch {
	case r.Method == http.MethodPut && manifestPath.MatchString(r.URL.Path):
		h.tagging.RLock()
		return h.tagging.RUnlock
	case r.Method == http.MethodDelete && manifestPath.MatchString(r.URL.Path):
		h.tagging.Lock()
		return h.tagging.Unlock
	case r.Method == http.MethodDelete && blobPattern.MatchString(r.URL.Path):
		h.deleting.Lock()
		return h.deleting.Unlock
	}
	return func() {}
}

// servePublic answers requests that need no login: a page about the server, its health,
// and the certificate of the authority that clients have to trust.
func (h *handler) servePublic(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.URL.Path == "/":
		fmt.Fprintln(w, "This is an image registry, served by kolla-build. Its API is under /v2/.")
	case r.URL.Path == "/healthz":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := health(h.dir, h.readOnly); err != nil {
			h.log.printf("not healthy: %v", err)
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		} else {
			fmt.Fprintln(w, "ok")
		}
	case r.URL.Path == "/ca.crt" && h.authority != "":
		w.Header().Set("Content-Type", "application/x-pem-file")
		http.ServeFile(w, r, h.authority)
	default:
		return false
	}
	return true
}

func (h *handler) serveMetrics(w http.ResponseWriter) {
	var end time.Time
	if h.certificates != nil {
		end = h.certificates.notAfter()
	}
	w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
	_, _ = io.WriteString(w, h.log.metrics.text(h.dir, end))
}

// correct replaces answers of the distribution with status 500 that are not faults of
// the server, because clients repeat requests after a status of 500.
func (h *handler) correct(a *answerWriter, body *watchedBody, r *http.Request) {
	upload := uploadPath.FindStringSubmatch(r.URL.Path)
	switch text := a.held.String(); {
	case body.err != nil && errors.Is(body.err, errTooSlow):
		a.Header().Set("Connection", "close")
		a.replace(http.StatusRequestTimeout, "BLOB_UPLOAD_INVALID", body.err.Error())
	case body.err != nil:
		a.replace(http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "reading the request: "+body.err.Error())
	case strings.Contains(text, "no space left on device"), strings.Contains(text, "disk quota exceeded"):
		a.replace(diskFull.status, diskFull.code, diskFull.message)
		h.log.printf("%s %s: no space left on device", r.Method, printable.Field(r.URL.Path))
	case r.Method == http.MethodPut && strings.Contains(text, "unrecognized manifest"):
		a.replace(http.StatusBadRequest, "MANIFEST_INVALID", "the manifest has an unknown schemaVersion or mediaType")
	case upload != nil && strings.Contains(text, `"Path":`) && strings.Contains(text, "/_uploads/"):
		// Another request has ended the upload.
		a.replace(http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "the upload is unknown")
	case strings.Contains(text, `"detail":"unknown blob"`):
		a.replace(http.StatusNotFound, "BLOB_UNKNOWN", "the repository has no such blob")
	default:
		a.release()
	}
	if upload != nil && !errors.Is(body.err, io.ErrUnexpectedEOF) {
		h.purger.remove(upload[1], upload[2]) // only a client that was interrupted may resume an upload; others begin again
	}
}

var (
	blobPattern   = regexp.MustCompile(`^/v2/.+/blobs/([^/]+)$`)
	uploadPath    = regexp.MustCompile(`^/v2/(.+)/blobs/uploads/([0-9a-f-]{36})$`) // of a running upload
	anyUploadPath = regexp.MustCompile(`^/v2/.+/blobs/uploads/[^/]+$`)             // with any identifier
	uploadsPath   = regexp.MustCompile(`^/v2/.+/blobs/uploads/?$`)                 // at which uploads begin
)

// requestedDigest is the digest of the blob that a request reads, deletes or uploads, or "".
func requestedDigest(r *http.Request) digest.Digest {
	if uploadsPath.MatchString(r.URL.Path) || anyUploadPath.MatchString(r.URL.Path) {
		return validDigest(r.URL.Query().Get("digest"))
	}
	if m := blobPattern.FindStringSubmatch(r.URL.Path); m != nil {
		return validDigest(m[1])
	}
	return ""
}

// problem is a mistake of the client.
type problem struct {
	status        int
	code, message string
}

// repositoryPath is the path of anything in a repository.
var repositoryPath = regexp.MustCompile(`^/v2/(.+)/(?:blobs|manifests|tags|referrers)/`)

// checkPath finds paths that would be answered with a redirect to another host.
func checkPath(r *http.Request) *problem {
	if !strings.HasPrefix(r.URL.Path, "/") || strings.HasPrefix(r.URL.Path, "//") {
		return &problem{http.StatusBadRequest, "UNSUPPORTED", "the path is not part of the API"}
	}
	return nil
}

// checkName finds names that are too long.
func checkName(r *http.Request) *problem {
	const limit = reference.RepositoryNameTotalLengthMax
	if len(r.URL.Path) <= limit {
		return nil
	}
	if m := repositoryPath.FindStringSubmatch(r.URL.Path); m != nil && len(m[1]) > limit {
		return &problem{http.StatusBadRequest, "NAME_INVALID",
			fmt.Sprintf("the repository's name is longer than %d characters", limit)}
	}
	return nil
}

// checkUpload finds mistakes in the address and the headers of an upload that the
// distribution answers with status 500.
func checkUpload(r *http.Request) *problem {
	if anyUploadPath.MatchString(r.URL.Path) && !uploadPath.MatchString(r.URL.Path) {
		return &problem{http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "no upload has this identifier"}
	}
	if r.Method != http.MethodPatch && r.Method != http.MethodPut || !uploadPath.MatchString(r.URL.Path) {
		return nil
	}
	if ct := r.Header.Get("Content-Type"); r.Method == http.MethodPatch && ct != "" && ct != "application/octet-stream" {
		return &problem{http.StatusBadRequest, "BLOB_UPLOAD_INVALID",
			fmt.Sprintf("Content-Type %q: expected application/octet-stream", ct)}
	}
	if cr := r.Header.Get("Content-Range"); cr != "" {
		first, last, ok := strings.Cut(cr, "-")
		_, err := strconv.ParseInt(first, 10, 64)
		_, err2 := strconv.ParseInt(last, 10, 64)
		if !ok || err != nil || err2 != nil {
			return &problem{http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID",
				fmt.Sprintf("Content-Range %q: expected FIRST-LAST", cr)}
		}
	}
	return nil
}

// maxLast is the length of the longest name of a repository or tag, which a list of them may
// be asked to continue after.
const maxLast = reference.RepositoryNameTotalLengthMax

// checkPage finds requests for a part of a list that begins after what cannot be a name. The
// distribution looks for its file, and answers with the error of the system.
func checkPage(r *http.Request) *problem {
	last := r.URL.Query().Get("last")
	if len(last) > maxLast || strings.ContainsFunc(last, func(c rune) bool { return c < ' ' }) {
		return &problem{http.StatusBadRequest, "UNSUPPORTED", "last is not the name of an entry of the list"}
	}
	return nil
}

// refuse answers with an error in the form of the distribution specification.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(errorBody(code, message))
}

func errorBody(code, message string) []byte {
	b, err := json.Marshal(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
	if err != nil {
		return nil
	}
	return append(b, '\n')
}

// maxHeld bounds the error texts that are kept for correction, in bytes.
const maxHeld = 64 << 10

// answerWriter holds back an answer of status 500 and above until it may have been
// corrected.
type answerWriter struct {
	http.ResponseWriter

	digest  digest.Digest // of the blob that the request names, or ""
	subject string        // of the manifest that the request puts, or ""

	status int
	stored string        // the digest under which the distribution stores the blob
	held   *bytes.Buffer // nil if the answer is not held back
}

// WriteHeader implements http.ResponseWriter.
func (a *answerWriter) WriteHeader(status int) {
	if a.status != 0 {
		return // the distribution reports some errors twice
	}
	a.status, a.stored = status, a.Header().Get("Docker-Content-Digest")
	if status >= http.StatusInternalServerError || status == 499 {
		a.held = &bytes.Buffer{}
		return
	}
	if status < http.StatusMultipleChoices {
		if a.subject != "" {
			a.Header().Set("OCI-Subject", a.subject)
		}
		if a.digest != "" && a.Header().Get("Docker-Content-Digest") != "" {
			// The distribution names every blob by its sha256 digest, having checked the
			// one that was requested.
			a.Header().Set("Docker-Content-Digest", a.digest.String())
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answerWriter) Write(p []byte) (int, error) {
	if a.held != nil {
		if n := min(len(p), maxHeld-a.held.Len()); n > 0 {
			a.held.Write(p[:n])
		}
		return len(p), nil
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answerWriter) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// replace sends another answer instead of the one that is held back.
func (a *answerWriter) replace(status int, code, message string) {
	a.Header().Del("Content-Length")
	a.Header().Set("Content-Type", "application/json")
	a.ResponseWriter.WriteHeader(status)
	_, _ = a.ResponseWriter.Write(errorBody(code, message))
}

// release sends the answer that is held back.
func (a *answerWriter) release() {
	a.ResponseWriter.WriteHeader(a.status)
	_, _ = a.ResponseWriter.Write(a.held.Bytes())
}
