package netns

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
)

func TestNamespaceHasOnlyALoopback(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	n, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	l, err := n.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the listener is reached from outside of the namespace")
	}
	type result struct {
		interfaces      []net.Interface
		inside, outside error
		err             error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var r result
		defer func() { done <- r }()
		if r.err = Enter(n.File()); r.err != nil {
			return
		}
		r.interfaces, r.err = net.Interfaces()
		dial := func(address string) error {
			c, err := (&net.Dialer{}).Dial("tcp4", address)
			if err == nil {
				c.Close()
			}
			return err
		}
		r.inside, r.outside = dial(l.Addr().String()), dial("192.0.2.1:80")
	}()
	r := <-done
	if r.err != nil || len(r.interfaces) != 1 || r.interfaces[0].Name != "lo" {
		t.Errorf("interfaces %v, %v", r.interfaces, r.err)
	}
	if r.inside != nil {
		t.Errorf("the listener is not reached in the namespace: %v", r.inside)
	}
	if r.outside == nil {
		t.Error("another network is reached")
	}
}

func TestListenAfterClose(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	n, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Listen(t.Context(), "127.0.0.1:0"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listening after Close: %v, want %v", err, net.ErrClosed)
	}
	if err := n.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closing it twice: %v", err)
	}
}
