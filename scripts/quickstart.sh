#!/usr/bin/env bash
# quickstart.sh: a registry on port 4000, and a small real set of Debian images in it.
set -euo pipefail
cd "$(dirname "$0")/.."
kolla=bin/kolla-build
registry=localhost:4000

answers() { curl -fsS -o /dev/null --max-time 2 "http://$registry/v2/" 2>/dev/null; }
listens() { (exec 3<>/dev/tcp/127.0.0.1/4000) 2>/dev/null; }

if [ "$(id -u)" != 0 ]; then
  echo "quickstart starts a builder, which needs root. Run it as root, or point kolla-build at a running one:" >&2
  echo "  $kolla -b debian -t binary --profile quickstart --buildkit-addr unix:///path/to/buildkitd.sock" >&2
  exit 1
fi

state=${KOLLA_BUILD_DATA_DIR:-/var/lib/kolla-build}
mkdir -p "$state"
pid_file=$state/registry.pid
# The registry of an earlier run, if it is still the process that the file names.
ours() { [ -s "$pid_file" ] && tr '\0' ' ' <"/proc/$(cat "$pid_file")/cmdline" 2>/dev/null | grep -q 'registry serve'; }

if answers; then
  if ours; then
    echo "registry: running on $registry (process $(cat "$pid_file"))"
  else
    echo "registry: another one answers on $registry; the images are pushed to it"
  fi
elif listens; then
  echo "port 4000 is taken by a program that is no registry; stop it first. Who it is:" >&2
  ss -ltnp 'sport = :4000' >&2 2>/dev/null || true
  exit 1
else
  # It stays when this script has ended: the images are in it.
  setsid nohup "$kolla" registry serve --addr 127.0.0.1:4000 --dir "$state/registry" </dev/null >"$state/registry.log" 2>&1 &
  started=$!
  for _ in $(seq 100); do
    answers && break
    kill -0 "$started" 2>/dev/null || break
    sleep 0.1
  done
  answers || { echo "the registry does not answer:" >&2; tail -5 "$state/registry.log" >&2; exit 1; }
  echo "$started" >"$pid_file"
  echo "registry: started on $registry (process $started, log $state/registry.log)"
fi
stop=
if ours; then
  stop="  kill \$(cat $pid_file)     stop the registry; its images stay in $state/registry"
fi

"$kolla" -b debian -t binary --profile quickstart --registry "$registry" --push \
  --logs-dir "$state/logs" --summary-json-file "$state/quickstart.json"

cat <<EOF

What to type next:
  $kolla images                                          what the local store holds
  $kolla -b debian -t binary --registry $registry --push heat     one more service
  $kolla --list-images -b debian -t binary               all that can be built
  $kolla save --output set.tar                           the set as one file, for a site without internet
  go tool crane config $registry/kolla/keystone:master-debian-trixie      the configuration of an image
$stop
EOF
