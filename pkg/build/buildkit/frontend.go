package buildkit

import (
	"context"
	"errors"
	"io/fs"
	"sync"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	gwpb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/apicaps"
	digest "github.com/opencontainers/go-digest"
)

// inputsClient replaces the gateway client of BuildKit's Dockerfile frontend. The
// frontend only requests named inputs from it: the build context and the images of
// FROM and COPY --from, which are LLB already. So a Dockerfile is converted without
// a daemon.
type inputsClient struct {
	opts   map[string]string
	inputs map[string]llb.State
}

// Every supported builder has the capabilities that the frontend may use. Making the
// sets for each image would take longer than the rest of its conversion.
var (
	llbCaps     = sync.OnceValue(func() apicaps.CapSet { return pb.Caps.CapSet(pb.Caps.All()) })
	gatewayCaps = sync.OnceValue(func() apicaps.CapSet { return gwpb.Caps.CapSet(gwpb.Caps.All()) })
)

var errNoDaemon = errors.New("converting a Dockerfile does not use a builder")

func (c *inputsClient) BuildOpts() gateway.BuildOpts {
	return gateway.BuildOpts{
		Opts:    c.opts,
		LLBCaps: llbCaps(),
		Caps:    gatewayCaps(),
	}
}

func (c *inputsClient) Inputs(context.Context) (map[string]llb.State, error) { return c.inputs, nil }

func (c *inputsClient) Solve(context.Context, gateway.SolveRequest) (*gateway.Result, error) {
	return nil, errNoDaemon
}

func (c *inputsClient) ResolveSourceMetadata(context.Context, *pb.SourceOp, sourceresolver.Opt) (
	*sourceresolver.MetaResponse, error) {
	return nil, errNoDaemon
}

func (c *inputsClient) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (
	string, digest.Digest, []byte, error) {
	return "", "", nil, &fs.PathError{Op: "resolve image", Path: ref, Err: errNoDaemon}
}

func (c *inputsClient) NewContainer(context.Context, gateway.NewContainerRequest) (gateway.Container, error) {
	return nil, errNoDaemon
}

// Warn is not called: the frontend's own client would send the linter's warnings with it.
// See Definition.Warnings.
func (c *inputsClient) Warn(context.Context, digest.Digest, string, gateway.WarnOpts) error {
	return nil
}
