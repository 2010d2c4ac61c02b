package report

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// t0 is the start of the recorded run.
var t0 = time.Date(2026, 11, 20, 1, 2, 3, 0, time.UTC)

func at(seconds float64) time.Time { return t0.Add(time.Duration(seconds * float64(time.Second))) }

func step(id, name string) build.Step { return build.Step{ID: id, Name: name} }

const (
	runBase   = "RUN apt-get update && apt-get -y install --no-install-recommends ca-certificates curl"
	runMaria  = "RUN apt-get -y install galera-4 mariadb-server"
	hostile   = "\x1b[31mE: Unable to locate package galera-4\x1b[0m\n\x1b]0;title\x07W: \xff\xfe\n"
	baseRef   = "localhost:4000/kolla/base:demo"
	baseSha   = "sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
	nextSha   = "sha256:1122334455667788990011223344556677889900112233445566778899001122"
	mariaFile = "/tmp/kolla-x/docker/mariadb/mariadb-server/Dockerfile"
)

// recorded is a run with every kind of event: images that are built, unchanged,
// failed, skipped because of a failed parent, not pushed; steps that are cached, run
// in parallel, transfer bytes and print hostile output.
func recorded() []build.Event {
	maria := results()[4]
	maria.Failure.Tail, maria.Failure.Step, maria.Log = nil, "", "" // Logs fills these in
	ev := []build.Event{
		{Time: at(0), Kind: build.EventRunStart, Total: 8, Estimate: 4 * time.Minute},
		{Time: at(0), Kind: build.EventImageEnd, Image: named("cron"),
			Result: &build.Result{Image: named("cron"), Status: build.StatusUnchanged}},
		{Time: at(0), Kind: build.EventImageEnd, Image: named("fluentd"),
			Result: &build.Result{Image: named("fluentd"), Status: build.StatusUnchanged}},
		{Time: at(0), Kind: build.EventMessage, Text: "builder: buildkitd v0.34.2, started for this run\n"},
		{Time: at(0.5), Kind: build.EventImageStart, Image: named("base"), Estimate: 50 * time.Second},
		{Time: at(0.6), Kind: build.EventStepStart, Image: named("base"), Step: step("a", "FROM debian:bookworm")},
		{Time: at(0.7), Kind: build.EventTransfer, Image: named("base"), Step: step("a", ""),
			Current: 1 << 20, TotalBytes: 50 << 20},
		{Time: at(0.8), Kind: build.EventTransfer, Image: named("base"), Step: step("a", ""),
			Current: 20 << 20, TotalBytes: 50 << 20},
		{Time: at(1.6), Kind: build.EventTransfer, Image: named("base"), Step: step("a", ""),
			Current: 50 << 20, TotalBytes: 50 << 20},
		{Time: at(2), Kind: build.EventStepEnd, Image: named("base"),
			Step: build.Step{ID: "a", Name: "FROM debian:bookworm", Duration: 1400 * time.Millisecond}},
		{Time: at(2), Kind: build.EventStepStart, Image: named("base"), Step: step("b", runBase)},
		{Time: at(3), Kind: build.EventLog, Image: named("base"), Step: step("b", ""),
			Data: []byte("Get:1 curl\nReading database ... 5%\rReading data")},
		{Time: at(4), Kind: build.EventLog, Image: named("base"), Step: step("b", ""),
			Data: []byte("base ... 100%\r\nSetting up curl\nno newline")},
		{Time: at(40), Kind: build.EventStepEnd, Image: named("base"),
			Step: build.Step{ID: "b", Name: runBase, Duration: 38 * time.Second}},
		{Time: at(40), Kind: build.EventImageEnd, Image: named("base"), Result: ptr(results()[0])},
	}
	for i, name := range []string{"openstack-base", "mariadb-base", "memcached"} {
		ev = append(ev, build.Event{Time: at(40.1 + float64(i)), Kind: build.EventImageStart, Image: named(name),
			Estimate: 30 * time.Second})
	}
	return append(ev,
		build.Event{Time: at(44), Kind: build.EventStepStart, Image: named("memcached"),
			Step: step("c", "COPY extend_start.sh /usr/local/bin/kolla_extend_start")},
		build.Event{Time: at(44), Kind: build.EventStepEnd, Image: named("memcached"),
			Step: build.Step{ID: "c", Name: "COPY extend_start.sh /usr/local/bin/kolla_extend_start", Cached: true}},
		build.Event{Time: at(60), Kind: build.EventImageEnd, Image: named("memcached"), Result: ptr(results()[2])},
		build.Event{Time: at(62), Kind: build.EventImageEnd, Image: named("mariadb-base"), Result: ptr(results()[3])},
		build.Event{Time: at(62), Kind: build.EventImageStart, Image: named("mariadb-server"), Estimate: time.Minute},
		build.Event{Time: at(63), Kind: build.EventStepStart, Image: named("mariadb-server"), Step: step("d", runMaria)},
		build.Event{Time: at(64), Kind: build.EventLog, Image: named("mariadb-server"), Step: step("d", ""),
			Data: []byte("Reading package lists...\n" + hostile)},
		build.Event{Time: at(75), Kind: build.EventStepEnd, Image: named("mariadb-server"), Step: build.Step{ID: "d",
			Name: runMaria, Err: "process did not complete successfully: exit code: 100", Duration: 12 * time.Second}},
		build.Event{Time: at(75), Kind: build.EventImageEnd, Image: named("mariadb-server"), Result: &maria.Result},
		build.Event{Time: at(75), Kind: build.EventEstimate, Estimate: 3 * time.Minute},
		build.Event{Time: at(75), Kind: build.EventImageEnd, Image: named("mariadb-backup"), Result: ptr(results()[5])},
		build.Event{Time: at(75), Kind: build.EventImageEnd, Image: named("mariadb-clustercheck"), Result: ptr(results()[6])},
		build.Event{Time: at(120), Kind: build.EventImageEnd, Image: named("openstack-base"), Result: ptr(results()[1])},
		build.Event{Time: at(120), Kind: build.EventImageStart, Image: named("keystone")},
		build.Event{Time: at(200), Kind: build.EventImageEnd, Image: named("keystone"), Result: ptr(results()[7])},
		build.Event{Time: at(201), Kind: build.EventRunEnd, Duration: 201 * time.Second},
	)
}

func ptr(r Result) *build.Result { return &r.Result }

// named is an image of a run for a single platform.
func named(name string) image.ID { return image.ID{Name: name} }

// results are the results of the recorded run.
func results() []Result {
	pushErr := errors.New("pushing localhost:4000/kolla/keystone:demo: dial tcp 127.0.0.1:4000: connect: connection refused")
	return []Result{
		{Result: build.Result{Image: named("base"), Reference: baseRef, Status: build.StatusBuilt, Reason: "new",
			Digest: baseSha, Size: 51 << 20,
			Started: at(0.5), Duration: 39500 * time.Millisecond}, Pushed: true, TagsChanged: true,
			Packages: []PackageChange{{Name: "libssl3", From: "3.0.15-1", To: "3.0.16-1"}, {Name: "tzdata", To: "2026c"}}},
		{Result: build.Result{Image: named("openstack-base"), Parent: named("base"),
			Reference: "localhost:4000/kolla/openstack-base:demo", Status: build.StatusBuilt,
			Reason: "parent changed", Digest: nextSha, Size: 400 << 20, Started: at(40.1), Duration: 80 * time.Second},
			Pushed: true, TagsChanged: true},
		{Result: build.Result{Image: named("memcached"), Parent: named("base"),
			Reference: "localhost:4000/kolla/memcached:demo", Status: build.StatusBuilt,
			Reason: "new", Digest: nextSha, Size: 62<<20 + 123456, Started: at(42.1), Duration: 18 * time.Second},
			Pushed: true, TagsChanged: true},
		{Result: build.Result{Image: named("mariadb-base"), Parent: named("base"),
			Reference: "localhost:4000/kolla/mariadb-base:demo", Status: build.StatusBuilt,
			Reason: "new", Digest: nextSha, Size: 90 << 20, Started: at(41.1), Duration: 21 * time.Second}},
		{Result: build.Result{Image: named("mariadb-server"), Parent: named("mariadb-base"),
			Reference: "localhost:4000/kolla/mariadb-server:demo",
			Status:    build.StatusError, Reason: "a step failed", Started: at(62), Duration: 13 * time.Second,
			Failure: &build.Failure{
				Err: errors.New("process \"/bin/sh -c apt-get -y install galera-4 mariadb-server\" did not " +
					"complete successfully: exit code: 100"),
				Dockerfile: mariaFile, Template: "mariadb/mariadb-server/Dockerfile.j2", Line: 12,
				Source: []string{"RUN apt-get -y install \\", "    galera-4 mariadb-server"},
				Step:   runMaria, ExitCode: 100,
				Tail: []string{"Reading package lists...", "E: Unable to locate package galera-4"},
				Hint: "the package repositories that this image enables have no galera-4:\nsee its repos.yaml entry",
			}}, Log: "logs/mariadb-server.log"},
		{Result: build.Result{Image: named("mariadb-backup"), Parent: named("mariadb-server"),
			Status: build.StatusParentError, Reason: "skipped because mariadb-server failed"}},
		{Result: build.Result{Image: named("mariadb-clustercheck"), Parent: named("mariadb-backup"),
			Status: build.StatusParentError, Reason: "skipped because mariadb-server failed"}},
		{Result: build.Result{Image: named("keystone"), Parent: named("openstack-base"),
			Reference: "localhost:4000/kolla/keystone:demo", Status: build.StatusPushError,
			Reason: "not published", Digest: nextSha, Size: 500 << 20, Started: at(120), Duration: 80 * time.Second,
			Failure: &build.Failure{Err: pushErr, Hint: "start one with: kolla-build registry serve"}}},
		{Result: build.Result{Image: named("cron"), Parent: named("base"), Status: build.StatusUnchanged,
			Reason: "unchanged", Reference: "localhost:4000/kolla/cron:demo", Digest: baseSha, Size: 60 << 20}},
		{Result: build.Result{Image: named("fluentd"), Parent: named("base"), Status: build.StatusUnchanged,
			Reason: "unchanged", Digest: nextSha, Size: 70 << 20}},
		{Result: build.Result{Image: named("nova-base"), Parent: named("openstack-base"), Status: build.StatusUnmatched}},
		{Result: build.Result{Image: named("tgtd"), Parent: named("base"), Status: build.StatusUnbuildable,
			Reason: "not for debian"}},
		{Result: build.Result{Image: named("zun-base"), Parent: named("openstack-base"), Status: build.StatusSkipped,
			Reason: "--skip-existing"}},
	}
}

// The test binary itself is the program that runs in tmux.
func TestMain(m *testing.M) {
	if dir := os.Getenv("REPORT_DEMO"); dir != "" {
		demo(dir)
		return
	}
	code := m.Run()
	if code == 0 && !*update && !isFiltered() {
		for _, f := range orphans() {
			fmt.Fprintf(os.Stderr, "%s: no test asks for this golden file\n", f)
			code = 1
		}
	}
	os.Exit(code)
}

// demo shows a run on standard error. It waits at gates, each of which opens when a
// file with its name appears in dir, so that the screen at a gate does not depend on
// time.
func demo(dir string) {
	start := time.Now()
	gate := func(name string) {
		for {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	// The clock is stopped, so that elapsed times on the screen are always the same.
	progress := NewProgress(ProgressOptions{Out: os.Stderr, Mode: Mode(os.Getenv("REPORT_MODE")),
		Now: func() time.Time { return start.Add(90 * time.Second) }})
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ch
		_ = progress.Close()
		fmt.Println("interrupted")
		gate("three")
		os.Exit(1)
	}()
	send := func(e build.Event) {
		e.Time = start.Add(e.Time.Sub(t0))
		progress.Handle(e)
	}
	ended := func(name string, status build.Status, err error) build.Event {
		r := &build.Result{Image: named(name), Status: status, Duration: 65 * time.Second, Size: 51 << 20}
		if err != nil {
			r.Failure = &build.Failure{Err: err}
			r.Size = 0
		}
		return build.Event{Time: at(85), Kind: build.EventImageEnd, Image: named(name), Result: r}
	}
	names := []string{"nova-api", "neutron-server", "glance-api", "horizon", "heat-engine", "cinder-volume",
		"magnum-conductor", "zun-compute"}
	send(build.Event{Time: at(0), Kind: build.EventRunStart, Total: 12, Estimate: 5 * time.Minute})
	fill, _ := strconv.Atoi(os.Getenv("REPORT_FILL"))
	for i := range fill {
		send(build.Event{Time: at(1), Kind: build.EventMessage, Text: fmt.Sprintf("message %02d.", i)})
	}
	for _, n := range []string{"base", "openstack-base", "mariadb-server"} {
		send(build.Event{Time: at(1), Kind: build.EventImageStart, Image: named(n)})
	}
	send(ended("base", build.StatusBuilt, nil))
	send(ended("openstack-base", build.StatusBuilt, nil))
	send(ended("mariadb-server", build.StatusError,
		errors.New("exit code: 100, and \x1b[2J a very long line of reasons that no window is wide enough to show in one row, really")))
	for i, n := range names {
		send(build.Event{Time: at(10 + float64(i)), Kind: build.EventImageStart, Image: named(n)})
		send(build.Event{Time: at(20), Kind: build.EventStepStart, Image: named(n),
			Step: step("s", fmt.Sprintf("RUN apt-get -y install python3-%s and a good many packages more, all in one line", n))})
	}
	send(build.Event{Time: at(89), Kind: build.EventTransfer, Image: named("nova-api"), Step: step("s", ""),
		Current: 12 << 20, TotalBytes: 40 << 20})
	gate("one")
	send(ended("nova-api", build.StatusBuilt, nil))
	send(build.Event{Time: at(86), Kind: build.EventMessage, Text: "a message from the run"})
	gate("two")
	for _, n := range names[1:] {
		send(ended(n, build.StatusBuilt, nil))
	}
	send(build.Event{Time: at(90), Kind: build.EventRunEnd, Duration: 90 * time.Second})
	_ = progress.Close()
	fmt.Println("the end")
	gate("three")
}
