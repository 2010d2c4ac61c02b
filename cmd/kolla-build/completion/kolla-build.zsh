#compdef kolla-build
# zsh completion for kolla-build: kolla-build completion zsh

_kolla_build() {
    local -a lines candidates before
    local line kind word help
    before=("${(@Q)words[2,CURRENT-1]}")
    lines=("${(@f)$("${(Q)words[1]}" __complete "${before[@]}" "${(Q)PREFIX}" 2>/dev/null)}")
    for line in "${lines[@]}"; do
        if [[ $line == :* ]]; then
            kind=${line#:}
        elif [[ -n $line ]]; then
            word=${line%%$'\t'*}
            help=${line#*$'\t'}
            candidates+=("${word//:/\\:}${help:+:$help}")
        fi
    done
    if (( $#candidates )); then
        _describe 'kolla-build' candidates
    fi
    case $kind in
    files*)
        compset -P '--*='
        _files
        ;;
    dirs*)
        compset -P '--*='
        _files -/
        ;;
    esac
}

# Loaded by fpath, this file is the function; sourced, it defines one.
if [[ ${funcstack[1]} == _kolla-build ]]; then
    _kolla_build "$@"
else
    compdef _kolla_build kolla-build
fi
