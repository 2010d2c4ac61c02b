package buildkit

import (
	"context"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/proto"
)

// rewriteSteps returns a definition with edited RUN steps. edit reports whether it
// changed a step, and may add further states to the new definition.
func rewriteSteps(def *llb.Definition, edit func(out *llb.Definition, op *pb.Op, exec *pb.ExecOp) (bool, error)) (
	*llb.Definition, error) {
	out := &llb.Definition{Metadata: map[digest.Digest]llb.OpMetadata{}, Constraints: def.Constraints}
	replaced := map[string]string{} // new digests of ops, by the old ones
	for _, dt := range def.Def {
		var op pb.Op
		if err := op.UnmarshalVT(dt); err != nil {
			return nil, err
		}
		before := digest.FromBytes(dt)
		changed := false
		for _, in := range op.Inputs {
			if replacement, ok := replaced[in.Digest]; ok {
				in.Digest, changed = replacement, true
			}
		}
		if exec := op.GetExec(); exec != nil {
			edited, err := edit(out, &op, exec)
			if err != nil {
				return nil, err
			}
			changed = changed || edited
		}
		replacement := before
		if changed {
			var err error
			if dt, err = (proto.MarshalOptions{Deterministic: true}).Marshal(&op); err != nil {
				return nil, err
			}
			replacement = digest.FromBytes(dt)
			replaced[before.String()] = replacement.String()
		}
		out.Def = append(out.Def, dt)
		if md, ok := def.Metadata[before]; ok {
			out.Metadata[replacement] = md
		}
	}
	out.Source = &pb.Source{Infos: def.Source.GetInfos(), Locations: map[string]*pb.Locations{}}
	for d, loc := range def.Source.GetLocations() {
		if replacement, ok := replaced[d]; ok {
			d = replacement
		}
		out.Source.Locations[d] = loc
	}
	return out, nil
}

// addVariables returns a definition whose RUN steps have variables, as NAME=VALUE.
func addVariables(def *llb.Definition, variables []string) (*llb.Definition, error) {
	return rewriteSteps(def, func(_ *llb.Definition, _ *pb.Op, exec *pb.ExecOp) (bool, error) {
		for _, v := range variables {
			name, value, _ := strings.Cut(v, "=")
			addVariable(exec.Meta, name, value)
		}
		return true, nil
	})
}

// addVariable adds an environment variable that the step does not have.
func addVariable(meta *pb.Meta, name, value string) {
	for _, kv := range meta.Env {
		if strings.HasPrefix(kv, name+"=") {
			return
		}
	}
	meta.Env = append(meta.Env, name+"="+value)
}

// addState adds a state to a definition, and returns its digest.
func addState(ctx context.Context, def *llb.Definition, st llb.State) (digest.Digest, error) {
	var opts []llb.ConstraintsOpt
	if c := def.Constraints; c != nil && c.Platform != nil {
		opts = append(opts, llb.Platform(*c.Platform))
	}
	marshaled, err := st.Marshal(ctx, opts...)
	if err != nil {
		return "", err
	}
	head, err := marshaled.Head()
	if err != nil {
		return "", err
	}
	for _, dt := range marshaled.Def[:len(marshaled.Def)-1] { // the last one names the result
		def.Def = append(def.Def, dt)
		d := digest.FromBytes(dt)
		def.Metadata[d] = marshaled.Metadata[d]
	}
	return head, nil
}
