package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/httpget"
)

// tlsServer returns a server that needs no certificate, because no handshake is completed.
func tlsServer(log *log.Logger) *httpServer {
	return newHTTPServer(http.NotFoundHandler(), &certificates{}, log)
}

// waitingClient returns a listener, and a client that waits to be accepted.
func waitingClient(t *testing.T) (net.Listener, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return ln, client
}

// TestCloseBeforeServing closes servers before or while they begin to serve a client that is
// already waiting: serving ends, and so does the client's connection.
func TestCloseBeforeServing(t *testing.T) {
	const fail = time.Minute // after it, a connection or a server hangs
	drained, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 200 {
		ln, client := waitingClient(t)
		s := tlsServer(log.New(io.Discard, "", 0))
		if i%2 == 0 {
			_ = s.close(drained)
		}
		served := make(chan error, 1)
		go func() { served <- s.serve(ln) }()
		if i%2 == 1 {
			_ = s.close(drained)
		}
		select {
		case err := <-served:
			if err == nil {
				t.Fatalf("round %d: serving ends without an error", i)
			}
		case <-time.After(fail):
			t.Fatalf("round %d: the server was closed, but still serves", i)
		}
		_ = client.SetDeadline(time.Now().Add(fail))
		if _, err := client.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Fatalf("round %d: the client's connection is open: %v", i, err)
		}
		client.Close()
	}
}

// failingListener fails with its error before it accepts a connection.
type failingListener struct {
	net.Listener
	err error
}

func (l *failingListener) Accept() (conn net.Conn, err error) {
	if err, l.err = l.err, nil; err != nil {
		return nil, err
	}
	return l.Listener.Accept()
}

// TestAcceptTriesAgain checks the errors after which accept(2) advises to try again, and others.
func TestAcceptTriesAgain(t *testing.T) {
	for errno, passes := range map[syscall.Errno]bool{
		syscall.ENETDOWN: true, syscall.EPROTO: true, syscall.ENOPROTOOPT: true, syscall.EHOSTDOWN: true,
		syscall.ENONET: true, syscall.EHOSTUNREACH: true, syscall.EOPNOTSUPP: true, syscall.ENETUNREACH: true,
		syscall.ETIMEDOUT: true, syscall.ENOBUFS: true, syscall.EBADF: false, syscall.EINVAL: false,
	} {
		ln, _ := waitingClient(t)
		failing := &failingListener{ln, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", errno)}}
		conn, err := accept(failing, log.New(io.Discard, "", 0))
		if (err == nil) != passes {
			t.Errorf("after %v: %v", errno, err)
		}
		if conn != nil {
			conn.Close()
		}
	}
}

// TestAcceptErrorsAreLogged makes files run out: the log has it, and the server goes on.
func TestAcceptErrorsAreLogged(t *testing.T) {
	ln, client := waitingClient(t)
	lines := make(chan string)
	s := tlsServer(log.New(writerFunc(func(p []byte) (int, error) {
		lines <- string(p)
		return len(p), nil
	}), "", 0))
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	}
	defer restore()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.serve(ln) }()
	line := func() string {
		select {
		case l := <-lines:
			return l
		case <-time.After(time.Minute):
			t.Fatal("the log has no line")
		}
		return ""
	}
	for _, delay := range []string{"5ms", "10ms", "20ms"} {
		if l := line(); !strings.Contains(l, "too many open files; retrying in "+delay) {
			t.Errorf("the log has %q, want a delay of %s", l, delay)
		}
	}
	restore()
	client.Close() // the handshake that fails is logged
	for l := line(); !strings.Contains(l, "TLS handshake error"); l = line() {
		if !strings.Contains(l, "too many open files") {
			t.Errorf("the log has %q", l)
		}
	}
	_ = s.close(t.Context())
	<-served
}

// TestIdleConnectionsOutliveClients checks that clients end idle connections, not the server:
// with HTTP/1.1, they do not send a POST again that was sent while the server closed the
// connection.
func TestIdleConnectionsOutliveClients(t *testing.T) {
	clients := map[string]time.Duration{
		"kolla-build": httpget.NewTransport(1).IdleConnTimeout,
		"net/http":    http.DefaultTransport.(*http.Transport).IdleConnTimeout,
	}
	for _, certificates := range []*certificates{nil, {}} {
		for i, s := range newHTTPServer(http.NotFoundHandler(), certificates, nil).servers {
			for name, idle := range clients {
				if idle <= 0 || s.IdleTimeout < idle+30*time.Second {
					t.Errorf("TLS: %v, class %d: connections are idle for %v, those of %s clients for %v",
						certificates != nil, i, s.IdleTimeout, name, idle)
				}
			}
		}
	}
}

// TestConnectionClasses checks that nodes which pull leave enough for a push, and that no
// address gets all of a class.
func TestConnectionClasses(t *testing.T) {
	address := func(i int) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32) }
	counts := newClassCounts()
	var got [3]int
	var ends []func()
	add := func(client, n int) {
		for range n {
			class, end := counts.add(address(client))
			got[class]++
			ends = append(ends, end)
		}
	}
	for i, step := range []struct {
		clients, connections int // of each
		want                 [3]int
	}{
		{64, 1, [3]int{64, 0, 0}},
		{1, 200, [3]int{64, 128, 72}},
		{4, 100, [3]int{64, 512, 88}},
		{1, 10, [3]int{64, 512, 98}},
	} {
		for c := range step.clients {
			add(i*50+c, step.connections)
		}
		if got != step.want {
			t.Fatalf("step %d: the classes have %v connections, want %v", i, got, step.want)
		}
	}
	for _, end := range ends {
		end()
		end() // as net/http may do
	}
	got = [3]int{}
	if add(1, 20); got != [3]int{16, 4, 0} {
		t.Errorf("after all have ended, the classes have %v connections", got)
	}
	// What such a connection may send at a round trip of 20 ms.
	if rate := connectionClasses[1].window * 50; rate < 13e6 || connectionClasses[1].streamWindow*50 < 13e6 {
		t.Errorf("a push while nodes pull reaches %d bytes per second", rate)
	}
}

// TestDocumentedMemory calculates the worst case of connections with HTTP/2, which the
// documentation states.
func TestDocumentedMemory(t *testing.T) {
	var streams, unread int
	var terms []string
	others := maxConnections
	for _, class := range connectionClasses {
		n := class.total
		if n == 0 {
			n = others
		}
		others -= n
		streams += n * class.streams
		unread += n * class.window
		terms = append(terms, fmt.Sprintf("%s × %s", number(n), binary(class.window)))
	}
	if others != 0 || unread > 600<<20 {
		t.Errorf("%d connections have no class; clients can send %s that are not read", others, binary(unread))
	}
	want := map[string][]string{
		"registry.md": {
			fmt.Sprintf("%s (%s)", binary(unread), strings.Join(terms, " + ")),
			fmt.Sprintf("%s for the headers of %s requests", binary(streams*maxHeader), number(streams)),
		},
		"security.md": {
			fmt.Sprintf("%s streams, %s that wait to be read and %s of headers", number(streams), binary(unread),
				binary(streams*maxHeader)),
		},
	}
	for name, texts := range want {
		doc, err := os.ReadFile("../../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		doc = bytes.ReplaceAll(doc, []byte("\n"), []byte(" "))
		for _, text := range texts {
			if !bytes.Contains(doc, []byte(text)) {
				t.Errorf("docs/%s does not contain %q", name, text)
			}
		}
	}
}

// number formats a number below a million as the documentation does.
func number(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// binary formats a size that is a multiple of a KiB or a MiB.
func binary(n int) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
