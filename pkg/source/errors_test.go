package source

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/httpget"
)

// answerNames starts a name server that answers each query with a code of RFC 1035, 4.1.1, and
// lets sources use it.
func answerNames(t *testing.T, code byte) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			if n > 3 {
				buf[2], buf[3] = buf[2]|0x80, 0x80|code
				server.WriteTo(buf[:n], from)
			}
		}
	}()
	httpget.Dialer.Resolver = &net.Resolver{PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "udp", server.LocalAddr().String())
		}}
	t.Cleanup(func() {
		httpget.Dialer.Resolver = nil
		server.Close()
	})
}

// TestUnresolvedNames: the error has the name that does not resolve, which may be that of a
// proxy or of a redirect, and not the address of the resolver.
func TestUnresolvedNames(t *testing.T) {
	redirect := httptest.NewServer(http.RedirectHandler("http://mirror.example:8080/x", http.StatusFound))
	defer redirect.Close()
	for _, c := range []struct {
		name, location, proxy string
		code                  byte
		want, hint            string
	}{
		{"location", "http://tarballs.example/x", "", 3,
			"source [x]: http://tarballs.example/x: downloading: looking up tarballs.example: no such host",
			`"tarballs.example"`},
		{"failing resolver", "http://tarballs.example/x", "", 2,
			"source [x]: http://tarballs.example/x: downloading: looking up tarballs.example: server misbehaving",
			`"tarballs.example"`},
		{"redirect", redirect.URL + "/x", "", 3,
			"source [x]: " + redirect.URL + "/x: downloading: looking up mirror.example: no such host", `"mirror.example"`},
		{"proxy", "http://tarballs.example/x", "http://prxy.example:3128", 3,
			"source [x]: http://tarballs.example/x: downloading: proxyconnect tcp: looking up prxy.example: no such host",
			"correct the proxy variables"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answerNames(t, c.code)
			f, _ := newFetcher(t, Options{Retries: -1})
			transport := f.downloads.client.Transport.(*http.Transport)
			transport.Proxy = nil // not that of the environment
			if c.proxy != "" {
				proxy, err := url.Parse(c.proxy)
				if err != nil {
					t.Fatal(err)
				}
				transport.Proxy = http.ProxyURL(proxy)
			}
			_, err := f.Resolve(t.Context(), Spec{Name: "x", Type: TypeURL, Location: c.location, Enabled: true})
			e, ok := err.(*Error)
			if !ok || e.Error() != c.want || !strings.Contains(e.Hint(), c.hint) {
				t.Errorf("the error is %v (%+v)\nwant %s, hint %q", err, e, c.want, c.hint)
			}
		})
	}
}

func TestShortenedTimeout(t *testing.T) {
	err := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Name: "host.example", Server: "192.0.2.1:53",
		Err: "read udp 198.51.100.7:40123->192.0.2.1:53: i/o timeout"}}
	if got := shortened(err); got != "looking up host.example: i/o timeout" {
		t.Errorf("%v is shortened to %s", err, got)
	}
}
