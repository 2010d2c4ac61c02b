package server

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/usererr"
)

// addressFile contains the address that a registry with a generated certificate listens on.
const addressFile = "address"

// Authority describes the generated certificates of a registry to hosts that connect to it.
type Authority struct {
	File        string            // the certificate of the authority, PEM
	Fingerprint string            // its SHA-256 fingerprint, as in `openssl x509 -fingerprint -sha256`
	Server      *x509.Certificate // the certificate of the registry
	Addr        string            // the address that the registry listened on when it was last started, or ""
}

// AuthorityFile returns the file with the certificate of a registry's generated
// authority.
func AuthorityFile(dir string) string { return filepath.Join(dir, tlsDir, "ca.crt") }

// ReadAuthority reads the generated certificates in a registry's directory. The error has
// a hint if there are none.
func ReadAuthority(dir string) (*Authority, error) {
	a := &Authority{File: AuthorityFile(dir)}
	authority, err := readCertificate(a.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usererr.Errorf("start the registry with --tls-generate, or name its directory with --dir",
			"registry %s has no generated certificate", dir)
	}
	if err != nil {
		return nil, err
	}
	a.Fingerprint = fingerprint(authority.Raw)
	if a.Server, err = readCertificate(filepath.Join(dir, tlsDir, "server.crt")); err != nil {
		return nil, err
	}
	if addr, err := inputfile.ReadRegular(filepath.Join(dir, tlsDir, addressFile), inputfile.MaxState); err == nil {
		a.Addr = strings.TrimSpace(string(addr))
	}
	return a, nil
}

// recordAddr stores the address that a registry with a generated certificate listens on.
func recordAddr(dir, addr string) error {
	path := filepath.Join(dir, tlsDir, addressFile)
	content := []byte(addr + "\n")
	if before, err := inputfile.ReadRegular(path, inputfile.MaxState); err == nil && bytes.Equal(before, content) {
		return nil
	}
	return atomicfile.WriteFile(path, content, atomicfile.Options{Mode: 0o644})
}

func readCertificate(path string) (*x509.Certificate, error) {
	raw, err := inputfile.ReadRegular(path, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("reading certificate %s: %w", path, err)
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("reading certificate %s: it is not PEM", path)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading certificate %s: %w", path, err)
	}
	return certificate, nil
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = strings.ToUpper(hex.EncodeToString([]byte{b}))
	}
	return strings.Join(parts, ":")
}
