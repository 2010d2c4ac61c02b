#!/usr/bin/env bash
# deps.sh: install the Debian packages that kolla-build or its tests need.
# usage: deps.sh runtime|test|deploy|kolla ...
set -euo pipefail

declare -A packages=(
  [runtime]="runc mmdebstrap arch-test ca-certificates curl git"
  [test]="apache2-utils skopeo docker-registry busybox-static tmux procps iproute2 xz-utils bzip2 zstd mount util-linux
    python3 python3-pip python3-venv python3-jinja2 python3-markupsafe python3-yaml
    dnf rpm createrepo-c bash zsh fish mandoc make patch docker.io podman containerd
    systemd chromium fonts-dejavu-core libxml2-utils python3-prometheus-client yamllint db5.3-util gnupg sudo dosfstools fusefat openssh-client openssh-server"
  # For the node that kolla-ansible deploys to; see docs/deploy.md.
  [deploy]="mmdebstrap iproute2 procps util-linux mount curl"
  # For running OpenStack Kolla's own tool in comparisons.
  [kolla]="python3-oslo.config python3-jinja2 python3-git python3-docker python3-pbr python3-yaml python3-requests python3-graphviz"
)

missing=()
for set in "$@"; do
  for p in ${packages[$set]}; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
  done
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
  echo "missing packages: ${missing[*]}"
  echo "installing them needs root: apt-get install ${missing[*]}"
  echo "continuing without them; commands and tests that need them report it"
  exit 0
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# The tests need the program sshd only. The package would start a server on port 22, now and at each
# boot. systemd does not start a masked unit, and the package does not unmask it. A server that is
# there already, such as one of an interrupted upgrade, stays as it is.
if [[ " ${missing[*]} " == *" openssh-server "* ]] && [ ! -e /usr/sbin/sshd ]; then
  mkdir -p /etc/systemd/system
  for unit in ssh.service ssh.socket; do
    [ -e "/etc/systemd/system/$unit" ] || ln -sf /dev/null "/etc/systemd/system/$unit"
  done
  echo "ssh.service and ssh.socket are masked; for an SSH server: systemctl unmask ssh.service ssh.socket"
fi
install() { apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" >"$log" 2>&1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The first attempt fails if the package lists are missing or outdated.
install || { apt-get update -qq >>"$log" 2>&1 && install; } || { cat "$log"; exit 1; }
