package buildkit

import (
	"context"
	"fmt"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
)

// trustDir is where steps find the certificate that they must trust. Layers do not
// contain it.
const trustDir = "/run/kolla-build/trust"

// trustVariables name the certificate to programs. It is not added to the trust store
// of the image, since that would change the image.
var trustVariables = []string{
	"SSL_CERT_FILE",       // OpenSSL, Go
	"CURL_CA_BUNDLE",      // curl
	"GIT_SSL_CAINFO",      // git
	"REQUESTS_CA_BUNDLE",  // Python's requests
	"PIP_CERT",            // pip
	"NODE_EXTRA_CA_CERTS", // Node.js
	"CARGO_HTTP_CAINFO",   // cargo
}

// addTrust returns def with RUN steps that trust a certificate authority, given as
// PEM.
func addTrust(ctx context.Context, def *llb.Definition, ca []byte) (*llb.Definition, error) {
	apt := fmt.Appendf(nil, "Acquire::https::CAInfo \"%s/ca.pem\";\n", trustDir)
	files := llb.Scratch().
		File(llb.Mkfile("/ca.pem", 0o644, ca, llb.WithCreatedTime(Epoch)),
			llb.WithCustomName("[internal] certificate of the step proxy")).
		File(llb.Mkfile("/apt.conf", 0o644, apt, llb.WithCreatedTime(Epoch)),
			llb.WithCustomName("[internal] certificate of the step proxy for apt"))
	var dir digest.Digest
	return rewriteSteps(def, func(out *llb.Definition, op *pb.Op, exec *pb.ExecOp) (bool, error) {
		if exec.Network == pb.NetMode_NONE {
			return false, nil
		}
		if dir == "" {
			var err error
			if dir, err = addState(ctx, out, files); err != nil {
				return false, fmt.Errorf("adding a certificate: %w", err)
			}
		}
		op.Inputs = append(op.Inputs, &pb.Input{Digest: dir.String()})
		exec.Mounts = append(exec.Mounts,
			&pb.Mount{Dest: trustDir, Input: int64(len(op.Inputs) - 1), Output: int64(pb.SkipOutput), Readonly: true})
		exec.Meta.RemoveMountStubsRecursive = true
		for _, name := range trustVariables {
			addVariable(exec.Meta, name, trustDir+"/ca.pem")
		}
		addVariable(exec.Meta, "APT_CONFIG", trustDir+"/apt.conf")
		return true, nil
	})
}
