package buildkit

import (
	"context"
	"errors"
	"io/fs"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	gwpb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
)

// inputsClient stands in for the gateway client that BuildKit's Dockerfile
// frontend expects to talk to. The frontend asks it for named inputs only: the
// build context and the images that FROM and COPY --from name, all of which
// are LLB already. So a Dockerfile converts without a daemon, and a child's
// parent is a piece of LLB instead of an image that was exported and is
// imported again.
type inputsClient struct {
	opts   map[string]string
	inputs map[string]llb.State
}

var errNoDaemon = errors.New("a Dockerfile is converted without a builder")

func (c *inputsClient) BuildOpts() gateway.BuildOpts {
	return gateway.BuildOpts{
		Opts:    c.opts,
		LLBCaps: pb.Caps.CapSet(pb.Caps.All()),
		Caps:    gwpb.Caps.CapSet(gwpb.Caps.All()),
	}
}

func (c *inputsClient) Inputs(context.Context) (map[string]llb.State, error) { return c.inputs, nil }

func (c *inputsClient) Solve(context.Context, gateway.SolveRequest) (*gateway.Result, error) {
	return nil, errNoDaemon
}

func (c *inputsClient) ResolveSourceMetadata(context.Context, *pb.SourceOp, sourceresolver.Opt) (*sourceresolver.MetaResponse, error) {
	return nil, errNoDaemon
}

func (c *inputsClient) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return "", "", nil, &fs.PathError{Op: "resolve image", Path: ref, Err: errNoDaemon}
}

func (c *inputsClient) NewContainer(context.Context, gateway.NewContainerRequest) (gateway.Container, error) {
	return nil, errNoDaemon
}

// Warn drops the linter's warnings: they are about style, and the templates'
// authors are not who reads them here.
func (c *inputsClient) Warn(context.Context, digest.Digest, string, gateway.WarnOpts) error {
	return nil
}
