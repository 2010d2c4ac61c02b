package hostile

import (
	"crypto/ed25519"
	cryptorand "crypto/rand"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// slowServers are servers that keep a client waiting.
type slowServers struct {
	git string // HOST:PORT of the protocol git://, which sends a byte now and then
	ssh string // HOST:PORT of an SSH server that asks for a key
}

// serveSlowly accepts connections until the test ends.
func serveSlowly(t *testing.T, serve func(net.Conn)) (host string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go testenv.AcceptAll(listener, serve)
	return listener.Addr().String()
}

// drip sends a text, and then a byte a second until the client ends.
func drip(w io.Writer, text string) {
	_, err := io.WriteString(w, text)
	for err == nil {
		time.Sleep(time.Second)
		_, err = w.Write([]byte("0"))
	}
}

func startSlow(t *testing.T) slowServers {
	t.Helper()
	_, key, err := ed25519.GenerateKey(cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	conf := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		return nil, os.ErrPermission
	}}
	conf.AddHostKey(signer)
	return slowServers{
		git: serveSlowly(t, func(c net.Conn) { drip(c, "fff0") }),
		ssh: serveSlowly(t, func(c net.Conn) { _, _, _, _ = ssh.NewServerConn(c, conf) }),
	}
}

// agents are SSH agents, which are asked for the keys of a user.
var agents = map[string]func(net.Conn){
	"silent": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
	"drip":   func(c net.Conn) { drip(c, "\x00\x00\x40\x00\x0c") },
	"endless": func(c net.Conn) {
		answer := append([]byte("\x00\x03\xff\xff\x0c\xff\xff\xff\xff"), make([]byte, 1<<20)...)
		for {
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	},
	"garbage": func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n") },
	"closed":  func(net.Conn) {},
}

// fakeSSH are programs in place of ssh. git asks them for their kind with -G. Those that write without end
// then do nothing: they write to /dev/null, and would only be stopped by git's limit of time.
var fakeSSH = []string{
	"exec sleep 1000", "sleep 1000 & sleep 1000", "trap '' TERM INT HUP; sleep 1000; sleep 1000",
	"exec python3 -uc 'import time\nprint(\"fff0\", end=\"\")\nwhile True:\n  time.sleep(1); print(\"0\", end=\"\")'",
	notAsked + "yes 'x x x'", notAsked + "yes 003e" + "0000000000000000000000000000000000000000 refs/heads/master",
	"exit 255",
	"printf 0000", "cat", notAsked + "cat /dev/zero", "printf '\\033[2J' >&2; exit 1", "kill -9 $$",
}

const notAsked = "[ \"$1\" = -G ] || "

// slowGitCase plans an image with a source on a server, or with an ssh or an agent, that keeps git
// waiting.
func slowGitCase(rnd *rand.Rand, env *environment) hostileCase {
	location, agent, script := "git://"+env.slow.git+"/x", "", ""
	host, port, _ := net.SplitHostPort(env.slow.ssh)
	var variables []string
	switch rnd.IntN(4) {
	case 0:
	case 1:
		agent = pick(rnd, sortedKeys(agents))
		location = "ssh://git@" + env.slow.ssh + "/x"
		variables = []string{
			"GIT_SSH_COMMAND=ssh -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oBatchMode=yes -F none -p " + port,
			"SSH_AUTH_SOCK=DIR/agent.sock",
		}
	default:
		script = pick(rnd, fakeSSH)
		location = pick(rnd, []string{"ssh://git@mirror.example/x", "git@mirror.example:x", "ssh://" + host + ":1/x"})
		path := "PATH=DIR/bin:" + os.Getenv("PATH")
		variables = []string{pick(rnd, []string{"GIT_SSH_COMMAND=DIR/fake-ssh", "GIT_SSH=DIR/fake-ssh", path})}
	}
	conf := fmt.Sprintf("[base-plugin-x]\ntype = git\nlocation = %s\nreference = %s\n", location,
		pick(rnd, []string{"master", "0123456789012345678901234567890123456789"}))
	c := planWithSource(conf)
	c.kind, c.env = "slow git", variables
	prepare := c.prepare
	c.prepare = func(dir string) error {
		for i, v := range c.env { // git runs ssh in another directory
			c.env[i] = strings.ReplaceAll(v, "DIR/", dir+"/")
		}
		if agent != "" {
			if err := env.startAgent(filepath.Join(dir, "agent.sock"), agents[agent]); err != nil {
				return err
			}
		}
		for _, name := range []string{"fake-ssh", "bin/ssh"} {
			if script == "" {
				break
			}
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
				return err
			}
		}
		return prepare(dir)
	}
	return c
}

// startAgent serves an SSH agent until the test ends.
func (env *environment) startAgent(socket string, serve func(net.Conn)) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // the case's directory is removed
	env.mu.Lock()
	env.agents = append(env.agents, listener)
	env.mu.Unlock()
	go testenv.AcceptAll(listener, serve)
	return nil
}
