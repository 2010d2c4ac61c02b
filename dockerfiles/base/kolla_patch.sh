#!/bin/bash
#
# kolla_patch                      apply patches to the installed files, from the root directory
# kolla_patch sources DIRECTORY... apply patches to unpacked sources, before they are installed
# kolla_patch adopt ROOT           record the patches that a build stage with the root ROOT has applied
#
# Patches are applied in the order of /patches/series, as in quilt: a line has the name of a
# patch and options, which may be -pN and -R. Without -pN, the first of -p0, -p1 and -p2 that
# applies is used; for a patch that only adds files, -p1 if git made it, else the first of -p0
# and -p1 whose directories exist. A patch that "sources" has applied is not applied to the
# installed files again. Each patch must apply to a source or to the installed files.
# /etc/kolla/patched has the names of the patches that this image and its parents have applied.

set -o errexit
set -o nounset
set -o pipefail

patches=/patches
series=${patches}/series
patched=/etc/kolla/patched
failures=${patches}/.failures # why patches do not apply to a source, for the message of the last step
options=(--fuzz=0 --ignore-whitespace --force --no-backup-if-mismatch)

headers="" # of the patch being applied, see headers_of

# parse_header LINE sets name to that in a line "--- NAME" or "+++ NAME", and epoch to yes if its date is 0, in
# the time zone of its user: diff -N writes so for a file that does not exist.
parse_header() {
    name=${1:4}
    epoch=no
    if [[ ${name} = *$'\t'* ]]; then
        name=${name%%$'\t'*} # a name with spaces ends with a tab
    else
        name=${name%% *}
    fi
    if [[ ${1} =~ [[:space:]](1970-01-01|1969-12-31)\ [0-9:.]+(\ [-+][0-9]+)?$ ]]; then
        epoch=yes
    fi
}

# headers_of PATCH prints the old and the new name of each file in a patch, separated by a tab; one that
# does not exist is /dev/null. Lines of hunks are counted: a removed line that begins with "-- " looks
# like a header. The text before a header may have lines that look like the start of a hunk.
headers_of() {
    local LC_ALL=C line before="" name epoch old=0 new=0 state=text from="" to="" from_epoch to_epoch
    print_names() {
        if [[ -n ${from} ]]; then
            # A path from the root directory names an installed file, and the program patch prefers it.
            if [[ ${to} = /* && ${to} != /dev/null && ${from} != /dev/null ]]; then
                from=${to}
            elif [[ ${from} = /* && ${from} != /dev/null && ${to} != /dev/null ]]; then
                to=${from}
            fi
            printf '%s\t%s\n' "${from}" "${to}"
        fi
        from=""
    }
    while IFS= read -r line || [[ -n ${line} ]]; do
        line=${line%$'\r'}
        if ((old > 0 || new > 0)); then
            case ${line} in
                -*) old=$((old - 1)) ;;
                +*) new=$((new - 1)) ;;
                \\*) ;;
                *) old=$((old - 1)) new=$((new - 1)) ;;
            esac
            continue
        elif [[ ${state} = names || ${state} = hunks ]] &&
            [[ ${line} =~ ^@@\ -([0-9]+)(,([0-9]+))?\ \+([0-9]+)(,([0-9]+))?\ @@ ]]; then
            old=${BASH_REMATCH[3]:-1}
            new=${BASH_REMATCH[6]:-1}
            if [[ ${state} = names ]]; then # a file of an archive may have the date 0 too
                if [[ ${from_epoch} = yes && ${BASH_REMATCH[1]},${old} = 0,0 ]]; then
                    from=/dev/null
                elif [[ ${to_epoch} = yes && ${BASH_REMATCH[4]},${new} = 0,0 ]]; then
                    to=/dev/null
                fi
            fi
            state=hunks
        elif [[ ${line} = "+++ "* && ${before} = "--- "* ]]; then
            if [[ ${state} != git ]]; then
                print_names
            fi
            parse_header "${before}"
            from=${name} from_epoch=${epoch}
            parse_header "${line}"
            to=${name} to_epoch=${epoch}
            state=names
        elif [[ ${line} = "diff --git "* ]]; then
            print_names
            name=${line#diff --git }
            from=${name%% *} # the program patch ends names at spaces here too
            to=${name##* }
            state=git
        elif [[ ${state} = git && ${line} = "new file mode "* ]]; then
            from=/dev/null # an empty file has no other header
        elif [[ ${state} = git && ${line} = "deleted file mode "* ]]; then
            to=/dev/null
        elif [[ ${line} = "From "* || ${line} = "Index: "* ]]; then
            print_names
            state=text
        fi
        before=${line}
    done < "$1"
    print_names
}

# paths prints the names of the files in the patch.
paths() {
    tr '\t' '\n' <<< "${headers}" | sed -e '/^$/d' -e '/^\/dev\/null$/d' | sort -u
}

# changes succeeds if the patch changes or removes files, and does not only add some.
changes() {
    [[ -n $(sed -e '/^$/d' -e '/^\/dev\/null\t/d' <<< "${headers}") ]]
}

# strip PATH LEVEL sets stripped to the path without its first parts, or fails if it has too few.
strip() {
    local i
    stripped=$1
    for ((i = 0; i < $2; i++)); do
        [[ ${stripped} = */* ]] || return 1
        stripped=${stripped#*/}
    done
}

# fits DIRECTORY LEVEL BARE succeeds if the paths of the patch match the directory: the first part of
# each must exist. A patch that only adds files would apply everywhere otherwise. If it changes files,
# they show where it belongs, and it may add others in new directories. With BARE, the level leaves
# no path with a directory, which fits everywhere too.
fits() {
    local directory=$1 level=$2 bare=no directories=no changes=no from to path stripped first
    if changes; then
        changes=yes
    fi
    while IFS=$'\t' read -r from to; do
        for path in "${from}" "${to}"; do
            if [[ -z ${path} || ${path} = /dev/null ]]; then
                continue
            fi
            if [[ ${path} = /* && ${directory}${level} != /0 ]]; then
                return 1 # of an installed file
            fi
            if [[ ${level} = 0 && ${path} =~ ^[ab]/ && ! -e ${directory}/${path%%/*} ]]; then
                return 1 # prefixes that git adds
            fi
            strip "${path}" "${level}" || return 1
            first=${stripped%%/*}
            if [[ ${first} = "${stripped}" ]]; then
                bare=yes
            elif [[ -e ${directory}/${first} ]]; then
                directories=yes
            elif [[ ${changes} = no || ${path} = "${from}" ]]; then
                return 1
            fi
        done
    done <<< "${headers}"
    if [[ ${directories} = yes ]]; then
        bare=no
    fi
    [[ ${bare} = "$3" ]]
}

# has_files DIRECTORY LEVEL succeeds if the files that the patch changes exist, under the old or the new
# name. The program patch would create a file that was empty.
has_files() {
    local directory=$1 level=$2 from to stripped old
    local -A made=() # by an earlier part of the patch
    while IFS=$'\t' read -r from to; do
        if [[ -z ${from} || ${from} = \"* ]]; then
            continue # the program patch knows how git quotes names
        fi
        strip "${from}" "${level}" || stripped=${from}
        old=${stripped}
        strip "${to}" "${level}" || stripped=${to}
        if [[ ${from} != /dev/null && ! -e ${directory}/${old} && -z ${made["${old}"]-} ]]; then
            if [[ ${to} = /dev/null || ! -e ${directory}/${stripped} ]]; then
                return 1
            fi
        fi
        made["${stripped}"]=yes
    done <<< "${headers}"
}

# candidates LEVELS DIRECTORY... prints the levels and directories that the patch fits, those in
# whose directories its files belong first.
candidates() {
    local levels=$1 bare level directory
    shift
    for bare in no yes; do
        for level in ${levels}; do
            for directory in "$@"; do
                if [[ -d ${directory} ]]; then # else a pattern without a match, without plugins
                    directory=$(realpath "${directory}")
                    if fits "${directory}" "${level}" "${bare}"; then
                        echo "${level} ${directory}"
                    fi
                fi
            done
        done
    done
}

# levels_of prints the values of -p to try. A new file would also be written where it is not meant
# to be: with too many parts removed, its path fits everywhere. With pipefail, no pipe ends with
# grep -q: it exits at the first match, and SIGPIPE would fail the commands before it.
levels_of() {
    local path levels=1 # prefixes that git adds
    if [[ -z ${headers} ]] || changes; then
        echo "0 1 2"
        return
    fi
    while read -r path; do
        if [[ ${path} != [ab]/* ]]; then
            levels="0 1" # the directory of the source, as quilt writes it
            if [[ ${path} != */*/* || -e /${path%%/*} ]]; then
                echo 0
                return
            fi
        fi
    done < <(paths)
    echo "${levels}"
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
    elif [[ $'\n'${headers} = *$'\n/dev/null\t'* ]]; then
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
            headers=$(headers_of "${patches}/${name}")
            if [[ -n ${reverse} ]]; then # it adds the files that the patch removes
                headers=$(sed 's/^\(.*\)\t\(.*\)$/\2\t\1/' <<< "${headers}")
            fi
            "${function}" "${name}" "${levels:-$(levels_of)}" "${reverse}" "$@" < /dev/null
        fi
    done < <(tr -d '\r' < "${series}")
}

patch_source() {
    local name=$1 levels=$2 reverse=$3 directory level why=""
    shift 3
    while read -r level directory; do
        if ! has_files "${directory}" "${level}" ||
            ! try "${directory}" "${level}" "${name}" ${reverse:+"${reverse}"} > /dev/null; then
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
    done < <(candidates "${levels}" "$@")
    echo "kolla_patch: trying ${name} on the installed files later: ${why:-no source has its files}"
    if [[ -n ${why} ]]; then
        echo "${name} ${why}" >> "${failures}"
    fi
}

patch_installed() {
    local name=$1 levels=$2 reverse=$3 level directory why="" failed text
    while read -r level directory; do
        if has_files / "${level}" && try / "${level}" "${name}" ${reverse:+"${reverse}"} > /dev/null; then
            echo "kolla_patch: applying ${name} with -p${level}"
            patch "${options[@]}" "-p${level}" ${reverse:+"${reverse}"} -d / < "${patches}/${name}"
            record "${name}"
            return
        fi
        why=${why:-$(reason / "${level}" "${name}" ${reverse:+"${reverse}"})}
    done < <(candidates "${levels}" /)
    if [[ -e ${failures} ]]; then
        while read -r failed text; do
            if [[ ${failed} = "${name}" ]]; then
                why=${text}
            fi
        done < "${failures}"
    fi
    echo "kolla_patch: ${name} does not apply: ${why:-no source and no installed file $(paths | sed -n 1p)}" >&2
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
