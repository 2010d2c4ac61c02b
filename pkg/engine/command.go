package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"time"
)

// command is Podman without its service: the podman program on this host, which
// uses the storage of the user that runs it.
type command struct{ bin string }

func (c *command) where() string { return c.bin }

func (c *command) close() {}

func (c *command) run(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.bin, args...)
	cmd.WaitDelay = 5 * time.Second
	var out, says bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &says
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		text := strings.TrimSpace(says.String())
		if i := strings.LastIndex(text, "Error: "); i >= 0 {
			text = text[i+len("Error: "):]
		}
		if text == "" {
			text = exit.String()
		}
		return nil, &answerError{says: text}
	}
	return out.Bytes(), err
}

func (c *command) about(ctx context.Context) (about, error) {
	out, err := c.run(ctx, nil, "version", "--format", "{{.Client.Version}}")
	version, _, _ := strings.Cut(strings.TrimSpace(string(out)), "+")
	return about{version: version, podman: true}, err
}

func (c *command) list(ctx context.Context) ([]listed, error) {
	out, err := c.run(ctx, nil, "images", "--no-trunc", "--format", "json")
	if err != nil {
		return nil, err
	}
	var answer []struct {
		ID    string `json:"Id"`
		Names []string
	}
	if len(bytes.TrimSpace(out)) > 0 {
		if err := json.Unmarshal(out, &answer); err != nil {
			return nil, err
		}
	}
	var all []listed
	for _, im := range answer {
		all = append(all, listed{id: hexOf(im.ID), refs: im.Names})
	}
	return all, nil
}

func (c *command) inspect(ctx context.Context, name string) (*inspected, error) {
	out, err := c.run(ctx, nil, "image", "inspect", name)
	var refused *answerError
	if errors.As(err, &refused) && (strings.Contains(refused.says, "no such image") || strings.Contains(refused.says, "image not known")) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var answer []struct {
		ID     string `json:"Id"`
		RootFS struct{ Layers []string }
	}
	if err := json.Unmarshal(out, &answer); err != nil || len(answer) == 0 {
		return nil, err
	}
	return &inspected{id: hexOf(answer[0].ID), layers: answer[0].RootFS.Layers}, nil
}

func (c *command) load(ctx context.Context, archive io.Reader) error {
	_, err := c.run(ctx, archive, "load", "--quiet")
	return err
}

func (c *command) tag(ctx context.Context, id, ref string) error {
	_, err := c.run(ctx, nil, "tag", id, ref)
	return err
}

func (c *command) save(ctx context.Context, ref string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, c.bin, "save", "--quiet", "--format", "docker-archive", ref)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &saved{ReadCloser: out, cmd: cmd, cancel: cancel}, nil
}

// saved is the output of a podman save. Reading it to its end tells whether the
// command was content.
type saved struct {
	io.ReadCloser
	cmd    *exec.Cmd
	cancel context.CancelFunc
	ended  bool
}

func (s *saved) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) && !s.ended {
		s.ended = true
		if werr := s.cmd.Wait(); werr != nil {
			return n, werr
		}
	}
	return n, err
}

func (s *saved) Close() error {
	s.cancel()
	if s.ended { // and Wait has closed the pipe
		return nil
	}
	s.ended = true
	err := s.ReadCloser.Close()
	_ = s.cmd.Wait() // it was stopped by us
	return err
}
