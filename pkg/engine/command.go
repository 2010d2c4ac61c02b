package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"

	"github.com/kolla-build/kolla-build/internal/child"
)

// command is Podman without its service: the podman program on this host, which
// uses the storage of the user that runs it.
type command struct{ bin string }

// podmanProcesses limits the processes of one podman command. It starts a few
// helpers for user namespaces and storage.
const podmanProcesses = 100

func (c *command) addr() string { return c.bin }

func (c *command) close() {}

func (c *command) run(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	out := &child.Buffer{Limit: maxAnswer}
	err := c.stream(ctx, in, out, args...)
	return out.Bytes(), err
}

// stream runs podman and writes its output to out.
func (c *command) stream(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
	var messages child.Tail
	cmd := child.Cmd{Args: append([]string{c.bin}, args...), Stdin: in, Stdout: out, Stderr: &messages,
		Limits: child.Limits{Processes: podmanProcesses}}
	err := cmd.Run(ctx)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	text := messages.String()
	if i := strings.LastIndex(text, "Error: "); i >= 0 {
		text = text[i+len("Error: "):]
	}
	if text == "" {
		text = exit.String()
	}
	return newAnswerError(0, text)
}

func (c *command) about(ctx context.Context) (about, error) {
	out, err := c.run(ctx, nil, "version", "--format", "{{.Client.Version}}")
	version, _, _ := strings.Cut(strings.TrimSpace(string(out)), "+")
	return about{version: version, podman: true}, err
}

func (c *command) list(ctx context.Context) ([]listedImage, error) {
	out, err := c.run(ctx, nil, "images", "--no-trunc", "--format", "json")
	if err != nil {
		return nil, err
	}
	return readList(bytes.NewReader(out))
}

func (c *command) inspect(ctx context.Context, name string) (*imageInfo, error) {
	out, err := c.run(ctx, nil, "image", "inspect", name)
	var answer *answerError
	if errors.As(err, &answer) &&
		(strings.Contains(answer.message, "no such image") || strings.Contains(answer.message, "image not known")) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var images []struct {
		ID     string `json:"Id"`
		RootFS struct{ Layers []string }
	}
	if err := json.Unmarshal(out, &images); err != nil || len(images) == 0 {
		return nil, err
	}
	return &imageInfo{id: hexOf(images[0].ID), layers: images[0].RootFS.Layers}, nil
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
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(c.stream(ctx, nil, w, "save", "--quiet", "--format", "docker-archive", ref))
	}()
	return &savedImage{r, cancel, done}, nil
}

// savedImage is the output of podman save. At its end, Read returns the error of
// the command.
type savedImage struct {
	*io.PipeReader
	cancel context.CancelFunc
	ended  chan struct{}
}

// Close stops the command and waits for its end.
func (s *savedImage) Close() error {
	s.cancel()
	err := s.PipeReader.Close()
	<-s.ended
	return err
}
