//go:build !windows

package report

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyResize calls f when the terminal's window changes its size, until the
// returned function is called.
func notifyResize(f func()) func() {
	ch := make(chan os.Signal, 1)
	quit := make(chan struct{})
	signal.Notify(ch, syscall.SIGWINCH)
	go func() {
		for {
			select {
			case <-ch:
				f()
			case <-quit:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(quit)
	}
}
