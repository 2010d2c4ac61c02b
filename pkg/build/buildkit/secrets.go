package buildkit

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/session/sshforward/sshprovider"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/usererr"
)

// Secrets are the secrets and SSH agents that RUN steps can mount. They reach
// steps through the session alone: they are part of no key and of no image.
type Secrets struct {
	values map[string][]byte
	agents map[string]bool
	ssh    session.Attachable // nil without agents
	masked [][]byte           // texts that are removed from the output of steps, longest first
}

const (
	secretSyntax = "write --secret id=NAME,src=FILE or --secret id=NAME,env=VARIABLE"
	sshSyntax    = "write --ssh default for the agent of SSH_AUTH_SOCK, or --ssh ID=PATH for a socket or a private key"
)

// minMasked is the length in bytes of the shortest text that is removed from the
// output of steps. Shorter ones occur by chance.
const minMasked = 6

// OpenSecrets reads the secrets and connects the agents that options name, as for
// docker buildx build: id=NAME,src=FILE or id=NAME,env=VARIABLE, and default, ID or
// ID=PATH[,PATH…]. Values are read once, so that a pipe can be named.
func OpenSecrets(ctx context.Context, secrets, agents []string, getenv func(string) string) (*Secrets, error) {
	return openSecrets(ctx, secrets, agents, getenv, readSecret)
}

// CheckSecrets returns the errors that OpenSecrets would return. It does not read pipes: what was
// read is not there for the build.
func CheckSecrets(ctx context.Context, secrets, agents []string, getenv func(string) string) (*Secrets, error) {
	return openSecrets(ctx, secrets, agents, getenv, func(ctx context.Context, file string) ([]byte, error) {
		if info, err := os.Stat(file); err == nil && info.Mode().Type() == os.ModeNamedPipe {
			return nil, nil
		}
		return readSecret(ctx, file)
	})
}

func openSecrets(ctx context.Context, secrets, agents []string, getenv func(string) string,
	read func(context.Context, string) ([]byte, error)) (*Secrets, error) {
	s := &Secrets{values: map[string][]byte{}, agents: map[string]bool{}}
	for _, text := range secrets {
		if err := s.addSecret(ctx, text, getenv, read); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(s.masked, func(a, b []byte) int { return len(b) - len(a) })
	return s, s.addAgents(agents, getenv)
}

// NameSecrets returns secrets and agents with names only, to find out which ones a
// build lacks. It does not read values or connect to agents.
func NameSecrets(_ context.Context, secrets, agents []string, getenv func(string) string) (*Secrets, error) {
	s := &Secrets{values: map[string][]byte{}, agents: map[string]bool{}}
	for _, text := range secrets {
		o, err := parseSecret(text, getenv)
		if err != nil {
			return nil, err
		}
		s.values[o.id] = nil
	}
	for _, text := range agents {
		id, _, _ := strings.Cut(text, "=")
		s.agents[id] = true
	}
	return s, nil
}

// secretOption is a parsed --secret option. Its value is in a file or in a variable.
type secretOption struct{ id, file, variable string }

// addSecret adds the secret of an option.
func (s *Secrets) addSecret(ctx context.Context, text string, getenv func(string) string,
	read func(context.Context, string) ([]byte, error)) error {
	o, err := parseSecret(text, getenv)
	if err != nil {
		return err
	}
	if _, twice := s.values[o.id]; twice {
		return fmt.Errorf("--secret id=%s is given twice", o.id)
	}
	value := []byte(getenv(o.variable))
	if o.file != "" {
		if value, err = read(ctx, o.file); err != nil {
			return fmt.Errorf("--secret id=%s: %w", o.id, err)
		}
	} else if len(value) == 0 {
		return fmt.Errorf("--secret id=%s: the variable %s is not set", o.id, o.variable)
	}
	s.values[o.id] = value
	s.mask(value)
	return nil
}

// parseSecret parses an option. Errors do not repeat it: a user may have written the
// secret itself into it.
func parseSecret(text string, getenv func(string) string) (secretOption, error) {
	var o secretOption
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return o, usererr.Errorf(secretSyntax, "--secret: not a list of KEY=VALUE")
	}
	kind := ""
	for _, field := range fields {
		key, value, found := strings.Cut(field, "=")
		if !found {
			return o, usererr.Errorf(secretSyntax, "--secret: a field is not KEY=VALUE")
		}
		switch strings.ToLower(key) {
		case "id":
			o.id = value
		case "src", "source":
			o.file = value
		case "env":
			o.variable = value
		case "type":
			kind = value
		default:
			return o, usererr.Errorf(secretSyntax, "--secret: unknown key %q", key)
		}
	}
	switch kind {
	case "", "file":
	case "env":
		if o.variable == "" {
			o.variable, o.file = o.file, ""
		}
	default:
		return o, usererr.Errorf("the types are file and env", "--secret: unknown type %q", kind)
	}
	if o.id == "" {
		return o, usererr.Errorf(secretSyntax, "--secret: no id")
	}
	if o.file == "" && o.variable == "" {
		// As docker buildx does.
		if o.variable = o.id; getenv(o.id) == "" {
			o.variable, o.file = "", o.id
		}
	}
	if o.variable != "" && o.file != "" {
		return o, usererr.Errorf(secretSyntax, "--secret id=%s has both a file and a variable", o.id)
	}
	return o, nil
}

// readSecret reads a file of at most the size that a session can send.
func readSecret(ctx context.Context, file string) ([]byte, error) {
	value, err := inputfile.Read(ctx, file, secretsprovider.MaxSecretSize)
	var large *inputfile.TooLargeError
	if errors.As(err, &large) {
		err = fmt.Errorf("%s is larger than %d KiB", file, secretsprovider.MaxSecretSize>>10)
	}
	return value, inputfile.PlainError(err)
}

// mask adds the lines of a secret to the texts that are removed from the output of
// steps.
func (s *Secrets) mask(value []byte) {
	for line := range bytes.Lines(value) {
		if line = bytes.TrimSpace(line); len(line) >= minMasked {
			s.masked = append(s.masked, bytes.Clone(line))
		}
	}
}

// addAgents connects agents. Each is opened on its own, for errors that name it.
func (s *Secrets) addAgents(agents []string, getenv func(string) string) error {
	var configs []sshprovider.AgentConfig
	for _, text := range agents {
		id, paths, _ := strings.Cut(text, "=")
		if id == "" {
			return usererr.Errorf(sshSyntax, "--ssh %q: no id", text)
		}
		if s.agents[id] {
			return fmt.Errorf("--ssh %s is given twice", id)
		}
		s.agents[id] = true
		conf := sshprovider.AgentConfig{ID: id}
		if paths != "" {
			conf.Paths = strings.Split(paths, ",")
		} else if socket := getenv("SSH_AUTH_SOCK"); socket != "" {
			conf.Paths = []string{socket}
		} else {
			return usererr.Errorf("start one with `eval $(ssh-agent)` and ssh-add, or write --ssh ID=PATH of a private key",
				"--ssh %s: no SSH agent runs (SSH_AUTH_SOCK is not set)", text)
		}
		for _, path := range conf.Paths {
			if err := checkAgent(path); err != nil {
				return usererr.Errorf(sshSyntax, "--ssh %s: %w", text, err)
			}
		}
		if _, err := sshprovider.NewSSHAgentProvider([]sshprovider.AgentConfig{conf}); err != nil {
			return usererr.Errorf(sshSyntax, "--ssh %s: %w", text, rootCause(err))
		}
		configs = append(configs, conf)
	}
	if len(configs) == 0 {
		return nil
	}
	var err error
	s.ssh, err = sshprovider.NewSSHAgentProvider(configs)
	return err
}

// checkAgent returns an error for a path that is neither a socket nor a file with a key. The
// library would wait for the writer of a named pipe, and reads each file twice.
func checkAgent(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Type() != 0 && info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is neither a socket nor a regular file", path)
	}
	return inputfile.PlainError(err)
}

// rootCause returns the innermost error, without the context that a library added.
func rootCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		var path *os.PathError
		if errors.As(err, &path) {
			return inputfile.PlainError(path)
		}
		err = inner
	}
}

// attach makes the secrets available in a session.
func (s *Secrets) attach(to *session.Session) {
	if s == nil {
		return
	}
	to.Allow(secretsprovider.FromMap(s.values))
	if s.ssh != nil {
		to.Allow(s.ssh)
	}
}

// has reports whether a step's requirement is met.
func (s *Secrets) has(r Requirement) bool {
	switch {
	case s == nil:
		return false
	case r.Kind == RequiresSecret:
		_, ok := s.values[r.ID]
		return ok
	}
	return s.agents[r.ID]
}

// Occurs reports whether a text contains a secret, or a line of one.
func (s *Secrets) Occurs(text []byte) bool {
	return s != nil && slices.ContainsFunc(s.masked, func(m []byte) bool { return bytes.Contains(text, m) })
}

// redact returns a text without the lines of secrets.
func (s *Secrets) redact(text []byte) []byte {
	if s == nil {
		return text
	}
	for _, m := range s.masked {
		text = bytes.ReplaceAll(text, m, []byte("***"))
	}
	return text
}

// longest returns the length in bytes of the longest text that Redact removes.
func (s *Secrets) longest() int {
	if s == nil || len(s.masked) == 0 {
		return 0
	}
	return len(s.masked[0])
}

// cut returns how many bytes of the beginning of a line can be redacted on their own:
// no secret extends beyond them, even if the line continues.
func (s *Secrets) cut(line []byte) int {
	if s.longest() == 0 {
		return len(line)
	}
	at := len(line) - s.longest()
	for moved := true; moved && at > 0; {
		moved = false
		for _, m := range s.masked {
			start := max(0, at-len(m)+1)
			if i := bytes.Index(line[start:min(len(line), at+len(m)-1)], m); i >= 0 {
				at, moved = start+i, true
			}
		}
	}
	if at <= 0 { // the line is nothing but a secret
		return len(line)
	}
	return at
}
