package buildkit

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

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

// Entitlements are the possible elements of Grants.Entitlements.
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

// requirements returns what the steps of a definition require. Optional secrets and
// agents are not included.
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
		places := def.Source.GetLocations()[digest.FromBytes(dt).String()].GetLocations()
		if len(places) > 0 && len(places[0].Ranges) > 0 {
			line = int(places[0].Ranges[0].Start.Line)
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

// Grants are the secrets, agents and privileges of steps. The zero value grants
// nothing.
type Grants struct {
	Entitlements []string // "network.host" and "security.insecure"
	Secrets      *Secrets // that steps can mount; nil for none
}

// Check returns an error that names all requirements of a Dockerfile that are not granted,
// at the first step that has one. The builder would report only one, when it reaches the
// step.
func (g Grants) Check(d Dockerfile, required []Requirement) error {
	var problem string
	var line int
	var alsoMissing, options []string
	for _, r := range required {
		if g.grants(r) {
			continue
		}
		m := missingOf(r)
		if slices.Contains(options, m.option) {
			continue
		}
		if problem == "" {
			problem, line = m.problem, r.Line
		} else {
			alsoMissing = append(alsoMissing, m.name)
		}
		options = append(options, m.option)
	}
	if problem == "" {
		return nil
	}
	if len(alsoMissing) > 0 {
		problem += "; also missing: " + strings.Join(alsoMissing, ", ")
	}
	hint := "add " + strings.Join(options, " ")
	if strings.Contains(hint, ",src=FILE") {
		hint += " (or env=VARIABLE instead of src=FILE)"
	}
	if slices.ContainsFunc(options, func(o string) bool { return strings.HasSuffix(o, RequiresInsecure) }) {
		hint += " if the template can be trusted with root on this machine"
	}
	return dockerfile.At(d.Path, d.Content, line, usererr.Errorf(hint, "%s", problem))
}

// grants reports whether a requirement is met.
func (g Grants) grants(r Requirement) bool {
	switch r.Kind {
	case RequiresNetwork, RequiresInsecure:
		return slices.Contains(g.Entitlements, r.Kind)
	}
	return g.Secrets.has(r)
}

// missing describes a requirement that is not granted.
type missing struct {
	problem string // as a sentence
	name    string // as an element of a list
	option  string // that grants it
}

func missingOf(r Requirement) missing {
	switch r.Kind {
	case RequiresSecret:
		return missing{
			"the secret " + r.ID + " of the step is not given", "the secret " + r.ID, "--secret id=" + r.ID + ",src=FILE",
		}
	case RequiresSSH:
		return missing{"the SSH agent " + r.ID + " of the step is not given", "the SSH agent " + r.ID, "--ssh " + r.ID}
	case RequiresNetwork:
		return missing{
			"the step requires the host's network, which is not allowed", "the host's network", "--allow " + r.Kind,
		}
	}
	return missing{"the step requires all privileges of the builder's machine, which are not allowed", "all privileges",
		"--allow " + r.Kind}
}
