#!/usr/bin/env bash
# deps.sh: install the Debian packages that running or testing needs.
# usage: deps.sh runtime|test|deploy|kolla ...
set -euo pipefail

declare -A packages=(
  [runtime]="runc mmdebstrap arch-test ca-certificates curl git"
  [test]="apache2-utils skopeo docker-registry busybox-static tmux procps iproute2 xz-utils bzip2 zstd mount util-linux
    python3 python3-pip python3-venv python3-jinja2 python3-markupsafe python3-yaml
    dnf rpm createrepo-c bash zsh fish mandoc make patch docker.io podman containerd
    systemd chromium fonts-dejavu-core libxml2-utils python3-prometheus-client yamllint db5.3-util gnupg sudo"
  # For the node in which kolla-ansible works; see docs/deploy.md.
  [deploy]="mmdebstrap iproute2 procps util-linux mount curl"
  # What OpenStack Kolla's own tool needs, to be compared with.
  [kolla]="python3-oslo.config python3-jinja2 python3-git python3-docker python3-pbr python3-yaml python3-requests python3-graphviz"
)

want=()
for set in "$@"; do
  for p in ${packages[$set]}; do
    dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || want+=("$p")
  done
done
[ ${#want[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
  echo "not installed: ${want[*]}"
  echo "you are not root, so they cannot be installed from here: apt-get install ${want[*]}"
  echo "going on without; what needs them says so"
  exit 0
fi
echo "installing ${want[*]}"
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "${want[@]}" >"$log" 2>&1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A package list that is missing or old makes the first try fail.
install || { apt-get update -qq >>"$log" 2>&1 && install; } || { cat "$log"; exit 1; }
