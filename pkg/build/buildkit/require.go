package buildkit

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/session/sshforward"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/entitlements"
	digest "github.com/opencontainers/go-digest"
)

// Kinds of requirements of a step.
const (
	RequiresSecret   = "secret"
	RequiresSSH      = "ssh"
	RequiresNetwork  = string(entitlements.EntitlementNetworkHost)
	RequiresInsecure = string(entitlements.EntitlementSecurityInsecure)
)

// Entitlements are what Options.Entitlements can contain.
var Entitlements = []string{RequiresNetwork, RequiresInsecure}

// Requirement is what a RUN step needs and only the user can grant: a secret, an
// SSH agent, the host's network or all privileges.
type Requirement struct {
	Kind string // see RequiresSecret
	ID   string // of a secret or an SSH agent
	Line int    // of the Dockerfile, 1-based; 0 for a trigger of a parent
}

// mayRequire matches Dockerfiles that can have requirements. Most have none, and
// their LLB need not be read.
var mayRequire = regexp.MustCompile(`(?i)type=(secret|ssh)|--(network|security)=`)

// requirements returns what the steps of a definition require. Secrets and agents
// that steps can do without are not part of it.
func requirements(def *llb.Definition) ([]Requirement, error) {
	var out []Requirement
	for _, dt := range def.Def {
		var op pb.Op
		if err := op.UnmarshalVT(dt); err != nil {
			return nil, fmt.Errorf("reading LLB: %w", err)
		}
		exec := op.GetExec()
		if exec == nil {
			continue
		}
		line := 0
		if loc := def.Source.GetLocations()[digest.FromBytes(dt).String()].GetLocations(); len(loc) > 0 && len(loc[0].Ranges) > 0 {
			line = int(loc[0].Ranges[0].Start.Line)
		}
		add := func(kind, id string) { out = append(out, Requirement{kind, id, line}) }
		if exec.Network == pb.NetMode_HOST {
			add(RequiresNetwork, "")
		}
		if exec.Security == pb.SecurityMode_INSECURE {
			add(RequiresInsecure, "")
		}
		for _, m := range exec.Mounts {
			if s := m.SecretOpt; s != nil && !s.Optional {
				add(RequiresSecret, s.ID)
			}
			if s := m.SSHOpt; s != nil && !s.Optional {
				add(RequiresSSH, cmp.Or(s.ID, sshforward.DefaultID))
			}
		}
		for _, s := range exec.Secretenv {
			if !s.Optional {
				add(RequiresSecret, s.ID)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Requirement) int { return a.Line - b.Line })
	return slices.Compact(out), nil
}

// Check returns an error for the first requirement of a Dockerfile that the options
// do not grant. The builder would report it when it gets to the step.
func (o Options) Check(d Dockerfile, required []Requirement) error {
	for _, r := range required {
		var err error
		switch r.Kind {
		case RequiresSecret:
			if !o.Secrets.has(r) {
				err = usererr.Errorf(fmt.Sprintf("add --secret id=%s,src=FILE or --secret id=%[1]s,env=VARIABLE", r.ID), "the secret %s of the step is not given", r.ID)
			}
		case RequiresSSH:
			if !o.Secrets.has(r) {
				err = usererr.Errorf("add --ssh "+r.ID+" or --ssh "+r.ID+"=PATH", "the SSH agent %s of the step is not given", r.ID)
			}
		case RequiresNetwork:
			if !slices.Contains(o.Entitlements, r.Kind) {
				err = usererr.Errorf("add --allow "+r.Kind, "the step requires the host's network, which is not allowed")
			}
		case RequiresInsecure:
			if !slices.Contains(o.Entitlements, r.Kind) {
				err = usererr.Errorf("add --allow "+r.Kind+" if the template can be trusted with root on this machine", "the step requires all privileges of the builder's machine, which are not allowed")
			}
		}
		if err != nil {
			return dockerfile.At(d.Path, d.Content, r.Line, err)
		}
	}
	return nil
}
