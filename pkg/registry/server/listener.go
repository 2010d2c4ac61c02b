package server

import (
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/netutil"
)

// limitConnections accepts at most total connections at the same time, and at most ofAddress
// of one client's address. It logs when a limit is reached.
func limitConnections(ln net.Listener, total, ofAddress int, log func(format string, args ...any)) net.Listener {
	counting := &countingListener{Listener: ln, total: total, ofAddress: ofAddress, log: log, open: map[netip.Prefix]int{}}
	return netutil.LimitListener(counting, total)
}

// countingListener counts the open connections of each address, and closes those that are
// too many.
type countingListener struct {
	net.Listener
	total, ofAddress int
	log              func(format string, args ...any)

	mu     sync.Mutex
	open   map[netip.Prefix]int
	sum    int
	logged bool // a limit was reached and has been logged, and many connections are still open
}

// Accept implements net.Listener.
func (l *countingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client := clientOf(conn.RemoteAddr())
		if l.add(client) {
			return &countedConn{Conn: conn, end: sync.OnceFunc(func() { l.remove(client) })}, nil
		}
		conn.Close()
	}
}

// clientOf is the address of a client. An IPv6 client has all addresses of its /64.
func clientOf(addr net.Addr) netip.Prefix {
	a, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip := a.Addr().Unmap()
	prefix, _ := ip.Prefix(min(64, ip.BitLen())) // it fails for other lengths
	return prefix
}

// add counts a connection, unless its client has too many.
func (l *countingListener) add(client netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[client] >= l.ofAddress {
		l.report("%v has %d connections, more are closed", client, l.ofAddress)
		return false
	}
	l.open[client]++
	if l.sum++; l.sum == l.total {
		l.report("%d connections are open, more wait", l.total)
	}
	return true
}

// report logs that a limit is reached, once until most connections have ended.
func (l *countingListener) report(format string, args ...any) {
	if !l.logged {
		l.logged = true
		l.log("warning: "+format, args...)
	}
}

func (l *countingListener) remove(client netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[client]--; l.open[client] == 0 {
		delete(l.open, client)
	}
	if l.sum--; l.sum < l.ofAddress/2 {
		l.logged = false
	}
}

// countedConn ends its count when it is closed.
type countedConn struct {
	net.Conn
	end func()
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	defer c.end()
	return c.Conn.Close()
}
