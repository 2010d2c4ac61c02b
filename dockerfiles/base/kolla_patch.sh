#!/bin/bash
#
# kolla_patch                      apply patches to the installed files, from the root directory
# kolla_patch sources DIRECTORY... apply patches to unpacked sources, before they are installed
# kolla_patch adopt ROOT           record the patches that a build stage with the root ROOT has applied
#
# Patches are applied in the order of /patches/series, as in quilt: a line has the name of a
# patch and options, which may be -pN and -R. Without -pN, the first of -p0, -p1 and -p2 that
# applies is used. A patch that "sources" has applied is not applied to the installed files
# again. Each patch must apply to a source or to the installed files. /etc/kolla/patched has
# the names of the patches that this image and its parents have applied.

set -o errexit
set -o nounset
set -o pipefail

patches=/patches
series=${patches}/series
patched=/etc/kolla/patched
options=(--fuzz=0 --ignore-whitespace --force --no-backup-if-mismatch)

# paths PATCH prints the names of the files in a patch.
paths() {
    sed -n -e 's/\r$//' -e 's/^\(---\|+++\) \([^\t]*\).*/\2/p' "$1" | grep -v '^/dev/null' | sort -u
}

# fits DIRECTORY LEVEL PATCH succeeds if the paths of the patch match the directory. A patch
# that only adds files would apply everywhere, so the first part of each path must exist.
fits() {
    local directory=$1 level=$2 path first
    while read -r path; do
        if [[ ${level} = 0 && ${path} =~ ^[ab]/ && ! -e ${directory}/${path%%/*} ]]; then
            return 1 # prefixes that git adds
        fi
        for ((i = 0; i < level; i++)); do
            [[ ${path} = */* ]] || return 1
            path=${path#*/}
        done
        first=${path%%/*}
        [[ ${first} = "${path}" || -e ${directory}/${first} ]] || return 1
    done < <(paths "$3")
}

# applies DIRECTORY LEVEL PATCH [-R] succeeds if the patch applies.
applies() {
    local directory=$1 level=$2 name=$3
    shift 3
    fits "${directory}" "${level}" "${patches}/${name}" &&
        patch --dry-run --silent "${options[@]}" "-p${level}" "$@" -d "${directory}" < "${patches}/${name}" > /dev/null 2>&1
}

# include DIRECTORY makes files that a patch adds part of the package: pbr reads the list of
# files from git or, in a release archive, from SOURCES.txt.
include() {
    local directory=$1 list
    if [[ -e ${directory}/.git ]]; then
        git -C "${directory}" -c safe.directory='*' add --all
    fi
    for list in "${directory}"/*.egg-info/SOURCES.txt; do
        if [[ -e ${list} ]]; then
            (cd "${directory}" && find . -type f -newer "${patches}/.started" -not -path './.git/*' -printf '%P\n') >> "${list}"
            sort -u -o "${list}" "${list}"
        fi
    done
}

record() {
    echo "$1" >> "${patched}"
    echo "$1" >> "${series}.applied"
}

# each FUNCTION [ARGUMENT...] calls FUNCTION NAME LEVELS REVERSE ARGUMENT... for each patch
# that is not yet applied.
each() {
    local function=$1 name rest option levels reverse
    shift
    while read -r name rest || [[ -n ${name} ]]; do # the last line may have no newline
        if [[ -z ${name} || ${name} = \#* ]]; then
            continue
        fi
        levels="0 1 2"
        reverse=""
        for option in ${rest%%#*}; do
            case ${option} in
                -p[0-9]) levels=${option#-p} ;;
                -R) reverse=-R ;;
                *) echo "kolla_patch: ${name} has the unknown option ${option}" >&2; exit 2 ;;
            esac
        done
        if ! grep -Fqx "${name}" "${patched}"; then
            "${function}" "${name}" "${levels}" "${reverse}" "$@" < /dev/null
        fi
    done < <(tr -d '\r' < "${series}")
}

patch_source() {
    local name=$1 levels=$2 reverse=$3 directory level
    shift 3
    for directory in "$@"; do
        if [[ ! -d ${directory} ]]; then
            continue # a pattern without a match, without plugins
        fi
        directory=$(realpath "${directory}")
        for level in ${levels}; do
            if applies "${directory}" "${level}" "${name}" ${reverse:+"${reverse}"}; then
                echo "kolla_patch: applying ${name} to ${directory} with -p${level}"
                touch "${patches}/.started"
                sleep 0.01
                patch "${options[@]}" "-p${level}" ${reverse:+"${reverse}"} -d "${directory}" < "${patches}/${name}"
                include "${directory}"
                record "${name}"
                return
            fi
        done
    done
    echo "kolla_patch: ${name} does not apply to a source; trying the installed files later"
}

patch_installed() {
    local name=$1 levels=$2 reverse=$3 level use=${2%% *}
    for level in ${levels}; do
        if applies / "${level}" "${name}" ${reverse:+"${reverse}"}; then
            use=${level}
            break
        fi
    done
    echo "kolla_patch: applying ${name} with -p${use}"
    if ! patch "${options[@]}" "-p${use}" ${reverse:+"${reverse}"} -d / < "${patches}/${name}"; then
        echo "kolla_patch: ${name} does not apply to a source or to the installed files" >&2
        exit 1
    fi
    record "${name}"
}

mkdir -p "$(dirname "${patched}")"
touch "${patched}"
case ${1-} in
    adopt)
        if [[ -e $2${patched} ]]; then
            sort -u "${patched}" "$2${patched}" > "${patched}.new"
            mv "${patched}.new" "${patched}"
        fi
        exit 0 ;;
esac
if [[ ! -e ${series} ]]; then
    echo "kolla_patch: no series file, nothing to do"
    exit 0
fi
case ${1-} in
    sources)
        shift
        each patch_source "$@"
        rm -f "${patches}/.started" ;;
    "")
        each patch_installed
        rm -f "${series}" ;;
    *) echo "kolla_patch: unknown command $1" >&2; exit 2 ;;
esac
