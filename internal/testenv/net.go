package testenv

import (
	"net"
	"net/http"
)

// AcceptAll serves the connections of a listener, each in a goroutine, until the listener is
// closed. A connection is closed when serve returns.
func AcceptAll(listener net.Listener, serve func(net.Conn)) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			serve(conn)
		}()
	}
}

// Abort resets the connection of a request, so that the client gets an error instead of an end.
func Abort(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}
