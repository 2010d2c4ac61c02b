package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

func TestDelay(t *testing.T) {
	p := Policy{BaseDelay: time.Second}
	for attempt, limit := range map[int]time.Duration{0: time.Second, 1: 2 * time.Second, 3: 8 * time.Second,
		10: maxDelay, 1000: maxDelay} {
		for range 100 {
			if d := p.delay(attempt, 0); d < limit/2 || d > limit {
				t.Errorf("attempt %d: delay %v is not between %v and %v", attempt, d, limit/2, limit)
			}
		}
	}
	if d := p.delay(0, time.Minute); d != time.Minute {
		t.Errorf("the server asked for a minute, the delay is %v", d)
	}
	if d := (Policy{}).delay(0, 0); d < DefaultBaseDelay/2 || d > DefaultBaseDelay {
		t.Errorf("default delay %v", d)
	}
}

func TestWaitEnds(t *testing.T) {
	start := time.Now()
	if (Policy{Retries: 2}).Wait(t.Context(), 2, start, 0) {
		t.Error("a third retry of two")
	}
	if (Policy{Retries: 2, MaxElapsed: time.Second}).Wait(t.Context(), 0, start, time.Minute) {
		t.Error("waits beyond the total time")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if (Policy{Retries: 2, BaseDelay: time.Hour}).Wait(ctx, 0, start, time.Hour) {
		t.Error("waits after the context's end")
	}
	if !(Policy{Retries: 1, BaseDelay: time.Millisecond}).Wait(t.Context(), 0, start, 0) {
		t.Error("does not retry")
	}
}

func TestDo(t *testing.T) {
	transient := fmt.Errorf("get: %w", syscall.ECONNRESET)
	final := errors.New("not found")
	p := Policy{Retries: 2, BaseDelay: time.Millisecond}
	for name, c := range map[string]struct {
		errs     []error // of one attempt after another
		want     error
		attempts int
	}{
		"at once":             {[]error{nil}, nil, 1},
		"after two faults":    {[]error{transient, transient, nil}, nil, 3},
		"faults only":         {[]error{transient, transient, transient, nil}, syscall.ECONNRESET, 3},
		"final":               {[]error{final, nil}, final, 1},
		"known to be final":   {[]error{&Error{Err: transient}, nil}, syscall.ECONNRESET, 1},
		"known to be passing": {[]error{&Error{Err: final, Again: true, After: time.Millisecond}, nil}, nil, 2},
	} {
		attempts := 0
		err := p.Do(t.Context(), func() error { attempts++; return c.errs[attempts-1] })
		if !errors.Is(err, c.want) || attempts != c.attempts {
			t.Errorf("%s: %v after %d attempts, want %v after %d", name, err, attempts, c.want, c.attempts)
		}
	}
}

// TestEndlessDelays checks that no answer of a server makes a client wait for years.
func TestEndlessDelays(t *testing.T) {
	p := Policy{Retries: 3, MaxElapsed: time.Minute}
	for _, value := range []string{"Fri, 31 Dec 9999 23:59:59 GMT", "9223372036854775807", "18446744073", "1000000000"} {
		resp := &http.Response{Header: http.Header{"Retry-After": {value}}}
		after := After(resp, time.Now())
		if after != 24*time.Hour {
			t.Errorf("%s: %v", value, after)
		}
		if p.Wait(t.Context(), 0, time.Now(), after) {
			t.Errorf("%s: waited", value)
		}
	}
	if p.Wait(t.Context(), 0, time.Now().Add(-time.Second), math.MaxInt64) {
		t.Error("waited for 292 years")
	}
}

func TestAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":     0,
		"7":    7 * time.Second,
		" 7 ":  7 * time.Second,
		"-7":   0,
		"soon": 0,
		now.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		resp := &http.Response{Header: http.Header{"Retry-After": {header}}}
		if got := After(resp, now); got != want {
			t.Errorf("Retry-After %q: %v, want %v", header, got, want)
		}
	}
	if After(nil, now) != 0 {
		t.Error("no answer asks to wait")
	}
}

func TestTransient(t *testing.T) {
	tlsServer := httptest.NewTLSServer(http.NotFoundHandler())
	defer tlsServer.Close()
	_, wrongCertificate := http.Get(tlsServer.URL)
	hangUp := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer hangUp.Close()
	_, closed := http.Get(hangUp.URL)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	_, refused := http.Get("http://" + listener.Addr().String())
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"none":              {nil, false},
		"refused":           {refused, true},
		"closed":            {closed, true},
		"cut short":         {io.ErrUnexpectedEOF, true},
		"stalled":           {&StalledError{time.Second}, true},
		"name server":       {&net.DNSError{IsTemporary: true}, true},
		"unknown host":      {&net.DNSError{IsNotFound: true}, false},
		"wrong certificate": {wrongCertificate, false},
		"canceled":          {context.Canceled, false},
		"deadline":          {context.DeadlineExceeded, false},
		"refused stream": {errors.New("http2: Transport: cannot retry err [stream error: stream ID 33; REFUSED_STREAM] " +
			"after Request.Body was written"), true},
		"other": {errors.New("no such image"), false},
	} {
		if name != "none" && c.err == nil {
			t.Errorf("%s: the test has no error", name)
		}
		if got := Transient(c.err); got != c.want {
			t.Errorf("%s: %v is transient: %t", name, c.err, got)
		}
	}
	for code, want := range map[int]bool{200: false, 404: false, 408: true, 429: true, 500: true, 501: false,
		503: true, 522: true, 525: false} {
		if TransientStatus(code) != want {
			t.Errorf("status %d is not transient: %t", code, want)
		}
	}
}

// TestStall reads from a server that sends a part and then nothing.
func TestStall(t *testing.T) {
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			_, _ = io.WriteString(w, "part")
			w.(http.Flusher).Flush()
		}
		<-done
	}))
	defer server.Close()
	defer close(done)
	ctx, watch := WatchStall(t.Context(), 300*time.Millisecond)
	defer watch.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(watch.Cause(err))
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(watch.Reader(resp.Body))
	var stalled *StalledError
	if !errors.As(err, &stalled) || !Transient(err) {
		t.Errorf("got %v, want a stall", err)
	}
	if string(b) != "partpartpart" {
		t.Errorf("read %q before the stall", b)
	}
}

func TestStopIsNoStall(t *testing.T) {
	ctx, watch := WatchStall(t.Context(), time.Hour)
	watch.Touch()
	watch.Stop()
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("the context goes on")
	}
	if err := watch.Cause(io.EOF); err != io.EOF {
		t.Errorf("the error became %v", err)
	}
}

func TestPace(t *testing.T) {
	type step struct {
		bytes  int
		waited time.Duration
	}
	const window = paceWindow * time.Second
	enough := int(window/time.Second) * LeastPace
	for name, c := range map[string]struct {
		steps []step
		slow  bool
	}{
		"fast":                       {[]step{{1 << 20, time.Second}, {1 << 20, window}}, false},
		"just fast enough":           {[]step{{enough, window}, {enough, window}}, false},
		"slow":                       {[]step{{enough - 1, window}}, true},
		"slow, window has not ended": {[]step{{1, window - 1}}, false},
		"slow after a fast start":    {[]step{{1 << 30, window}, {1, window / 2}, {1, window / 2}}, true},
		"nothing":                    {[]step{{0, window}}, true},
	} {
		p := NewPace(time.Second)
		var err error
		for _, s := range c.steps {
			err = errors.Join(err, p.Add(s.bytes, s.waited))
		}
		var slow *SlowError
		if errors.As(err, &slow) != c.slow || err != nil && !Transient(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := NewDocumentPace(time.Second).Add(DocumentPace, time.Second); err != nil {
		t.Error(err)
	}
	if err := NewDocumentPace(time.Second).Add(DocumentPace-1, time.Second); err == nil {
		t.Error("a slow document")
	}
}

// TestDrip reads from servers that send a byte now and then, and sends to one that reads so.
func TestDrip(t *testing.T) {
	testenv.Slow(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go testenv.AcceptAll(listener, func(conn net.Conn) {
		for ctx.Err() == nil {
			if _, err := conn.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	watched, watch := WatchStall(t.Context(), time.Second)
	defer watch.Stop()
	_, err = io.Copy(io.Discard, watch.Reader(conn))
	var slow *SlowError
	if !errors.As(err, &slow) || !errors.As(context.Cause(watched), &slow) {
		t.Errorf("got %v", err)
	}
}

// TestSenderCountsTheOtherSide sends a body to a side that takes it slowly, and one that is made
// slowly to a side that takes it at once.
func TestSenderCountsTheOtherSide(t *testing.T) {
	const stall = 50 * time.Millisecond
	pause := func() { time.Sleep(stall / 2) }
	_, watch := WatchStall(t.Context(), stall)
	defer watch.Stop()
	taken := watch.Sender(iotest.OneByteReader(zeros{}))
	var slow *SlowError
	var stalled *StalledError
	var err error
	for err == nil {
		_, err = taken.Read(make([]byte, 1))
		pause()
	}
	// On a busy machine, the pauses are longer than the stall limit.
	if !errors.As(err, &slow) && !errors.As(err, &stalled) {
		t.Errorf("slowly taken: %v", err)
	}
	// Making a byte takes longer than a window. Only the moments between two Reads count.
	_, watch = WatchStall(t.Context(), stall)
	defer watch.Stop()
	made := watch.Sender(readerFunc(func(p []byte) (int, error) {
		time.Sleep(2 * paceWindow * stall)
		clear(p)
		return len(p), nil
	}))
	for range 2 {
		if _, err := made.Read(make([]byte, 1<<20)); err != nil {
			t.Errorf("slowly made: %v", err)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
