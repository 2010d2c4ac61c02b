#!/usr/bin/env bash
# quickstart.sh: start a registry on port 4000, build a small set of Debian images and push it.
set -euo pipefail
cd "$(dirname "$0")/.."
kolla=bin/kolla-build
registry=localhost:4000

answers() { curl -fsS -o /dev/null --max-time 2 "http://$registry/v2/" 2>/dev/null; }
listens() { (exec 3<>/dev/tcp/127.0.0.1/4000) 2>/dev/null; }

if [ "$(id -u)" != 0 ]; then
  echo "quickstart starts a builder, which needs root. Run it as root, or use a builder that is already running:" >&2
  echo "  $kolla -b debian -t binary --profile quickstart --buildkit-addr unix:///path/to/buildkitd.sock" >&2
  exit 1
fi

state=${KOLLA_BUILD_DATA_DIR:-/var/lib/kolla-build}
mkdir -p "$state"
pid_file=$state/registry.pid
# ours reports whether the process in pid_file still is the registry of an earlier run.
ours() { [ -s "$pid_file" ] && [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$pid_file")/cmdline") = *'registry serve'* ]]; }

if answers; then
  if ours; then
    echo "registry: running on $registry (process $(cat "$pid_file"))"
  else
    echo "registry: using the one that is already running on $registry"
  fi
elif listens; then
  echo "port 4000 is in use by a program that is not a registry; stop it first:" >&2
  ss -ltnp 'sport = :4000' >&2 2>/dev/null || true
  exit 1
else
  # The registry keeps running after this script ends, so that its images can be pulled.
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

Next steps:
  $kolla images                                          list the images in the local store
  $kolla -b debian -t binary --registry $registry --push heat     build another service
  $kolla --list-images -b debian -t binary               list all images that can be built
  $kolla save --output set.tar                           save the set to a file, for a site without internet
  go tool crane config $registry/kolla/keystone:master-debian-trixie      show the configuration of an image
$stop
EOF
