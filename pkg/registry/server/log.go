package server

import (
	"bytes"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// requestLog writes a server's log: one line per request that matters, and what
// the distribution itself warns of.
type requestLog struct {
	mu  sync.Mutex
	out io.Writer // nil: nothing
	all bool
}

func (l *requestLog) printf(format string, args ...any) {
	if l.out == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "%s %s\n", time.Now().UTC().Format("2006-01-02T15:04:05Z"), fmt.Sprintf(format, args...))
}

// wrap logs requests. Look-ups and their "not found" are the daily business of a
// push, so they are logged only when all requests are.
func (l *requestLog) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			fmt.Fprintln(w, "This is an image registry, served by kolla-build. Its API is under /v2/.")
			return
		}
		start := time.Now()
		rec := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				l.printf("%s %s: fault: %v", r.Method, r.URL.Path, p)
				http.Error(w, "internal fault", http.StatusInternalServerError)
				return
			}
			read := r.Method == http.MethodGet || r.Method == http.MethodHead
			if l.all || rec.status >= 500 || (!read && (rec.status >= 400 || rec.status == http.StatusCreated)) {
				l.printf("%s %s %s %d %d bytes %s", r.RemoteAddr, r.Method, r.URL.Path, rec.status, rec.bytes,
					time.Since(start).Round(time.Millisecond))
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

// std is for net/http's own complaints.
func (l *requestLog) std() *stdlog.Logger {
	return stdlog.New(writerFunc(func(p []byte) (int, error) {
		l.printf("%s", bytes.TrimSpace(p))
		return len(p), nil
	}), "", 0)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// statusWriter remembers the answer's status and size.
type statusWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *statusWriter) WriteHeader(code int) {
	w.status = code
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// The distribution logs through logrus' one global logger, and the context key
// by which another could be given is internal to it. Its entries can be told
// from others': they all carry a "go.version" field. So the global logger gets a
// formatter that takes those entries out (warnings and errors go to the servers'
// logs) and leaves all others to the formatter that was there.
var logTap struct {
	once sync.Once
	mu   sync.Mutex
	logs map[*requestLog]bool
}

type tapFormatter struct{ next logrus.Formatter }

func (t tapFormatter) Format(e *logrus.Entry) ([]byte, error) {
	if _, ok := e.Data["go.version"]; !ok {
		return t.next.Format(e)
	}
	if e.Level > logrus.WarnLevel {
		return nil, nil
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

// takeOver makes the distribution's warnings go to l until the returned function
// is called.
func (l *requestLog) takeOver() func() {
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
