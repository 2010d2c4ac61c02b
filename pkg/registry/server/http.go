package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// connectionClass is what the server announces to the clients of HTTP/2 connections. A client
// may send a window of bytes that the server has not read, so its size, divided by the round trip
// time, is the client's speed, and its size, times the connections, is what clients can make
// the server keep in memory.
type connectionClass struct {
	total, ofAddress int // connections in all and of one address, 0 for all others
	streams          int
	window           int // bytes of a connection
	streamWindow     int // bytes of a stream
}

// connectionClasses are tried in this order for a new connection, which keeps its class. The
// worst case of memory in docs/registry.md and docs/security.md is calculated from them by
// TestDocumentedMemory.
var connectionClasses = []connectionClass{
	// 150 MB/s at a round trip of 20 ms, and a third of it for a single stream.
	{total: 64, ofAddress: 16, streams: 16, window: 3 << 20, streamWindow: 1 << 20},
	// 13 MB/s, for pushes to a site whose nodes pull. Engines send up to six blobs at the same
	// time, and some do not send a refused stream again.
	{total: 512, ofAddress: 128, streams: 8, window: 256 << 10, streamWindow: 256 << 10},
	// 3 MB/s. A window of a connection cannot be smaller.
	{streams: 8, window: 64 << 10, streamWindow: 64 << 10},
}

const (
	maxFrame = 16 << 10 // bytes, the smallest that HTTP/2 allows
	// maxIdle is longer than the 90 s of Go's clients, so that they end idle connections. They do
	// not repeat a POST or PATCH on a connection that the server has just closed.
	maxIdle = 2 * time.Minute
	// maxAcceptDelay is the longest time between two attempts to accept a connection, and two
	// lines in the log, while files have run out.
	maxAcceptDelay = time.Second
)

// httpServer serves plain HTTP, or TLS with HTTP/2, where each connection has one of the
// connectionClasses.
type httpServer struct {
	tls     bool
	servers []*http.Server // of each class with TLS
	log     *log.Logger
}

// newHTTPServer returns a server that uses TLS if there are certificates.
func newHTTPServer(handler http.Handler, certificates *certificates, log *log.Logger) *httpServer {
	s := &httpServer{tls: certificates != nil, log: log}
	for _, class := range connectionClasses {
		server := &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 30 * time.Second,
			IdleTimeout:       maxIdle,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          log,
		}
		s.servers = append(s.servers, server)
		if !s.tls {
			break // HTTP/1.1 has no classes
		}
		server.TLSConfig = &tls.Config{GetCertificate: certificates.get, MinVersion: tls.VersionTLS12}
		server.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: class.streams, MaxReadFrameSize: maxFrame,
			MaxReceiveBufferPerConnection: class.window, MaxReceiveBufferPerStream: class.streamWindow}
	}
	return s
}

// serve accepts connections until the server is closed, or accepting fails.
func (s *httpServer) serve(ln net.Listener) error {
	if !s.tls {
		return s.servers[0].Serve(ln)
	}
	queues := make([]*queueListener, len(s.servers))
	errs := make([]error, len(s.servers))
	var wg sync.WaitGroup
	for i, server := range s.servers {
		queues[i] = newQueueListener(ln)
		wg.Go(func() { errs[i] = queues[i].serve(server) })
	}
	counts := newClassCounts()
	for {
		conn, err := accept(ln, s.log)
		if err != nil {
			for _, queue := range queues {
				queue.fail(err)
			}
			wg.Wait()
			return errors.Join(errs...)
		}
		class, end := counts.add(clientOf(conn.RemoteAddr().String()))
		queues[class].put(&countedConn{Conn: conn, end: end})
	}
}

// acceptErrors are the errors of accept(2) that pass, after which the server tries again: a limit is
// reached, or a connection failed before it was accepted. Linux returns that connection's own error,
// for which accept(2) advises to try again.
var acceptErrors = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR, syscall.ETIMEDOUT,
	syscall.ENETDOWN, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EHOSTDOWN,
	syscall.ENONET, syscall.EHOSTUNREACH, syscall.EOPNOTSUPP, syscall.ENETUNREACH,
}

// accept returns the next connection. It logs errors that pass, and tries again.
func accept(ln net.Listener, log *log.Logger) (net.Conn, error) {
	for delay := 5 * time.Millisecond; ; delay = min(2*delay, maxAcceptDelay) {
		conn, err := ln.Accept()
		if !slices.ContainsFunc(acceptErrors, func(passes error) bool { return errors.Is(err, passes) }) {
			return conn, err
		}
		log.Printf("http: Accept error: %v; retrying in %v", err, delay)
		time.Sleep(delay)
	}
}

// classCounts count the connections of each class except the last, to which all other
// connections belong.
type classCounts []*clientCount

func newClassCounts() (counts classCounts) {
	for _, class := range connectionClasses[:len(connectionClasses)-1] {
		counts = append(counts, newClientCount(class.total, class.ofAddress))
	}
	return counts
}

// add counts a connection of a client until end is called, and returns the index of its class.
func (c classCounts) add(client netip.Prefix) (class int, end func()) {
	for i, count := range c {
		if _, ok := count.add(client, 1); ok {
			return i, sync.OnceFunc(func() { count.remove(client, 1) })
		}
	}
	return len(c), func() {}
}

// close waits for the requests that run until ctx ends, then closes their connections.
func (s *httpServer) close(ctx context.Context) error {
	errs := make([]error, len(s.servers))
	var wg sync.WaitGroup
	for i, server := range s.servers {
		wg.Go(func() {
			if server.Shutdown(ctx) != nil {
				// The time is up. A stalled client is not an error of the server.
				errs[i] = server.Close()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// queueListener has the connections that were accepted elsewhere.
type queueListener struct {
	net.Listener // for its address, and closed with it
	conns        chan net.Conn
	failed       chan struct{}
	err          error         // valid once failed is closed
	ended        chan struct{} // closed when no more connections are served
}

func newQueueListener(ln net.Listener) *queueListener {
	return &queueListener{
		Listener: ln, conns: make(chan net.Conn),
		failed: make(chan struct{}), ended: make(chan struct{}),
	}
}

// serve serves the connections until the server is closed, or Accept fails.
func (l *queueListener) serve(server *http.Server) error {
	defer close(l.ended)
	defer l.Close() // a server whose settings are invalid does not
	return server.ServeTLS(l, "", "")
}

// put passes a connection on. A server that was closed before it began to serve takes none.
func (l *queueListener) put(conn net.Conn) {
	select {
	case l.conns <- conn:
	case <-l.ended:
		conn.Close()
	}
}

// fail makes Accept return an error, after all connections.
func (l *queueListener) fail(err error) {
	l.err = err
	close(l.failed)
}

// Accept implements net.Listener.
func (l *queueListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.failed:
		return nil, l.err
	}
}
