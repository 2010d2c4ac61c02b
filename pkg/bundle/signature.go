package bundle

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/usererr"
)

// SignatureName contains the Ed25519 signature of kolla-bundle.json: 64 bytes, in the
// format of openssl pkeyutl.
const SignatureName = "kolla-bundle.sig"

const (
	maxKey = 64 << 10

	adviceSignKey   = "openssl genpkey -algorithm ed25519 -out bundle.key makes one"
	adviceVerifyKey = "openssl pkey -in bundle.key -pubout -out bundle.pub derives it from the private key"
)

// ReadSignKey reads an Ed25519 private key in PEM (PKCS #8).
func ReadSignKey(ctx context.Context, path string) (ed25519.PrivateKey, error) {
	block, err := readPEM(ctx, path, adviceSignKey)
	if err != nil {
		return nil, err
	}
	if block.Type == "PUBLIC KEY" {
		return nil, usererr.Errorf("name the private key from which this one was derived",
			"%s: it is a public key, which verifies signatures", path)
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, usererr.Errorf("decrypt it first: openssl pkey -in "+path+" -out /dev/shm/bundle.key",
			"%s: the private key is encrypted", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, usererr.Errorf(adviceSignKey, "%s: not a private key: %w", path, err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, usererr.Errorf(adviceSignKey, "%s: it is not an Ed25519 key", path)
	}
	return private, nil
}

// ReadVerifyKey reads an Ed25519 public key in PEM (PKIX).
func ReadVerifyKey(ctx context.Context, path string) (ed25519.PublicKey, error) {
	block, err := readPEM(ctx, path, adviceVerifyKey)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return nil, usererr.Errorf(adviceVerifyKey, "%s: it is a private key, which stays where bundles are signed", path)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, usererr.Errorf(adviceVerifyKey, "%s: not a public key: %w", path, err)
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, usererr.Errorf(adviceVerifyKey, "%s: it is not an Ed25519 key", path)
	}
	return public, nil
}

func readPEM(ctx context.Context, path, advice string) (*pem.Block, error) {
	b, err := inputfile.Read(ctx, path, maxKey)
	if err != nil {
		return nil, inputfile.PlainError(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, usererr.Errorf(advice, "%s: it is not a PEM file", path)
	}
	return block, nil
}

// SignatureError reports that a bundle does not have the required signature.
type SignatureError struct {
	Detail   string
	Unsigned bool // it has no signature at all
}

// Error implements error.
func (e *SignatureError) Error() string { return e.Detail }

// Hint returns a hint for the user.
func (e *SignatureError) Hint() string {
	if e.Unsigned {
		return "save it with --sign-key KEY; without --verify-key, no signature is required and content keys do not count"
	}
	return "compare the key with that of the site that saved it; " +
		"without --verify-key, no signature is required and content keys do not count"
}

// CheckSignature checks the signature of a manifest.
func CheckSignature(manifest, signature []byte, key ed25519.PublicKey) error {
	if len(signature) != ed25519.SignatureSize {
		return &FormatError{Member: SignatureName, Detail: fmt.Sprintf(
			"it has %d bytes, not the %d of a signature", len(signature), ed25519.SignatureSize)}
	}
	if !ed25519.Verify(key, manifest, signature) {
		return &SignatureError{Detail: "its signature was made with another key, or " + ManifestName + " was changed"}
	}
	return nil
}
