package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/child"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/units"
)

// Limits for one git command. A clone of the largest repository of OpenStack takes
// 2 minutes, 1 GiB and 6 processes.
const (
	gitTime      = time.Hour
	gitMemory    = 8 << 30
	gitProcesses = 64
	gitFile      = 32 << 30 // bytes of a pack or file
	gitOutput    = 64 << 20 // bytes, such as the list of all tags

	// gitIdle is how often the time limit without a byte a fetch may take at less than 1 KiB a
	// second, and gitIdleFloor is at least allowed: a server may send only signs of life while it
	// prepares a large pack. Commands for which it prepares nothing have the time limit itself. git
	// limits only servers that send nothing over HTTP, and ssh may wait for an agent.
	gitIdle      = 5
	gitIdleFloor = 10 * time.Minute
)

// gitCommand runs the system's git for one remote repository.
type gitCommand struct {
	opts     Options
	location string        // of the remote, with credentials
	workTree string        // the directory to run in
	trace    string        // the file for packet traces, see probe
	stdin    io.Reader     // nil for none
	stdout   io.Writer     // nil returns the output
	idle     time.Duration // instead of Options.idleLimit, see child.Limits

	noLazyFetch bool     // do not fetch missing objects on demand
	submodule   bool     // the location is one that a repository names
	filters     []string // of the user, which must not change files
}

// gitLocation matches variables that select a repository, or change how one is read and written.
// Some of them are set if git runs this program as a hook.
var gitLocation = regexp.MustCompile(`^GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|` +
	`ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|NAMESPACE|PREFIX|CONFIG|CONFIG_COUNT|CONFIG_PARAMETERS|` +
	`CEILING_DIRECTORIES|TRACE\w*|QUARANTINE_PATH|INTERNAL_\w+|INDEX_VERSION|SHALLOW_FILE|GRAFT_FILE|` +
	`REPLACE_REF_BASE|DEFAULT_\w+|TEMPLATE_DIR|ATTR_SOURCE|\w+_PATHSPECS)=`)

// credentialHelper is a helper of git that prints the login of its environment.
const credentialHelper = `!f() { [ "$1" = get ] && ` +
	`printf 'username=%s\npassword=%s\n' "$KOLLA_BUILD_GIT_USER" "$KOLLA_BUILD_GIT_PASSWORD"; }; f`

// run runs git and returns its output. Errors have git's own messages, without
// credentials.
func (g *gitCommand) run(ctx context.Context, args ...string) (string, error) {
	output := &child.Buffer{Limit: gitOutput}
	var out io.Writer = output
	if g.stdout != nil {
		out = g.stdout
	}
	var messages child.Tail
	cmd := child.Cmd{
		Args:   append([]string{"git"}, args...),
		Dir:    g.workTree,
		Env:    g.environment(),
		Stdin:  g.stdin,
		Stdout: out,
		Stderr: &messages,
		Limits: child.Limits{
			Time:      max(gitTime, g.opts.MaxElapsed),
			Memory:    gitMemory,
			Processes: gitProcesses,
			FileSize:  gitFile,
			Idle:      cmp.Or(g.idle, g.opts.idleLimit()),
		},
	}
	err := cmd.Run(ctx)
	var exit *exec.ExitError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("git is not installed: %w", err)
	case errors.As(err, &exit):
		return "", &gitError{command: args[0], output: redact.Text(messages.String(), g.location), err: err}
	case err != nil:
		return "", err
	}
	return output.String(), nil
}

// environment returns git's environment. Everything about the remote is passed in it,
// because all users of a machine can read the arguments of git and of the programs that
// it starts.
func (g *gitCommand) environment() []string {
	remote, login := splitLogin(g.location)
	config := [][2]string{
		{"remote.origin.url", remote},
		{"core.autocrlf", "false"}, {"core.hooksPath", os.DevNull}, {"core.fsmonitor", "false"},
		{"gc.auto", "0"}, {"maintenance.auto", "false"}, {"advice.detachedHead", "false"}, {"init.defaultBranch", "master"},
		{"http.lowSpeedLimit", "1"}, {"http.lowSpeedTime", strconv.Itoa(max(1, int(g.opts.Timeout/time.Second)))},
		{"protocol.ext.allow", "never"},
		// Settings of the user, and the number of processors, must not change the
		// bytes of packs and of the index.
		{"pack.threads", "1"}, {"pack.window", "10"}, {"pack.depth", "50"}, {"pack.windowMemory", "0"},
		{"pack.compression", "-1"}, {"core.compression", "-1"}, {"core.looseCompression", "1"},
		{"pack.indexVersion", "2"}, {"pack.writeReverseIndex", "false"},
		{"index.version", "2"}, {"index.threads", "1"}, {"index.skipHash", "false"}, {"index.sparse", "false"},
		{"core.untrackedCache", "false"}, {"core.splitIndex", "false"},
		{"core.bigFileThreshold", "512m"}, {"pack.packSizeLimit", "0"},
		// Nor the files.
		{"core.attributesFile", os.DevNull}, {"core.eol", "lf"}, {"core.symlinks", "true"}, {"core.fileMode", "true"},
		{"log.showSignature", "false"}, // git log would print what gpg says before the time of a commit
	}
	for _, name := range g.filters {
		for _, program := range []string{"smudge", "clean", "process"} {
			config = append(config, [2]string{"filter." + name + "." + program, ""})
		}
		config = append(config, [2]string{"filter." + name + ".required", "false"})
	}
	var env []string
	for _, kv := range os.Environ() {
		if !gitLocation.MatchString(kv) {
			env = append(env, kv)
		}
	}
	if g.submodule {
		// Settings that allow paths and other programs are for locations that the user writes.
		config = append(config, [2]string{"protocol.file.allow", "user"})
		env = append(env, "GIT_PROTOCOL_FROM_USER=0")
		if allowed, ok := os.LookupEnv("GIT_ALLOW_PROTOCOL"); ok {
			env = append(env, "GIT_ALLOW_PROTOCOL="+remoteProtocols(allowed))
		}
	}
	if login != nil && login.Username() != "" {
		config = append(config, [2]string{"credential." + origin(remote) + ".username", login.Username()})
	}
	if password, ok := login.Password(); ok {
		scope := "credential." + origin(remote) + ".helper"
		// The empty value removes the user's own helpers for this server.
		config = append(config, [2]string{scope, ""}, [2]string{scope, credentialHelper})
		env = append(env, "KOLLA_BUILD_GIT_USER="+login.Username(), "KOLLA_BUILD_GIT_PASSWORD="+password)
	}
	// The repository must be the one in the directory: otherwise git may use the remote
	// "origin" of a repository that contains it.
	env = append(env, "LC_ALL=C", "GIT_CEILING_DIRECTORIES="+filepath.Dir(g.workTree), "GIT_TERMINAL_PROMPT=0", "GIT_ATTR_NOSYSTEM=1",
		"GIT_CONFIG_COUNT="+strconv.Itoa(len(config)))
	for i, kv := range config {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, kv[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, kv[1]))
	}
	if g.noLazyFetch {
		env = append(env, "GIT_NO_LAZY_FETCH=1")
	}
	if g.trace != "" {
		env = append(env, "GIT_TRACE_PACKET="+g.trace)
	}
	if os.Getenv("GIT_SSH_COMMAND") == "" && os.Getenv("GIT_SSH") == "" {
		env = append(env, "GIT_SSH_COMMAND=ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=30")
	}
	return env
}

// remoteProtocols returns the protocols in a list of git's that reach another machine without running
// another program.
func remoteProtocols(list string) string {
	var kept []string
	for p := range strings.SplitSeq(list, ":") {
		if slices.Contains([]string{"git", "http", "https", "ssh"}, p) {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, ":")
}

// splitLogin removes the login, which may be nil, from the URL of a remote. An SSH URL
// keeps its user, which is not secret.
func splitLogin(location string) (remote string, login *url.Userinfo) {
	u, err := url.Parse(location)
	if err != nil || u.User == nil || u.Scheme != "http" && u.Scheme != "https" {
		return location, nil
	}
	login, u.User = u.User, nil
	return u.String(), login
}

// origin returns the scheme and host of a URL.
func origin(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return location
	}
	return u.Scheme + "://" + u.Host
}

// gitError is the error of a git command.
type gitError struct {
	command string
	output  string // without credentials
	err     error
}

// causeLine matches the lines of git's output, and of ssh's in it, that contain the cause.
var causeLine = regexp.MustCompile(`^(fatal|error|ssh): |Permission denied \(|^Host key verification failed`)

// Error implements error.
func (e *gitError) Error() string {
	var lines []string
	for l := range strings.SplitSeq(e.output, "\n") {
		l = strings.TrimSpace(l)
		if n := len(lines); n > 0 && l != "" && strings.HasSuffix(lines[n-1], ":") {
			lines[n-1] += " " + l // a list of addresses follows
		} else if causeLine.MatchString(l) {
			lines = append(lines, l)
		}
	}
	if len(lines) == 0 {
		lines = []string{strings.TrimSpace(e.output + " " + e.err.Error())}
	}
	return "git " + e.command + ": " + strings.Join(lines, "; ")
}

// Unwrap returns the cause.
func (e *gitError) Unwrap() error { return e.err }

// transient reports whether git's message is about a fault of the network.
func (e *gitError) transient() bool {
	for _, s := range []string{
		"Connection reset", "Connection timed out", "Operation timed out", "Connection refused", "early EOF",
		"The requested URL returned error: 5", "The requested URL returned error: 429",
		"RPC failed", "hung up unexpectedly", "unexpected disconnect", "Temporary failure in name resolution",
		"Operation too slow", "transfer closed", "Empty reply from server", "TLS connection was non-properly terminated",
	} {
		if strings.Contains(e.output, s) {
			return true
		}
	}
	return false
}

func (e *gitError) hint(spec Spec) string {
	location, reference, fragment := strings.Cut(spec.Location, "#")
	scheme, _, _ := strings.Cut(spec.Location, "://")
	switch {
	case strings.HasPrefix(spec.Location, "git+") && strings.Contains(e.output, "is not a git command"):
		return fmt.Sprintf("git+ belongs to pip: omit it from location of [%s]", spec.Name)
	case fragment && strings.Contains(reference, "@") &&
		!strings.Contains(strings.TrimPrefix(location, scheme+"://"), "/"):
		// The # is in the login. The hint does not print the rest of it.
		return fmt.Sprintf("write the # in the login in location of [%s] as %%23", spec.Name)
	case fragment && strings.Contains(reference, ":"):
		return fmt.Sprintf("a source is a whole repository: write location = %s in [%s], its branch, tag or commit in "+
			"reference, and use the directory in the template",
			redact.URL(location), spec.Name)
	case fragment:
		return fmt.Sprintf("write location = %s and reference = %s in [%s]", redact.URL(location), reference, spec.Name)
	case strings.Contains(e.output, "could not read Username"), strings.Contains(e.output, "could not read Password"),
		strings.Contains(e.output, "Authentication failed"), strings.Contains(e.output, "returned error: 403"):
		return fmt.Sprintf("the server requires a login: put it into location of [%s] (https://USER:TOKEN@HOST/…) or set "+
			"up a git credential helper", spec.Name)
	case strings.Contains(e.output, "Permission denied (publickey"),
		strings.Contains(e.output, "Host key verification failed"):
		return "load a key that the server accepts into ssh-agent, and connect once by hand to accept its host key"
	case strings.Contains(e.output, "Could not resolve host"):
		return "check the name of the host, the resolver and the proxy variables"
	case strings.Contains(e.output, "does not appear to be a git repository"), strings.Contains(e.output, "not found"):
		return fmt.Sprintf("check location in [%s]", spec.Name)
	case strings.Contains(e.output, "invalid path"):
		return fmt.Sprintf("git does not write such a file: check location and reference in [%s]", spec.Name)
	case e.transient():
		return fmt.Sprintf("check location in [%s], and whether its server can be reached", spec.Name)
	}
	return ""
}

// idleLimit is the time in which a git command must read and write 1 KiB a second.
func (o *Options) idleLimit() time.Duration { return max(gitIdle*o.Timeout, o.idleFloor) }

// isIdle reports whether a command was stopped because it waited for too long.
func isIdle(err error) bool {
	var limit *child.LimitError
	return errors.As(err, &limit) && limit.Idle
}

// retryGit repeats a step after transient faults.
func (f *Fetcher) retryGit(ctx context.Context, s Spec, step func() error) error {
	start := time.Now()
	for attempt := 0; ; attempt++ {
		err := step()
		var ge *gitError
		idle := isIdle(err)
		if idle && attempt == 0 {
			start = time.Now() // a connection that was lost late is opened again at least once
		}
		transient := idle || errors.As(err, &ge) && ge.transient()
		if !transient || !f.downloads.retry.Wait(ctx, attempt, start, 0) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
		f.opts.Log(fmt.Sprintf("source [%s]: %v; trying again", s.Name, err))
	}
}

// gitFail returns the error of a git source.
func (f *Fetcher) gitFail(ctx context.Context, s Spec, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	e := &Error{Section: s.Name, Location: redact.URL(s.Location), Err: err}
	var ge *gitError
	if errors.As(err, &ge) {
		e.hint = ge.hint(s)
	} else if isIdle(err) {
		e.hint = fmt.Sprintf("--timeout SECONDS waits longer; a fetch waits %d times as long, and at least %s", gitIdle,
			units.Duration(gitIdleFloor))
	}
	return e
}
