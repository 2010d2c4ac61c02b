#!/bin/bash
#
# kolla_wheels build pypi|distribution PACKAGE...
# kolla_wheels install DIRECTORY
# kolla_wheels configure PROJECT SOURCE CONFIG
#
# Install Python projects into the virtual environment in two steps, so that images have no
# compilers and headers. A build stage runs "build", which stores wheels of the packages and
# of their dependencies in /wheels. The image mounts that directory and runs "install", which
# installs the wheels that are missing.
#
# With "pypi", dependencies come from the package index, within the upper constraints of
# /requirements. With "distribution", nothing is downloaded: dependencies are packages of the
# distribution, which are visible in the virtual environment.
#
# "configure" copies the directory CONFIG of a project's SOURCE to /etc/PROJECT, makes
# rootwrap search the virtual environment for programs, and keeps the lists of options that
# oslo-config-validator reads.

set -euo pipefail
shopt -s nullglob

venv=/var/lib/kolla/venv

# Files in archives have owners that git does not trust by default.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
# Without a git history, there are no authors and changes.
export SKIP_GENERATE_AUTHORS=1 SKIP_WRITE_GIT_CHANGELOG=1

# Archives of "git archive" contain no version, but the name of their directory has it.
version_of() {
    local name
    name=$(basename "$(realpath "$1")")
    if [[ ! -e $1/PKG-INFO && ! -e $1/.git && ${name} =~ -([0-9][0-9a-z.]*)$ ]]; then
        echo "${BASH_REMATCH[1]}"
    fi
}

# list_files provides pbr with the files of such an archive. pbr reads them from git or from
# the list in a release archive; without either, it packages only Python modules.
list_files() {
    if grep -qs pbr "$1"/{setup.py,setup.cfg,pyproject.toml}; then
        git -C "$1" init --quiet
        git -C "$1" add --all --force
    fi
}

build() {
    local dependencies=$1 package version options names=() directory wheel
    shift
    mkdir -p /wheels
    case ${dependencies} in
        pypi) options=(--constraint /requirements/upper-constraints.txt) ;;
        distribution) options=(--no-index --no-build-isolation) ;;
        *) echo "kolla_wheels: dependencies come from pypi or distribution, not ${dependencies}" >&2; exit 2 ;;
    esac
    # Sources are built first, one by one, since each has its own version. Then all are
    # resolved together: a plugin that requires its project must get the one built here, not
    # one from the index.
    for package in "$@"; do
        case ${package} in
            */\*) ;;     # a pattern without a match, without plugins
            /*)
                version=$(version_of "${package%%\[*}")
                directory=$(mktemp -d)
                if [[ -n ${version} ]]; then
                    list_files "${package%%\[*}"
                fi
                env ${version:+"PBR_VERSION=${version}"} \
                    python3 -m pip wheel --wheel-dir "${directory}" --no-deps "${options[@]}" "${package%%\[*}"
                wheel=("${directory}"/*.whl)
                case ${package} in
                    *\[*) names+=("${wheel[0]}[${package#*\[}") ;;
                    *) names+=("${wheel[0]}") ;;
                esac ;;
            *) names+=("${package}") ;;
        esac
    done
    if [[ ${dependencies} == distribution ]]; then
        options+=(--no-deps)
    fi
    if [[ ${#names[@]} -gt 0 ]]; then
        python3 -m pip wheel --wheel-dir /wheels "${options[@]}" "${names[@]}"
    fi
}

install_wheels() {
    local wheels=("$1"/*.whl)
    if [[ ${#wheels[@]} -gt 0 ]]; then
        python3 -m pip install --no-cache-dir --no-index --no-deps "${wheels[@]}"
    fi
}

configure() {
    local project=$1 source=$2 config=$3 audit
    mkdir -p "/etc/${project}"
    if [[ -d ${source}/${config} ]]; then
        cp -r "${source}/${config}/." "/etc/${project}/"
    fi
    audit=${venv}/etc/pycadf/${project}_api_audit_map.conf
    if [[ -e ${audit} ]]; then
        cp "${audit}" "/etc/${project}/"
    fi
    if [[ -e /etc/${project}/rootwrap.conf ]]; then
        sed -i "s|^exec_dirs.*|exec_dirs=${venv}/bin,/sbin,/usr/sbin,/bin,/usr/bin,/usr/local/bin,/usr/local/sbin|" \
            "/etc/${project}/rootwrap.conf"
    fi
    mkdir -p "/${project}"
    cd "${source}"
    find . -path '*config-generator*' -type f -exec cp --parents --target-directory "/${project}" {} +
}

command=$1
shift
case ${command} in
    build) build "$@" ;;
    install) install_wheels "$@" ;;
    configure) configure "$@" ;;
    *) echo "kolla_wheels: unknown command ${command}" >&2; exit 2 ;;
esac
