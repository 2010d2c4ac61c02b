#!/bin/bash
#
# kolla_apt_install [--upgrade] [PACKAGE | URL-of-a-.deb]...
# kolla_apt_install --dependencies-of PACKAGE...
#
# Install Debian packages without recommended ones, and keep only the packages in the layer.
# The second form installs the dependencies of packages, without the packages.
#
# The package index and the downloaded .deb files are stored in a BuildKit cache mount that
# all images of a run share. The index is refreshed and missing .deb files are downloaded
# under a lock each, so that nothing is fetched twice. The installation, which takes most of
# the time, needs no lock: it uses a private directory of hard links into the cache. A killed
# build may leave such a directory, which the next build removes.
#
# Without a cache mount, a temporary directory takes its place.
#
# Each run of apt-get reads the index and resolves dependencies again, so there are only two:
# one prints the names of the required files, one installs them.

set -euo pipefail

cache=${KOLLA_APT_CACHE:-/var/cache/kolla/apt}
index_minutes=30        # an older index is refreshed
keep_days=30            # .deb files not used for longer are removed
py3compile=${KOLLA_PY3COMPILE:-/usr/local/lib/kolla/py3compile.py}

# shellcheck source=install_cleanup.sh
. "${KOLLA_INSTALL_CLEANUP:-/usr/local/lib/kolla/install_cleanup.sh}"
machine_identity_remember

cache_is_temporary=
work=
snapshot=
index_options=()

# shellcheck disable=SC2317  # called by the trap
cleanup() {
    if [[ -n ${work} ]]; then
        # This fails if another build opens the lock at the same time, to check whether
        # this one is running. The next build removes the rest.
        rm -rf "${work}" 2>/dev/null || rm -rf "${work}" 2>/dev/null || true
    fi
    if [[ -n ${cache_is_temporary} ]]; then
        rm -rf "${cache}"
    fi
}
trap cleanup EXIT

log() {
    echo "kolla_apt_install: $*"
}

# locked NAME COMMAND... runs the command while it holds the named lock.
locked() {
    local fd status=0
    exec {fd}>"${cache}/$1.lock"
    shift
    flock "${fd}"
    "$@" || status=$?
    exec {fd}>&-
    return "${status}"
}

# make_work creates the private directory and removes those of killed builds. A running
# build holds the lock of its directory.
make_work() {
    local old fd
    for old in "${cache}"/work/*/; do
        [[ -d ${old} ]] || continue
        if exec {fd}<>"${old}lock"; then
            if flock --nonblock "${fd}"; then
                rm -rf "${old}" || true
            fi
            exec {fd}>&-
        fi
    done
    work=$(mktemp -d "${cache}/work/XXXXXXXX")
    exec {work_fd}>"${work}/lock"
    flock "${work_fd}"
    mkdir -p "${work}/cache" "${work}/archives/partial" "${work}/urls"
}

# sources_id prints an identifier of this image's package sources. Each set of sources has
# its own index.
sources_id() {
    {
        apt-config dump Acquire
        find /etc/apt -type f \( -name '*.list' -o -name '*.sources' \) -print0 |
            sort -z | xargs -0r cat
    } | sha256sum | cut -c1-16
}

update_index() {
    local force=$1 stamp list
    stamp="${cache}/stamps/$(sources_id)"
    if [[ ${force} == yes || -z $(find "${stamp}" -mmin "-${index_minutes}" 2>/dev/null) ]]; then
        # List-Cleanup would remove the lists of other images' sources. Lookups are
        # faster in lists that are not compressed. The parsed form of the index depends
        # on its path, so it is not generated here.
        apt-get "${options[@]}" --error-on=any update \
            -o "Dir::State::Lists=${cache}/lists" \
            -o APT::Get::List-Cleanup=false \
            -o Acquire::GzipIndexes=false \
            -o pkgCacheFile::Generate=false || return
        touch "${stamp}"
        find "${cache}/archives" -maxdepth 1 -name '*.deb' -mtime "+${keep_days}" -delete
    fi
    snapshot="${cache}/index/$(index_id)"
    if [[ ! -d ${snapshot} ]]; then
        find "${cache}/index" -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {} +
        rm -rf "${work}/index"
        mkdir -p "${work}/index/partial"
        for list in "${cache}"/lists/*_*; do
            if [[ -f ${list} ]]; then
                ln "${list}" "${work}/index/"
            fi
        done
        mv "${work}/index" "${snapshot}"
    fi
    touch "${snapshot}"
    index_options=(-o "Dir::State::Lists=${snapshot}")
    if [[ -e ${snapshot}/srcpkgcache.bin ]]; then
        ln -f "${snapshot}/srcpkgcache.bin" "${work}/cache/"
    fi
}

# index_id prints an identifier of the index's content. Builds with the same index read it
# from the same directory, since apt can reuse its parsed form only there.
index_id() {
    {
        sources_id
        find "${cache}/lists" -maxdepth 1 -name '*_*' -type f -printf '%f %s %T@\n' | sort
    } | sha256sum | cut -c1-16
}

# keep_parsed_index shares the parsed form of the index with other builds.
keep_parsed_index() {
    if [[ -e ${work}/cache/srcpkgcache.bin && ! -e ${snapshot}/srcpkgcache.bin ]]; then
        ln "${work}/cache/srcpkgcache.bin" "${snapshot}/" 2>/dev/null || true
    fi
}

# take_cached links the files named in $work/uris from the cache, removes those whose
# checksum differs, and fails if a file is missing. apt itself would accept every cached file
# of the right size.
take_cached() {
    local name sum names=() damaged
    while read -r _ name _ sum; do
        if [[ ${sum} == SHA256:* && ! -e ${work}/archives/${name} && -e ${cache}/archives/${name} ]]; then
            names+=("${name}")
            printf '%s  %s\n' "${sum#SHA256:}" "${name}" >&3
        fi
    done < "${work}/uris" 3> "${work}/sums"
    if [[ ${#names[@]} -gt 0 ]]; then
        # Another build may remove a file now; it is then missing.
        (cd "${cache}/archives" && ln -t "${work}/archives" -- "${names[@]}") 2>/dev/null || true
        (cd "${work}/archives" && touch --no-create -- "${names[@]}")
        damaged=$(cd "${work}/archives" && LC_ALL=C sha256sum --check --quiet --ignore-missing "${work}/sums" 2>/dev/null |
            sed -n 's/: FAILED.*//p') || true
        while read -r name; do
            if [[ -n ${name} ]]; then
                log "cached ${name} is damaged, fetching it again"
                rm -f "${cache}/archives/${name}" "${work}/archives/${name}"
            fi
        done <<< "${damaged}"
    fi
    while read -r _ name _; do
        if [[ ! -e ${work}/archives/${name} ]]; then
            return 1
        fi
    done < "${work}/uris"
}

# download_missing downloads the files named in $work/uris that are not in $work/archives.
# It fails for sources that only apt-get can use.
download_missing() {
    local uri name sum names=() arguments=()
    while read -r uri name _ sum; do
        if [[ -e ${work}/archives/${name} ]]; then
            continue
        fi
        uri=${uri#\'}
        uri=${uri%\'}
        # Not URIs with a password: apt-helper prints them.
        if [[ ! ${uri} =~ ^https?://[^/@]+/ || ${sum} != SHA256:* ]]; then
            return 1
        fi
        names+=("${name}")
        arguments+=("${uri}" "${work}/archives/partial/${name}" "${sum}")
    done < "${work}/uris"
    /usr/lib/apt/apt-helper "${options[@]}" download-file "${arguments[@]}" || return
    (cd "${work}/archives/partial" && mv -t "${work}/archives" -- "${names[@]}")
}

download() {
    if ! take_cached && ! download_missing; then
        apt-get "${options[@]}" "${index_options[@]}" --yes --download-only "$@" || return
    fi
    # This fails for files that are already in the cache.
    find "${work}/archives" -maxdepth 1 -name '*.deb' -exec ln -t "${cache}/archives" -- {} + 2>/dev/null || true
}

# fetch ACTION... stores all files that "apt-get ACTION..." needs in $work/archives.
fetch() {
    # The mirror may have changed since the index was read: refresh it once.
    local force
    for force in no yes; do
        locked index update_index "${force}" || return
        if apt-get "${options[@]}" "${index_options[@]}" --quiet=2 --print-uris "$@" > "${work}/uris"; then
            keep_parsed_index
            sed -i "/^'file:/d; /^'/!d" "${work}/uris"
            if take_cached || locked archives download "$@"; then
                return 0
            fi
        fi
        log "apt-get $1 cannot be prepared with this index"
    done
    return 1
}

# defer_py3compile replaces py3compile for maintainer scripts by a program that records its
# arguments. Running the real one for each package takes a third of the installation time.
defer_py3compile() {
    mkdir -p "${work}/bin"
    cat > "${work}/bin/py3compile" << END
#!/bin/sh
{ printf '%s\\037' "\$@" && printf '\\n'; } >> '${work}/py3compile'
END
    chmod 0755 "${work}/bin/py3compile"
}

# compile_python byte-compiles the files of the recorded calls.
compile_python() {
    if [[ -s ${work}/py3compile && -x /usr/bin/py3compile ]]; then
        /usr/bin/python3 "${py3compile}" < "${work}/py3compile"
    fi
    rm -f "${work}/py3compile"
}

run() {
    fetch "$@" && defer_py3compile && apt-get "${options[@]}" "${index_options[@]}" --yes "$@" && compile_python
}

# tidy removes files that differ between two builds of the same packages.
tidy() {
    rm -rf /var/log/apt/* /var/lib/apt/lists/* /var/cache/apt/*
    rm -f /var/log/dpkg.log /var/log/alternatives.log /var/log/bootstrap.log \
        /var/lib/dpkg/*-old /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache
    machine_identity_remove
    remove_setuid
    # Deployments mount the host's /etc/localtime. With a link here, the mount would replace its target.
    if [[ -L /etc/localtime ]]; then
        rm -f /etc/localtime
    fi
}

# dependencies_of PACKAGE... prints the dependencies of the packages as one clause.
dependencies_of() {
    apt-cache "${options[@]}" "${index_options[@]}" --no-all-versions show "$@" |
        sed -n 's/^\(Pre-\)\?Depends: //p' | paste -sd, | sed 's/,/, /g'
}

upgrade=
of=
packages=()
urls=()
for argument in "$@"; do
    case ${argument} in
        --upgrade) upgrade=yes ;;
        --dependencies-of) of=yes ;;
        http://* | https://*) urls+=("${argument}") ;;
        *) packages+=("${argument}") ;;
    esac
done

export DEBIAN_FRONTEND=noninteractive

if [[ -z ${KOLLA_APT_CACHE:-} ]] && ! mountpoint --quiet "${cache}"; then
    cache=$(mktemp -d)
    cache_is_temporary=yes
fi
mkdir -p "${cache}/lists/partial" "${cache}/archives" "${cache}/stamps" "${cache}/work" "${cache}/index"
locked index make_work

options=(
    -o "Dir::Cache=${work}/cache"
    -o "Dir::Cache::Archives=${work}/archives"
    -o Dir::Cache::pkgcache=pkgcache.bin
    -o Dir::Cache::srcpkgcache=srcpkgcache.bin
    -o Acquire::ForceHash=SHA256
    -o Acquire::Languages=none
    -o Acquire::Retries=5
    -o APT::Install-Recommends=false
    -o APT::Install-Suggests=false
    # In a builder without subordinate ids, root cannot change to the user _apt.
    -o APT::Sandbox::User=root
    -o Dpkg::Use-Pty=0
    -o "DPkg::Path=${work}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    # The layer of a failed step is discarded, so files need not be flushed.
    -o DPkg::Options::=--force-unsafe-io
    -o DPkg::Options::=--force-confdef
    -o DPkg::Options::=--force-confold
    # Do not write the log for apt's developers, which takes time to compress.
    -o Dir::Log::Planner=
    --quiet
)

if [[ -n ${upgrade} ]]; then
    run dist-upgrade
fi
if [[ -n ${of} ]]; then
    locked index update_index no
    clause=$(dependencies_of "${packages[@]}")
    run satisfy "${clause}"
    tidy
    exit
fi
number=0
for url in "${urls[@]}"; do
    number=$((number + 1))
    deb="${work}/urls/${number}_$(basename "${url%%\?*}")"
    /usr/lib/apt/apt-helper -o Acquire::Retries=5 -o APT::Sandbox::User=root \
        download-file "${url}" "${deb}"
    packages+=("${deb}")
done
if [[ ${#packages[@]} -gt 0 ]]; then
    run install "${packages[@]}"
fi
tidy
