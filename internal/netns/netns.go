// Package netns creates network namespaces whose only interface is a loopback. It must
// not know what runs in them.
package netns

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace whose only interface is its loopback. Processes in
// it reach each other, and nothing else.
type Namespace struct {
	file   *os.File
	work   chan func()
	closed chan struct{}
	once   sync.Once
}

// New creates a namespace. It needs CAP_SYS_ADMIN. The namespace must be closed; it
// lives on as long as processes are in it.
func New() (*Namespace, error) {
	n := &Namespace{work: make(chan func()), closed: make(chan struct{})}
	ready := make(chan error)
	go n.serve(ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("creating a network namespace: %w", err)
	}
	return n, nil
}

// serve runs functions on a thread in the namespace. The thread is never unlocked, so
// that it ends with the goroutine and no other goroutine gets it.
func (n *Namespace) serve(ready chan<- error) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		ready <- err
		return
	}
	file, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err == nil {
		if err = raiseLoopback(); err != nil {
			file.Close()
		}
	}
	n.file = file
	ready <- err
	if err != nil {
		return
	}
	for {
		select {
		case f := <-n.work:
			f()
		case <-n.closed:
			return
		}
	}
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("enabling its loopback interface: %w", err)
	}
	return nil
}

// File is the namespace for setns(2). Close closes it.
func (n *Namespace) File() *os.File { return n.file }

// Listen listens on a loopback address in the namespace. After Close the error is
// net.ErrClosed.
func (n *Namespace) Listen(ctx context.Context, address string) (net.Listener, error) {
	var l net.Listener
	var err error
	done := make(chan struct{})
	listen := func() {
		defer close(done)
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp4", address)
	}
	select {
	case n.work <- listen:
		<-done
		return l, err
	case <-n.closed:
		return nil, fmt.Errorf("listening in a network namespace: %w", net.ErrClosed)
	}
}

// Close releases the namespace. Listeners must be closed separately.
func (n *Namespace) Close() error {
	n.once.Do(func() { close(n.closed) })
	return n.file.Close()
}

// Enter moves the calling thread into the namespace of a file. The goroutine must be
// locked to its thread, and must not unlock it.
func Enter(file *os.File) error {
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering a network namespace: %w", err)
	}
	return nil
}
