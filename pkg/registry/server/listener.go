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
	counting := &countingListener{Listener: ln, count: newClientCount(total, ofAddress), log: log}
	return netutil.LimitListener(counting, total)
}

// countingListener counts the open connections of each address, and closes those that are
// too many.
type countingListener struct {
	net.Listener
	count *clientCount
	log   func(format string, args ...any)

	mu     sync.Mutex
	logged bool // a limit was reached and has been logged, and many connections are still open
}

// Accept implements net.Listener.
func (l *countingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client := clientOf(conn.RemoteAddr().String())
		if l.add(client) {
			return &countedConn{Conn: conn, end: sync.OnceFunc(func() { l.remove(client) })}, nil
		}
		conn.Close()
	}
}

// add counts a connection, unless its client has too many.
func (l *countingListener) add(client netip.Prefix) bool {
	sum, ok := l.count.add(client, 1)
	switch {
	case !ok:
		l.report("%v has %d connections, more are closed", client, l.count.ofAddress)
	case sum == l.count.total:
		l.report("%d connections are open, more wait", l.count.total)
	}
	return ok
}

// report logs that a limit is reached, once until most connections have ended.
func (l *countingListener) report(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.logged {
		l.logged = true
		l.log("warning: "+format, args...)
	}
}

func (l *countingListener) remove(client netip.Prefix) {
	if l.count.remove(client, 1) < l.count.ofAddress/2 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.logged = false
	}
}

// clientCount counts what clients use, such as connections, in all and of each client.
type clientCount struct {
	total, ofAddress int // limits

	mu   sync.Mutex
	open map[netip.Prefix]int
	sum  int
}

func newClientCount(total, ofAddress int) *clientCount {
	return &clientCount{total: total, ofAddress: ofAddress, open: map[netip.Prefix]int{}}
}

// add counts n more, unless these are too many, and returns how many there are.
func (c *clientCount) add(client netip.Prefix, n int) (sum int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[client]+n > c.ofAddress || c.sum+n > c.total {
		return c.sum, false
	}
	c.open[client] += n
	c.sum += n
	return c.sum, true
}

// remove ends the count of n, and returns how many are left.
func (c *clientCount) remove(client netip.Prefix, n int) (sum int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[client] -= n; c.open[client] == 0 {
		delete(c.open, client)
	}
	c.sum -= n
	return c.sum
}

// clientOf is the client of an address with a port. An IPv6 client has all addresses of its /64.
func clientOf(addr string) netip.Prefix {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return netip.Prefix{}
	}
	ip := a.Addr().Unmap()
	prefix, _ := ip.Prefix(min(64, ip.BitLen())) // it fails for other lengths
	return prefix
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
