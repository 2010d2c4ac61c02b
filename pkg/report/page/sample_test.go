package page

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/report"
	ocidigest "github.com/opencontainers/go-digest"
)

var began = time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)

// families is a set in the shape of Kolla's: 187 images, five levels deep.
var families = map[string]string{
	"":     "base",
	"base": "openstack-base collectd cron dnsmasq etcd fluentd grafana haproxy haproxy-ssh hacluster-base influxdb iscsid keepalived kolla-toolbox letsencrypt-base mariadb-base memcached multipathd opensearch opensearch-dashboards openvswitch-base ovn-base prometheus-base proxysql rabbitmq redis-base tgtd telegraf bifrost-base",
	"openstack-base": "aodh-base barbican-base blazar-base ceilometer-base cinder-base cloudkitty-base designate-base glance-base gnocchi-base heat-base " +
		"horizon ironic-base keystone-base kuryr-libnetwork magnum-base manila-base masakari-base mistral-base neutron-base nova-base octavia-base placement-base rally skyline-base swift-base tempest trove-base zun-base zaqar-base",
	"aodh-base":       "aodh-api aodh-evaluator aodh-expirer aodh-listener aodh-notifier",
	"barbican-base":   "barbican-api barbican-keystone-listener barbican-worker",
	"blazar-base":     "blazar-api blazar-manager",
	"ceilometer-base": "ceilometer-central ceilometer-compute ceilometer-ipmi ceilometer-notification",
	"cinder-base":     "cinder-api cinder-backup cinder-scheduler cinder-volume",
	"cloudkitty-base": "cloudkitty-api cloudkitty-processor",
	"designate-base":  "designate-api designate-backend-bind9 designate-central designate-mdns designate-producer designate-sink designate-worker",
	"glance-base":     "glance-api", "gnocchi-base": "gnocchi-api gnocchi-metricd gnocchi-statsd",
	"hacluster-base":   "hacluster-corosync hacluster-pacemaker hacluster-pacemaker-remote",
	"heat-base":        "heat-api heat-api-cfn heat-engine",
	"ironic-base":      "ironic-api ironic-conductor ironic-inspector ironic-neutron-agent ironic-prometheus-exporter ironic-pxe dnsmasq-ironic",
	"keystone-base":    "keystone keystone-fernet keystone-ssh",
	"letsencrypt-base": "letsencrypt-lego letsencrypt-webserver", "magnum-base": "magnum-api magnum-conductor",
	"manila-base":      "manila-api manila-data manila-scheduler manila-share",
	"mariadb-base":     "mariadb-server mariadb-clustercheck",
	"masakari-base":    "masakari-api masakari-engine masakari-monitors",
	"mistral-base":     "mistral-api mistral-engine mistral-event-engine mistral-executor",
	"neutron-base":     "neutron-bgp-dragent neutron-dhcp-agent neutron-infoblox-ipam-agent neutron-l3-agent neutron-linuxbridge-agent neutron-metadata-agent neutron-mlnx-agent neutron-openvswitch-agent neutron-ovn-agent neutron-server neutron-sriov-agent",
	"nova-base":        "nova-api nova-compute nova-compute-ironic nova-conductor nova-libvirt nova-novncproxy nova-scheduler nova-serialproxy nova-spicehtml5proxy nova-ssh",
	"octavia-base":     "octavia-api octavia-driver-agent octavia-health-manager octavia-housekeeping octavia-worker",
	"openvswitch-base": "openvswitch-db-server openvswitch-vswitchd",
	"ovn-base":         "ovn-controller ovn-nb-db-server ovn-northd ovn-sb-db-server ovn-sb-db-relay",
	"placement-base":   "placement-api",
	"prometheus-base":  "prometheus-alertmanager prometheus-blackbox-exporter prometheus-cadvisor prometheus-elasticsearch-exporter prometheus-libvirt-exporter prometheus-memcached-exporter prometheus-msteams prometheus-mysqld-exporter prometheus-node-exporter prometheus-openstack-exporter prometheus-ovn-exporter prometheus-server",
	"redis-base":       "redis redis-sentinel", "skyline-base": "skyline-apiserver skyline-console",
	"swift-base":     "swift-account swift-container swift-object swift-object-expirer swift-proxy-server swift-rsyncd",
	"neutron-server": "neutron-server-plugins", "trove-base": "trove-api trove-conductor trove-taskmanager",
	"zun-base": "zun-api zun-compute zun-cni-daemon zun-wsproxy",
}

// bigNight makes the run of big.
type bigNight struct {
	t       testing.TB
	dir     string
	random  *rand.Rand
	run     *report.Run
	earlier report.Record
	slots   []time.Time          // when they are free
	ended   map[string]time.Time // by image
	failed  map[string]string    // images that failed or were skipped, and the cause
}

// add adds an image to the run.
func (b *bigNight) add(parent, name string) {
	res := report.Result{Result: build.Result{Image: named(name), Parent: named(parent),
		Reference: "registry.example:4000/kolla/" + name + ":2026.1-20261122",
		Digest:    ocidigest.Digest(fmt.Sprintf("sha256:%064x", len(b.run.Results)+1)),
		Size:      int64(40+b.random.IntN(600)) << 20}}
	defer func() { b.run.Results = append(b.run.Results, res) }()
	if parent != "" {
		b.run.Needs[named(name)] = []image.ID{named(parent)}
	}
	unchanged := parent == "base" && name != "openstack-base" && b.random.IntN(3) > 0 ||
		strings.HasPrefix(parent, "prometheus")
	if c := b.failed[parent]; c != "" {
		b.failed[name] = c
		res.Status, res.Reason, res.Size, res.Digest = build.StatusParentError, "skipped because "+c+" failed", 0, ""
		return
	}
	b.earlier.Images[named(name)] = report.ImageRecord{Size: res.Size - int64(b.random.IntN(9)-3)<<20}
	if unchanged {
		res.Status, res.Reason = build.StatusUnchanged, "unchanged"
		b.earlier.Images[named(name)] = report.ImageRecord{Size: res.Size}
		return
	}
	a := b.build(parent, name, &res)
	switch name {
	case "trove-base", "nova-libvirt":
		fail(b.t, b.dir, &res)
		b.failed[name] = name
	case "skyline-console":
		res.Status = build.StatusPushError
		res.Failure = &build.Failure{Err: errors.New("pushing: connection reset by peer"), Hint: "is the registry up?"}
	default:
		a.Push = report.Interval{Start: a.End, End: a.End.Add(res.Duration / 9)}
		res.Packages = []report.PackageChange{
			{Name: "libssl3", From: "3.0.15-1~deb12u1", To: "3.0.16-1~deb12u1"},
			{Name: "python3-oslo.messaging", From: "14.0.0-1", To: "14.0.1-1"},
		}[:1+b.random.IntN(2)]
	}
	b.run.Activities = append(b.run.Activities, a)
}

// build builds an image in the slot that is free first, after its parent.
func (b *bigNight) build(parent, name string, res *report.Result) report.Activity {
	slot := 0
	for i := range b.slots {
		if b.slots[i].Before(b.slots[slot]) {
			slot = i
		}
	}
	start := b.slots[slot]
	if p := b.ended[parent]; p.After(start) {
		start = p.Add(10 * time.Millisecond)
	}
	elapsed := time.Duration(20+b.random.IntN(150)) * time.Second
	end := start.Add(elapsed)
	b.slots[slot], b.ended[name] = end, end
	res.Status, res.Reason, res.Started, res.Duration = build.StatusBuilt, "parent "+parent+" is built", start, elapsed
	if parent == "" {
		res.Reason = "packages moved: libssl3 3.0.15-1 to 3.0.16-1"
	}
	a := report.Activity{Image: named(name), Start: start, End: end}
	tenths := []int{1, 7, 1, 1} // of the time of the build
	for i, step := range []string{
		"FROM kolla/" + parent,
		"RUN apt-get -y install --no-install-recommends " + name + " python3-" + name,
		"COPY extend_start.sh /usr/local/bin/kolla_extend_start",
		"RUN chmod 755 /usr/local/bin/kolla_extend_start",
	} {
		took := elapsed * time.Duration(tenths[i]) / 10
		a.Steps = append(a.Steps, report.StepTime{Name: step, Start: start, Took: took})
	}
	return a
}

// big is a night of 187 images on 8 slots, in which a few fail.
func big(t testing.TB, dir string) *report.Run {
	run := &report.Run{Title: "debian 12, binary, 2026.1", Version: "1.0.0", Started: began, Slots: 8,
		Outcome: report.OutcomeFailed, Needs: map[image.ID][]image.ID{}, Registry: "registry.example:4000"}
	run.Duration = 61 * time.Minute
	b := &bigNight{t: t, dir: dir, random: rand.New(rand.NewPCG(1, 2)), run: run,
		earlier: report.Record{Started: began.Add(-24 * time.Hour), Seconds: 3333, Outcome: report.OutcomeOK, Built: 9,
			Unchanged: 178, Tags: []string{"2026.1-20261121", "2026.1"}, Images: map[image.ID]report.ImageRecord{}},
		slots: slices.Repeat([]time.Time{began.Add(20 * time.Second)}, 8),
		ended: map[string]time.Time{}, failed: map[string]string{}}
	for queue := []string{""}; len(queue) > 0; queue = queue[1:] {
		for _, name := range strings.Fields(families[queue[0]]) {
			queue = append(queue, name)
			b.add(queue[0], name)
		}
	}
	for i := range run.Results {
		if r := &run.Results[i]; r.Image.Name == "nova-compute" {
			r.Packages = append(r.Packages, report.PackageChange{Name: "python3-os-brick", To: "6.2.0-1"},
				report.PackageChange{Name: "python3-retrying", From: "1.3.3-4"})
		}
	}
	run.Needs[named("ironic-pxe")] = append(run.Needs[named("ironic-pxe")], named("dnsmasq"))
	replayed := replay(run.Activities)
	run.Activities, run.Times = replayed.Activities(began),
		replayed.Times(run.Needs, run.Started, run.Started.Add(run.Duration))
	run.Times.Stages = []report.StageTime{{Name: "render templates", Start: began, Took: 3 * time.Second},
		{Name: "define images", Start: began.Add(3 * time.Second), Took: 12 * time.Second}}
	run.Past = []report.Record{b.earlier}
	for i := range 9 {
		run.Past = append(run.Past, report.Record{Started: began.Add(-time.Duration(i+2) * 24 * time.Hour),
			Seconds: float64(20 + b.random.IntN(3000)), Outcome: report.OutcomeOK, Built: b.random.IntN(40), Unchanged: 160})
	}
	run.Notes = []string{"builder: buildkitd v0.34.2, started for this run",
		"cinder-api: temporary fault, trying again in 2s (1 of 3): Temporary failure resolving 'deb.example'"}
	if len(run.Results) != 187 {
		t.Fatalf("%d images", len(run.Results))
	}
	return run
}

func named(name string) image.ID { return image.ID{Name: name} }

// replay records activities, which gives them their slots and phases.
func replay(in []report.Activity) *report.Recorder {
	r := &report.Recorder{}
	for _, a := range in {
		r.Handle(build.Event{Kind: build.EventImageStart, Image: a.Image, Time: a.Start})
		for i, s := range a.Steps {
			st := build.Step{ID: fmt.Sprint(i), Name: s.Name, Duration: s.Took}
			r.Handle(build.Event{Kind: build.EventStepStart, Image: a.Image, Step: st, Time: s.Start})
			r.Handle(build.Event{Kind: build.EventStepEnd, Image: a.Image, Step: st, Time: s.Start.Add(s.Took)})
		}
		if !a.Push.Start.IsZero() {
			r.Handle(build.Event{Kind: build.EventPushStart, Image: a.Image, Time: a.Push.Start})
			r.Handle(build.Event{Kind: build.EventPushEnd, Image: a.Image, Time: a.Push.End})
		}
		r.Handle(build.Event{Kind: build.EventImageEnd, Image: a.Image, Time: a.End,
			Result: &build.Result{Started: a.Start, Duration: a.End.Sub(a.Start)}})
	}
	return r
}

// hostile is output that tries to break out of the page.
const hostile = `</pre></details><script>document.title="pwned"</script><img src=x onerror="document.title='pwned'">` +
	"\x1b[31m\u202eevil\x1b[0m"

// fail makes res a failed image with a log.
func fail(t testing.TB, dir string, res *report.Result) {
	res.Status, res.Reason, res.Digest, res.Size = build.StatusError, "a command ended with exit code 100: E: Unable to "+
		"locate package python3-trove-dashboard", "", 0
	res.Failure = &build.Failure{Err: errors.New(res.Reason), Template: res.Image.Name + "/Dockerfile.j2",
		Dockerfile: "/tmp/kolla/docker/" + res.Image.Name + "/Dockerfile", Line: 14, ExitCode: 100,
		Source: []string{"RUN apt-get -y install --no-install-recommends \\", "      python3-trove \\",
			"      python3-trove-dashboard <b>&amp;"}, Step: "RUN apt-get -y install python3-trove python3-trove-dashboard",
		Tail: []string{"Reading package lists...", "Building dependency tree...",
			"E: Unable to locate package python3-trove-dashboard",
			hostile}, Hint: "the repositories that this image enables have no such package"}
	var b strings.Builder
	for i := range 800 {
		fmt.Fprintf(&b, "Get:%d http://deb.example/debian bookworm/main amd64 python3-something-%d all 1.2.%d-1 [%d kB]\n",
			i, i, i, 10+i)
	}
	b.WriteString(hostile + "\nE: Unable to locate package python3-trove-dashboard\nthe last line of the " +
		"whole log of " + res.Image.Name + "\n")
	res.Log = filepath.Join(dir, "logs", res.Image.Name+".log")
	if err := os.MkdirAll(filepath.Dir(res.Log), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(res.Log, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
