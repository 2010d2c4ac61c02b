package server

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// TestConnectionLimits checks with real connections that those of one address do not shut out
// others, and that each limit is logged.
func TestConnectionLimits(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	logged := make(chan string, 10)
	ln := limitConnections(inner, 4, 2, func(format string, args ...any) { logged <- fmt.Sprintf(format, args...) })
	defer ln.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial := func(from string) net.Conn {
		t.Helper()
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	first := dial("127.0.0.1")
	served := <-accepted
	dial("127.0.0.1")
	<-accepted
	if _, err := io.ReadAll(dial("127.0.0.1")); err != nil { // it is closed
		t.Errorf("a third connection: %v", err)
	}
	if line := <-logged; !strings.Contains(line, "127.0.0.1/32 has 2 connections") {
		t.Errorf("the log has %q", line)
	}
	dial("127.0.0.2")
	<-accepted
	first.Close()
	served.Close()
	served.Close() // as net/http may do
	dial("127.0.0.1")
	last := <-accepted
	if _, err := io.ReadAll(dial("127.0.0.1")); err != nil {
		t.Errorf("a third connection after one has ended: %v", err)
	}
	dial("127.0.0.2")
	<-accepted
	waiting := dial("127.0.0.3") // four are open
	last.Close()
	if conn := <-accepted; conn.RemoteAddr().String() != waiting.LocalAddr().String() {
		t.Errorf("%v was accepted", conn.RemoteAddr())
	}
}

func TestConnectionLimitIsLogged(t *testing.T) {
	var lines []string
	l := &countingListener{count: newClientCount(4, 4),
		log: func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }}
	client := clientOf("[2001:db8::1]:1")
	if other := clientOf("[2001:db8::2]:2"); other != client {
		t.Errorf("%v and %v count as two clients", client, other)
	}
	for range 2 {
		for range 4 {
			l.add(client)
		}
		l.add(client)
		for range 4 {
			l.remove(client)
		}
	}
	want := "warning: 4 connections are open, more wait"
	if len(lines) != 2 || lines[0] != want || lines[1] != want || len(l.count.open) > 0 {
		t.Errorf("the log has %q, %d clients are left", lines, len(l.count.open))
	}
}
