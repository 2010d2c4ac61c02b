package testenv

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Daemon is a container engine that a test started.
type Daemon struct {
	Addr    string // unix://…
	Process *os.Process
	Log     string
}

// Dockerd starts Debian's dockerd with its own state and no network, and stops it
// when the test ends. dir is its data directory; "" creates one.
func Dockerd(t testing.TB, dir string) *Daemon {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a Docker daemon")
	}
	Root(t)
	bin := Program(t, "dockerd", "docker.io")
	run := shortDir(t, "kolla-dockerd-")
	if dir == "" {
		dir = filepath.Join(run, "data")
	}
	sock := filepath.Join(run, "docker.sock")
	// The default configuration file belongs to the daemon of the host.
	empty := filepath.Join(run, "daemon.json")
	if err := os.WriteFile(empty, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	return start(t, sock, filepath.Join(run, "log"), nil, bin, "--config-file", empty, "--data-root", dir, "--exec-root",
		filepath.Join(run, "exec"),
		"--pidfile", filepath.Join(run, "pid"), "--host", "unix://"+sock, "--bridge", "none", "--iptables=false",
		"--ip6tables=false")
}

// Podman starts Podman's service with its own storage. With the environment that is
// returned, the podman command uses the same storage.
func Podman(t testing.TB) (d *Daemon, environment string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Podman's service")
	}
	Root(t)
	bin := Program(t, "podman", "podman")
	run := shortDir(t, "kolla-podman-")
	conf := filepath.Join(run, "storage.conf")
	text := "[storage]\ndriver = \"overlay\"\nrunroot = \"" + filepath.Join(run, "run") + "\"\ngraphroot = \"" +
		filepath.Join(run, "root") + "\"\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	environment = "CONTAINERS_STORAGE_CONF=" + conf
	sock := filepath.Join(run, "podman.sock")
	return start(t, sock, filepath.Join(run, "log"), []string{environment}, bin, "system", "service",
		"--time=0", "unix://"+sock), environment
}

// Containerd starts Debian's containerd with its own state, and stops it when the test
// ends.
func Containerd(t testing.TB) *Daemon {
	t.Helper()
	if testing.Short() {
		t.Skip("starts containerd")
	}
	Root(t)
	bin := Program(t, "containerd", "containerd")
	run := shortDir(t, "kolla-containerd-")
	sock := filepath.Join(run, "containerd.sock")
	conf := filepath.Join(run, "config.toml")
	// The plugin for Kubernetes would change the network of the host.
	text := fmt.Sprintf(
		"version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n",
		filepath.Join(run, "root"), filepath.Join(run, "state"), sock)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	d, exited := launch(t, sock, filepath.Join(run, "log"), nil, bin, "--config", conf)
	await(t, d, exited, func() bool {
		c, err := net.Dial("unix", sock)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
	return d
}

// shortDir returns a temporary directory with a path that is short enough for
// sockets.
func shortDir(t testing.TB, prefix string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A daemon that was killed leaves mounts.
		mounts, _ := os.ReadFile("/proc/self/mounts")
		lines := strings.Split(string(mounts), "\n")
		for _, l := range slices.Backward(lines) {
			if f := strings.Fields(l); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
				_ = syscall.Unmount(f[1], syscall.MNT_DETACH)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("cleaning up: %v", err)
		}
	})
	return dir
}

// start starts a daemon that serves Docker's API and waits until it answers.
func start(t testing.TB, sock, log string, env []string, bin string, args ...string) *Daemon {
	t.Helper()
	d, exited := launch(t, sock, log, env, bin, args...)
	client := &http.Client{
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", sock)
		}},
	}
	defer client.CloseIdleConnections()
	await(t, d, exited, func() bool {
		res, err := client.Get("http://engine/_ping")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return d
}

// launch starts a daemon, and stops it when the test ends. If the daemon ends earlier,
// its error is sent to the channel.
func launch(t testing.TB, sock, log string, env []string, bin string, args ...string) (*Daemon, chan error) {
	t.Helper()
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	exited := make(chan error, 1)
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig belongs to the thread
		err := cmd.Start()
		started <- err
		if err == nil {
			exited <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-exited
		}
	})
	return &Daemon{Addr: "unix://" + sock, Process: cmd.Process, Log: log}, exited
}

// await waits until a daemon answers.
func await(t testing.TB, d *Daemon, exited chan error, answers func() bool) {
	t.Helper()
	for range 600 {
		if answers() {
			return
		}
		select {
		case err := <-exited:
			text, _ := os.ReadFile(d.Log)
			exited <- err
			t.Fatalf("%s ended: %v\n%s", d.Addr, err, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
	text, _ := os.ReadFile(d.Log)
	t.Fatalf("%s does not answer\n%s", d.Addr, text)
}
