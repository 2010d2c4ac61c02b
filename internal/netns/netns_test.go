package netns

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

func TestNamespaceHasOnlyALoopback(t *testing.T) {
	testenv.Root(t)
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
	go testenv.AcceptAll(l, func(c net.Conn) { _, _ = c.Write([]byte("inside")) })
	// Outside, another program may listen on the same port: only this listener's answer counts.
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
			t.Error(err)
		}
		if b, _ := io.ReadAll(io.LimitReader(c, 6)); string(b) == "inside" {
			t.Error("the listener is reached from outside of the namespace")
		}
		c.Close()
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
	testenv.Root(t)
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
