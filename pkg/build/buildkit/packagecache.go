package buildkit

import (
	"context"
	_ "embed"
	"fmt"
	"regexp"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
)

// The paths of the cache and of the command that uses it, in steps that install
// packages. Layers contain neither.
const (
	cacheDir  = "/run/kolla-build/cache"
	cacheTool = "/run/kolla-build/tool"
)

//go:embed with-cache.sh
var withCache []byte

var (
	callsApt = regexp.MustCompile(`(?:^|[\s;&|(/"'])(?:apt-get|apt|aptitude)\s[^;&|]*?` +
		`\b(install|update|upgrade|dist-upgrade|full-upgrade|build-dep|source|download)\b`)
	callsDnf  = regexp.MustCompile(`(?:^|[\s;&|(/"'])(?:dnf|dnf5|yum|microdnf)\s`)
	callsPip  = regexp.MustCompile(`(?:^|[\s;&|(/"'])pip[0-9.]*\s[^;&|]*?\b(?:install|wheel|download)\b`)
	pipBypass = regexp.MustCompile(`\s--no-cache-dir\b`)
)

// cachesOf returns the caches that a step's command can use, by their names in
// with-cache.sh.
func cachesOf(args []string) []string {
	command := strings.Join(args, " ")
	var caches []string
	if calls := callsApt.FindAllStringSubmatch(command, -1); calls != nil {
		caches = append(caches, "apt")
		var updates, installs bool
		for _, c := range calls {
			updates = updates || c[1] == "update"
			installs = installs || c[1] != "update"
		}
		// A step that only fetches package lists fetches them into the image for later
		// steps, and a step that only installs reads them from the image. Only a step
		// that does both can use cached lists.
		if updates && installs {
			caches = append(caches, "lists")
		}
	}
	if callsDnf.MatchString(command) {
		caches = append(caches, "dnf")
	}
	if callsPip.MatchString(command) {
		caches = append(caches, "pip")
	}
	return caches
}

// addPackageCaches returns def with a cache mount on each step that calls a
// package manager and declares no cache mount. scope names the cache, whose
// content is for one distribution and architecture.
func addPackageCaches(ctx context.Context, def *llb.Definition, scope string) (*llb.Definition, error) {
	var tool digest.Digest
	return rewriteSteps(def, func(out *llb.Definition, op *pb.Op, exec *pb.ExecOp) (bool, error) {
		if hasCache(exec) {
			return false, nil
		}
		caches := cachesOf(exec.Meta.Args)
		if caches == nil {
			return false, nil
		}
		if tool == "" {
			scripts := llb.Scratch().File(llb.Mkfile("/with-cache", 0o755, withCache, llb.WithCreatedTime(Epoch)),
				llb.WithCustomName("[internal] package cache"))
			var err error
			if tool, err = addState(ctx, out, scripts); err != nil {
				return false, fmt.Errorf("adding package caches: %w", err)
			}
		}
		cached(op, exec, caches, tool, scope)
		return true, nil
	})
}

func hasCache(exec *pb.ExecOp) bool {
	for _, m := range exec.Mounts {
		if m.MountType == pb.MountType_CACHE {
			return true
		}
	}
	return false
}

// cached makes a step run in with-cache.sh, with the cache mounted.
func cached(op *pb.Op, exec *pb.ExecOp, caches []string, tool digest.Digest, scope string) {
	op.Inputs = append(op.Inputs, &pb.Input{Digest: tool.String()})
	exec.Mounts = append(exec.Mounts,
		&pb.Mount{Dest: cacheDir, Input: int64(pb.Empty), Output: int64(pb.SkipOutput), MountType: pb.MountType_CACHE,
			CacheOpt: &pb.CacheOpt{ID: "kolla-build/packages/" + scope, Sharing: pb.CacheSharingOpt_SHARED}},
		&pb.Mount{Dest: cacheTool, Input: int64(len(op.Inputs) - 1), Output: int64(pb.SkipOutput), Readonly: true})
	exec.Meta.RemoveMountStubsRecursive = true
	args := []string{cacheTool + "/with-cache", strings.Join(caches, ",")}
	for _, a := range exec.Meta.Args {
		if strings.Contains(","+args[1]+",", ",pip,") {
			a = pipBypass.ReplaceAllString(a, "")
		}
		args = append(args, a)
	}
	exec.Meta.Args = args
}
