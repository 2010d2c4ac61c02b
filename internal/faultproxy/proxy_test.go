package faultproxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A client sees each fault as its name says, and everything passes unchanged without a
// fault.
func TestFaults(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			got, err := io.ReadAll(r.Body)
			fmt.Fprint(w, err == nil && bytes.Equal(got, content))
			return
		}
		w.Write(content)
	}))
	defer server.Close()
	p, err := Start(Options{Target: strings.TrimPrefix(server.URL, "http://")})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	try := func(method string) string {
		var body io.Reader
		if method == http.MethodPut {
			body = bytes.NewReader(content)
		}
		req, err := http.NewRequest(method, "http://"+p.Addr()+"/x", body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return "no answer"
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		switch {
		case err != nil:
			return fmt.Sprint("broken after a part: ", len(got) < len(content))
		case resp.StatusCode != http.StatusOK:
			return fmt.Sprint(resp.StatusCode, resp.Header.Get("Retry-After"))
		case method == http.MethodPut:
			return "arrived whole: " + string(got)
		}
		return fmt.Sprint("whole: ", bytes.Equal(got, content))
	}
	for fault, want := range map[Fault][2]string{
		"":       {"whole: true", "arrived whole: true"},
		Refuse:   {"no answer", "no answer"},
		Reset:    {"broken after a part: true", "no answer"},
		Stall:    {"broken after a part: true", "broken after a part: true"},
		Truncate: {"broken after a part: true", "no answer"},
		TooMany:  {"4291", "4291"},
		Internal: {"500", "500"},
		Gateway:  {"502", "502"},
		Busy:     {"503", "503"},
		Corrupt:  {"whole: false", "arrived whole: false"},
	} {
		for i, method := range []string{http.MethodGet, http.MethodPut} {
			opts := Options{Target: strings.TrimPrefix(server.URL, "http://"), Seed: 7, Rate: 1, Faults: []Fault{fault},
				Stall: 100 * time.Millisecond}
			p.Set(opts)
			if fault == "" {
				p.Quiet()
			}
			if got := try(method); got != want[i] {
				t.Errorf("%s with fault %q: %s, want %s", method, fault, got, want[i])
			}
			if n := p.Injected()[fault]; fault != "" && n != 1 {
				t.Errorf("%s with fault %q: %d counted", method, fault, n)
			}
		}
	}
}

func TestSameSeedSameFaults(t *testing.T) {
	draw := func(seed uint64) string {
		p := &Proxy{}
		p.Set(Options{Seed: seed, Rate: 0.5, Max: 20})
		s := ""
		for range 100 {
			f, _, _ := p.draw(nil)
			s += string(f) + ","
		}
		return s
	}
	first, second := draw(1), draw(1)
	if first != second || first == draw(2) {
		t.Error("the faults do not follow from the seed")
	}
}

func TestForwardProxy(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w,
			r.URL.Path)
	}))
	defer server.Close()
	p, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	req, _ := http.NewRequest(http.MethodGet, server.URL+"/pool/x.deb", nil)
	resp, err := (&http.Transport{Proxy: http.ProxyURL(mustURL(t, "http://"+p.Addr()))}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, _ := io.ReadAll(resp.Body); string(got) != "/pool/x.deb" {
		t.Errorf("got %q", got)
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
