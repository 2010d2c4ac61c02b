package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const self = "kolla-build"

type realSelf struct {
	s        *realSet
	dir      string
	registry *realRegistry
}

// newRealSelf returns this program as a contender.
func (s *realSet) newRealSelf() *realSelf {
	return &realSelf{s: s, dir: filepath.Join(s.dir, "kolla-build")}
}

func (o *realSelf) name() string { return self }

func (o *realSelf) reset(ctx context.Context) error {
	o.clear()
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(o.dir, "data"), os.DirFS(o.s.base)); err != nil {
		return err
	}
	var err error
	o.registry, err = o.s.newRegistry(ctx, o.dir)
	return err
}

// failedOutput is the output of a run that failed, without the list of images that
// were not selected.
func failedOutput(out string) string {
	out, _, _ = strings.Cut(out, "Images not matched")
	return lastLines(out, 30)
}

func (o *realSelf) build(ctx context.Context, override string) (usage, error) {
	data := filepath.Join(o.dir, "data")
	args := []string{
		"--push", "--engine", "none", "--progress", "plain", "--debug",
		"--data-dir", data, "--buildkitd", o.s.b.buildkitd,
	}
	cmd := exec.Command(o.s.b.tool, append(args, o.s.args(o.registry.host, override)...)...)
	cmd.Dir = o.dir
	stop := watchBuilder(data)
	u, err := measure(ctx, cmd)
	u.builderPeak = stop()
	if cmd.ProcessState != nil {
		u.total = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	u.note = lineWith(u.out, "time: ")
	if err != nil {
		err = fmt.Errorf("%s failed:\n%s", self, failedOutput(u.out))
	}
	return u, err
}

func (o *realSelf) pushed() (int64, error) { return o.registry.size() }

func (o *realSelf) close() { o.clear() }

func (o *realSelf) clear() {
	if o.registry != nil {
		o.registry.stop()
	}
	os.RemoveAll(o.dir)
}
