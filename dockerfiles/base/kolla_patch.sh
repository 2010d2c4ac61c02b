#!/bin/bash
#
# kolla_patch                      apply patches to the installed files, from the root directory
# kolla_patch sources DIRECTORY... apply patches to unpacked sources, before they are installed
# kolla_patch adopt ROOT           record the patches that a build stage with the root ROOT has applied
#
# Patches are applied in the order of /patches/series, as in quilt: a line has the name of a
# patch and options, which may be -pN and -R. Without -pN, the first of -p0, -p1 and -p2 that
# applies is used; for a patch that only adds files, -p1 if git made it, else -p0. A patch
# that "sources" has applied is not applied to the installed files again. Each patch must
# apply to a source or to the installed files. /etc/kolla/patched has the names of the
# patches that this image and its parents have applied.

set -o errexit
set -o nounset
set -o pipefail

patches=/patches
series=${patches}/series
patched=/etc/kolla/patched
failures=${patches}/.failures # why patches do not apply to a source, for the message of the last step
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

# levels_of PATCH prints the values of -p to try. A new file would also be written where it is not
# meant to be: with too many parts removed, its path fits everywhere. With pipefail, no pipe ends
# with grep -q: it exits at the first match, and SIGPIPE would fail the commands before it.
levels_of() {
    if [[ -n $(grep '^--- ' "$1" | grep -v '^--- /dev/null') ]]; then
        echo "0 1 2"
    elif [[ -n $(paths "$1" | grep -v '^[ab]/') ]]; then
        echo 0
    else
        echo 1 # prefixes that git adds
    fi
}

# try DIRECTORY LEVEL PATCH [-R] succeeds if the patch applies. It changes no files.
try() {
    local directory=$1 level=$2 name=$3
    shift 3
    LC_ALL=C patch --dry-run "${options[@]}" "-p${level}" "$@" -d "${directory}" < "${patches}/${name}" 2>&1
}

# reason DIRECTORY LEVEL PATCH [-R] prints the file and the hunk for which a patch does not apply.
reason() {
    local line slashes file="" missing="" place="in $1, with -p$2"
    while read -r line; do
        case ${line} in
            "checking file "*) file=${line#checking file } ;;
            "The next patch would create the file "*) file=${line##* file }; file=${file%,} ;;
            "which already exists"*)
                echo "${file} already exists (${place})"
                return ;;
            "can't find file"*) missing=yes ;;
            "|+++ "*)
                if [[ -n ${missing} ]]; then
                    line=${line#|+++ }
                    slashes=${line//[^\/]/}
                    if ((${#slashes} > $2)); then # a file in no directory fits everywhere
                        echo "no file ${line%%$'\t'*} (${place})"
                    fi
                    return
                fi ;;
            *"FAILED at"* | "Reversed "* | "patch: ****"*)
                echo "${file:+${file}: }${line} (${place})"
                return ;;
        esac
    done < <(try "$@")
    echo "patch fails (${place})"
}

# include DIRECTORY PATCH makes files that a patch adds part of the package: pbr reads the list of
# files from git or, in a release archive, from SOURCES.txt.
include() {
    local directory=$1 name=$2 list
    if [[ ! -e ${directory}/.git ]]; then
        :
    elif command -v git > /dev/null; then
        git -C "${directory}" -c safe.directory='*' add --all
    elif grep -q '^--- /dev/null' "${patches}/${name}"; then
        echo "kolla_patch: git is not installed: the files that ${name} adds may be missing in the package of ${directory}"
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
        levels=""
        reverse=""
        for option in ${rest%%#*}; do
            case ${option} in
                -p[0-9]) levels=${option#-p} ;;
                -R) reverse=-R ;;
                *) echo "kolla_patch: ${name} has the unknown option ${option}" >&2; exit 2 ;;
            esac
        done
        if ! grep -Fqx "${name}" "${patched}"; then
            "${function}" "${name}" "${levels:-$(levels_of "${patches}/${name}")}" "${reverse}" "$@" < /dev/null
        fi
    done < <(tr -d '\r' < "${series}")
}

patch_source() {
    local name=$1 levels=$2 reverse=$3 directory level why=""
    shift 3
    for directory in "$@"; do
        if [[ ! -d ${directory} ]]; then
            continue # a pattern without a match, without plugins
        fi
        directory=$(realpath "${directory}")
        for level in ${levels}; do
            if ! fits "${directory}" "${level}" "${patches}/${name}"; then
                continue
            elif ! try "${directory}" "${level}" "${name}" ${reverse:+"${reverse}"} > /dev/null; then
                why=${why:-$(reason "${directory}" "${level}" "${name}" ${reverse:+"${reverse}"})}
                continue
            fi
            echo "kolla_patch: applying ${name} to ${directory} with -p${level}"
            touch "${patches}/.started"
            sleep 0.01
            patch "${options[@]}" "-p${level}" ${reverse:+"${reverse}"} -d "${directory}" < "${patches}/${name}"
            include "${directory}" "${name}"
            record "${name}"
            return
        done
    done
    echo "kolla_patch: trying ${name} on the installed files later: ${why:-no source has its files}"
    if [[ -n ${why} ]]; then
        echo "${name} ${why}" >> "${failures}"
    fi
}

patch_installed() {
    local name=$1 levels=$2 reverse=$3 level why="" failed text
    for level in ${levels}; do
        if ! fits / "${level}" "${patches}/${name}"; then
            continue
        elif try / "${level}" "${name}" ${reverse:+"${reverse}"} > /dev/null; then
            echo "kolla_patch: applying ${name} with -p${level}"
            patch "${options[@]}" "-p${level}" ${reverse:+"${reverse}"} -d / < "${patches}/${name}"
            record "${name}"
            return
        fi
        why=${why:-$(reason / "${level}" "${name}" ${reverse:+"${reverse}"})}
    done
    if [[ -e ${failures} ]]; then
        while read -r failed text; do
            if [[ ${failed} = "${name}" ]]; then
                why=${text}
            fi
        done < "${failures}"
    fi
    echo "kolla_patch: ${name} does not apply: ${why:-no source and no installed file $(paths "${patches}/${name}" | sed -n 1p)}" >&2
    exit 1
}

mkdir -p "$(dirname "${patched}")"
touch "${patched}"
case ${1-} in
    adopt)
        if [[ -e $2${patched} ]]; then
            sort -u "${patched}" "$2${patched}" > "${patched}.new"
            mv "${patched}.new" "${patched}"
        fi
        if [[ -e $2${failures} ]]; then
            mkdir -p "${patches}"
            cp "$2${failures}" "${failures}"
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
        rm -f "${failures}"
        each patch_source "$@"
        rm -f "${patches}/.started" ;;
    "")
        each patch_installed
        rm -f "${series}" "${failures}" ;;
    *) echo "kolla_patch: unknown command $1" >&2; exit 2 ;;
esac
