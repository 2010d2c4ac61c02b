package server

import (
	"context"
	"time"
)

// ControlSocket is the name of the socket in a registry's directory.
const ControlSocket = controlSocket

// SetPace makes clients of servers that are started afterwards keep another pace, until
// the returned function is called.
func SetPace(pause time.Duration, rate int64) (restore func()) {
	before := defaultPace
	defaultPace = pace{pause: pause, rate: rate}
	return func() { defaultPace = before }
}

// Purge removes the uploads of a running server that have not been written to since a
// time.
func (s *Server) Purge(before time.Time) error { return s.purger.purge(before) }

// Renew generates or renews the certificate of a registry's directory as of a time, and
// returns the certificate and key files.
func Renew(dir string, names []string, now time.Time) (certificate, key string, err error) {
	c := &certificates{dir: dir, certificate: dir + "/server.crt", key: dir + "/server.key", names: names,
		log: func(string, ...any) {}}
	return c.certificate, c.key, c.refresh(now)
}

// Collect collects garbage while the server runs.
func (s *Server) Collect(ctx context.Context, opts GCOptions) (GCResult, error) {
	return s.gc.collect(ctx, opts)
}

// Remembered returns how many blobs a server remembers as used.
func (s *Server) Remembered() int {
	s.use.mu.Lock()
	defer s.use.mu.Unlock()
	return len(s.use.last) + len(s.use.stored)
}

// Fingerprint returns the SHA-256 fingerprint of the first certificate in a file.
func Fingerprint(path string) (string, error) {
	certificate, err := readCertificate(path)
	if err != nil {
		return "", err
	}
	return fingerprint(certificate.Raw), nil
}
