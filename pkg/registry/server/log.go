package server

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/kolla-build/kolla-build/internal/printable"
)

// requestLog writes a server's log: one line for each request that matters, and the
// warnings of the distribution.
type requestLog struct {
	mu      sync.Mutex
	out     io.Writer // nil: nothing
	all     bool
	metrics *metrics
}

func (l *requestLog) printf(format string, args ...any) {
	if l.out == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "%s %s\n", time.Now().UTC().Format("2006-01-02T15:04:05Z"), fmt.Sprintf(format, args...))
}

// userKey is the context key of a *string: the name of the user whose login was accepted,
// "" for none.
type userKey struct{}

// setUser records for the log whose login was accepted.
func setUser(r *http.Request, name string) {
	if user, ok := r.Context().Value(userKey{}).(*string); ok {
		*user = name
	}
}

// wrap counts and logs requests: tags and images that change, deletions, and faults. The
// rest of a push (look-ups, uploads, refused logins of clients that then send one) is logged
// only if all requests are.
func (l *requestLog) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		l.metrics.running.Add(1)
		rec := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		user := new(string)
		r = r.WithContext(context.WithValue(r.Context(), userKey{}, user))
		defer func() {
			l.metrics.running.Add(-1)
			l.metrics.observe(r.Method, rec.status, r.ContentLength, rec.bytes)
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				l.printf("%s %q: fault: %v", r.Method, r.URL.Path, p)
				http.Error(w, "internal fault", http.StatusInternalServerError)
				return
			}
			if name, _, ok := r.BasicAuth(); ok && rec.status == http.StatusUnauthorized {
				l.printf("%s: the login of %q was refused", r.RemoteAddr, name)
			}
			if l.all || alwaysLogged(r, rec.status) {
				l.printf("%s %s %s %s %d %d bytes %s", r.RemoteAddr, cmp.Or(printable.Field(*user), "-"), r.Method,
					printable.Field(r.URL.Path), rec.status, rec.bytes,
					time.Since(start).Round(time.Millisecond))
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

// alwaysLogged reports whether a request is always logged.
func alwaysLogged(r *http.Request, status int) bool {
	switch {
	case status >= http.StatusInternalServerError:
		return true
	case r.Method == http.MethodGet || r.Method == http.MethodHead || status == http.StatusUnauthorized:
		return false
	case status >= http.StatusBadRequest:
		return true
	}
	m := manifestPath.FindStringSubmatch(r.URL.Path)
	return m != nil && (r.Method == http.MethodDelete || validDigest(m[2]) == "")
}

// std is for net/http's own messages.
func (l *requestLog) std() *stdlog.Logger {
	return stdlog.New(writerFunc(func(p []byte) (int, error) {
		l.printf("%s", bytes.TrimSpace(p))
		return len(p), nil
	}), "", 0)
}

type writerFunc func([]byte) (int, error)

// Write implements io.Writer.
func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// statusWriter remembers an answer's status and size.
type statusWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(code int) {
	w.status = code
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// The distribution logs to the global logger of logrus, and the context key for another
// logger is internal. Its entries can be recognized by the field "go.version". So the
// global logger gets a formatter that redirects those entries (warnings and errors go to
// the servers' logs) and passes all others to the previous formatter.
var logTap struct {
	once sync.Once
	mu   sync.Mutex
	logs map[*requestLog]bool
}

type tapFormatter struct{ next logrus.Formatter }

// Format implements logrus.Formatter.
func (t tapFormatter) Format(e *logrus.Entry) ([]byte, error) {
	if _, ok := e.Data["go.version"]; !ok {
		return t.next.Format(e)
	}
	if e.Level > logrus.WarnLevel {
		return nil, nil
	}
	if strings.HasPrefix(e.Message, "error authorizing context") ||
		strings.HasPrefix(e.Message, "error closing blobwriter: already closed") {
		return nil, nil // a client that has not logged in yet; an upload that has ended
	}
	msg := e.Message
	for _, k := range []string{"err.message", "err.detail"} {
		if v, ok := e.Data[k]; ok && v != "" {
			msg += fmt.Sprintf("; %v", v)
		}
	}
	// "blob unknown" and the like are answers, logged with their request.
	if code, ok := e.Data["err.code"]; ok && fmt.Sprint(code) != "unknown" {
		return nil, nil
	}
	logTap.mu.Lock()
	defer logTap.mu.Unlock()
	for l := range logTap.logs {
		l.printf("%s: %s", e.Level, msg)
	}
	return nil, nil
}

// captureWarnings sends the distribution's warnings to l until the returned function is
// called.
func (l *requestLog) captureWarnings() func() {
	logTap.once.Do(func() {
		std := logrus.StandardLogger()
		std.SetFormatter(tapFormatter{next: std.Formatter})
	})
	logTap.mu.Lock()
	defer logTap.mu.Unlock()
	if logTap.logs == nil {
		logTap.logs = map[*requestLog]bool{}
	}
	logTap.logs[l] = true
	return func() {
		logTap.mu.Lock()
		defer logTap.mu.Unlock()
		delete(logTap.logs, l)
	}
}
