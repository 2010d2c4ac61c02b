package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// http2Limits are what the server announces to the clients of HTTP/2 connections. A client may
// send a window of bytes that the server has not read, so its size, divided by the round trip
// time, is the client's speed, and its size, times the connections, is what clients can make
// the server keep in memory.
type http2Limits struct {
	streams      int
	window       int // bytes of a connection
	streamWindow int // bytes of a stream
	idle         time.Duration
}

var (
	// wide is for the first connections: 150 MB/s at a round trip of 20 ms, and a third of it
	// for a single stream. Those that are idle end soon, for the benefit of others.
	wide = http2Limits{streams: 16, window: 3 << 20, streamWindow: 1 << 20, idle: 15 * time.Second}
	// narrow is for all others. A window of a connection cannot be smaller. Engines send up to
	// six blobs at the same time, and some do not send a refused stream again.
	narrow = http2Limits{streams: 8, window: 64 << 10, streamWindow: 64 << 10, idle: 2 * time.Minute}
)

const (
	maxWide          = 64
	maxWideOfAddress = maxWide / 4
	maxFrame         = 16 << 10 // bytes, the smallest that HTTP/2 allows
)

// httpServer serves plain HTTP, or TLS with HTTP/2, where each connection gets one of two sets
// of limits.
type httpServer struct {
	wide, narrow *http.Server // narrow is nil for plain HTTP
}

// newHTTPServer returns a server that uses TLS if there are certificates.
func newHTTPServer(handler http.Handler, certificates *certificates, log *log.Logger) *httpServer {
	server := func(limits http2Limits) *http.Server {
		s := &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 30 * time.Second,
			IdleTimeout:       limits.idle,
			MaxHeaderBytes:    maxHeader,
			HTTP2: &http.HTTP2Config{MaxConcurrentStreams: limits.streams, MaxReadFrameSize: maxFrame,
				MaxReceiveBufferPerConnection: limits.window, MaxReceiveBufferPerStream: limits.streamWindow},
			ErrorLog: log,
		}
		if certificates != nil {
			s.TLSConfig = &tls.Config{GetCertificate: certificates.get, MinVersion: tls.VersionTLS12}
		}
		return s
	}
	if certificates == nil {
		return &httpServer{wide: server(http2Limits{idle: narrow.idle})}
	}
	return &httpServer{wide: server(wide), narrow: server(narrow)}
}

// serve accepts connections until the server is closed, or accepting fails.
func (s *httpServer) serve(ln net.Listener) error {
	if s.narrow == nil {
		return s.wide.Serve(ln)
	}
	first, others := newQueueListener(ln), newQueueListener(ln)
	errs := make(chan error, 2)
	go func() { errs <- s.wide.ServeTLS(first, "", "") }()
	go func() { errs <- s.narrow.ServeTLS(others, "", "") }()
	count := newConnectionCount(maxWide, maxWideOfAddress)
	for {
		conn, err := ln.Accept()
		if err != nil {
			if temporary, ok := err.(net.Error); ok && temporary.Temporary() { //nolint:staticcheck // as net/http does
				time.Sleep(100 * time.Millisecond) // too many open files
				continue
			}
			first.fail(err)
			others.fail(err)
			return errors.Join(<-errs, <-errs)
		}
		client := clientOf(conn.RemoteAddr())
		if _, ok := count.add(client); ok {
			first.put(&countedConn{Conn: conn, end: sync.OnceFunc(func() { count.remove(client) })})
		} else {
			others.put(conn)
		}
	}
}

// close waits for the requests that run until ctx ends, then closes their connections.
func (s *httpServer) close(ctx context.Context) error {
	servers := []*http.Server{s.wide}
	if s.narrow != nil {
		servers = append(servers, s.narrow)
	}
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, server := range servers {
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
	err          error // valid once failed is closed
}

func newQueueListener(ln net.Listener) *queueListener {
	return &queueListener{Listener: ln, conns: make(chan net.Conn), failed: make(chan struct{})}
}

// put passes a connection on.
func (l *queueListener) put(conn net.Conn) { l.conns <- conn }

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
