#!/bin/bash
#
# kolla_dnf_install [--security-update] [PACKAGE | URL-of-an-.rpm]...
#
# The counterpart of kolla_apt_install: repository metadata and packages are stored in a
# BuildKit cache mount that all images of a run share. They are fetched under a lock. The
# installation needs no lock: it uses a private copy of hard links. dnf's own lock identifies
# its holder by the process id, which does not work between containers.
#
# Without a cache mount, a temporary directory takes its place.

set -euo pipefail

cache=${KOLLA_DNF_CACHE:-/var/cache/kolla/dnf}
dnf=${KOLLA_DNF:-dnf}

# shellcheck source=install_cleanup.sh
. "${KOLLA_INSTALL_CLEANUP:-/usr/local/lib/kolla/install_cleanup.sh}"
machine_identity_remember

cache_is_temporary=
work=

# discard removes the private copy. This fails if another build opens the lock at the same
# time, to check whether this one is running. The next build removes the rest.
discard() {
    if [[ -n ${work} ]]; then
        rm -rf "${work}" 2>/dev/null || rm -rf "${work}" 2>/dev/null || true
    fi
    work=
}

# shellcheck disable=SC2317  # called by the trap
cleanup() {
    discard
    if [[ -n ${cache_is_temporary} ]]; then
        rm -rf "${cache}"
    fi
}
trap cleanup EXIT

if [[ -z ${KOLLA_DNF_CACHE:-} ]] && ! mountpoint --quiet "${cache}"; then
    cache=$(mktemp -d)
    cache_is_temporary=yes
fi
mkdir -p "${cache}/shared" "${cache}/work"

# run ACTION... downloads the packages for "dnf ACTION..." and runs it.
run() {
    local old fd lock
    exec {lock}>"${cache}/lock"
    flock "${lock}"
    for old in "${cache}"/work/*/; do
        # A running build holds its lock.
        if [[ -d ${old} ]] && exec {fd}<>"${old}lock"; then
            flock --nonblock "${fd}" && { rm -rf "${old}" || true; }
            exec {fd}>&-
        fi
    done
    "${dnf}" -y --setopt=cachedir="${cache}/shared" --setopt=keepcache=True --downloadonly "$@"
    work=$(mktemp -d "${cache}/work/XXXXXXXX")
    exec {fd}>"${work}/lock"
    flock "${fd}"
    cp -al "${cache}/shared" "${work}/cache"
    rm -f "${work}"/cache/*.pid
    exec {lock}>&-

    "${dnf}" -y --setopt=cachedir="${work}/cache" --setopt=keepcache=True --cacheonly "$@"
    discard
    exec {fd}>&-
}

packages=()
for argument in "$@"; do
    case ${argument} in
        --security-update)
            run distro-sync --security --sec-severity=Important --sec-severity=Critical
            ;;
        *) packages+=("${argument}") ;;
    esac
done
if [[ ${#packages[@]} -gt 0 ]]; then
    run install "${packages[@]}"
fi

# Files that differ between two builds of the same packages.
rm -rf /var/log/dnf* /var/log/hawkey.log /var/cache/dnf/* /var/lib/dnf/history.sqlite* \
    /var/cache/ldconfig/aux-cache
machine_identity_remove
remove_setuid
