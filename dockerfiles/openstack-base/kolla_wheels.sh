#!/bin/bash
#
# kolla_wheels build pypi|distribution PACKAGE...
# kolla_wheels install DIRECTORY
# kolla_wheels configure PROJECT SOURCE CONFIG
#
# Installs Python projects into the virtual environment in two steps, so that
# compilers and headers stay out of images: a build stage runs "build", which
# puts wheels of the packages and of all that they need into /wheels; the image
# mounts that directory and runs "install", which adds what is missing.
#
# With "pypi", dependencies come from the package index within the upper
# constraints of /requirements. With "distribution", nothing is downloaded:
# dependencies are the distribution's packages, which the environment sees.
#
# "configure" copies the directory CONFIG of a project's SOURCE to /etc/PROJECT,
# lets rootwrap find programs in the environment, and keeps the lists of options
# that oslo-config-validator reads.

set -euo pipefail
shopt -s nullglob

venv=/var/lib/kolla/venv

# Archives keep the owners of their files, which git does not trust by default.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
# Neither authors nor changes are known where git has no history.
export SKIP_GENERATE_AUTHORS=1 SKIP_WRITE_GIT_CHANGELOG=1

# Archives made by git alone hold no version. Their directory is named after it.
version_of() {
    local name
    name=$(basename "$(realpath "$1")")
    if [[ ! -e $1/PKG-INFO && ! -e $1/.git && ${name} =~ -([0-9][0-9a-z.]*)$ ]]; then
        echo "${BASH_REMATCH[1]}"
    fi
}

# list_files lets pbr know which files such an archive has. It takes them from git or
# from the list in a release archive, and packages only Python modules without.
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
    # Sources come first, each on its own, since each archive has a version of its
    # own. Then everything is resolved together: a plugin that needs its project
    # must get the one that was built here, not one of the index.
    for package in "$@"; do
        case ${package} in
            */\*) ;;     # a pattern without a match: there are no plugins
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
