# bash completion for kolla-build: kolla-build completion bash

_kolla_build() {
    local line=$COMP_LINE words=() n=-1 i part cur prefix= kind= word out value

    # Bash cuts words at = and :, as in --base=debian and oci:dir. What has no
    # blank between is one word for us.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        part=${COMP_WORDS[i]}
        if ((i > 0)) && [[ $line != [[:blank:]]* ]]; then
            words[n]+=$part
        else
            words[++n]=$part
            line=${line#"${line%%[![:blank:]]*}"}
        fi
        line=${line#"$part"}
    done
    cur=${words[n]}

    COMPREPLY=()
    out=$("${words[0]}" __complete "${words[@]:1}" 2>/dev/null) || return
    # What bash has cut off before the last part of the word stays as it is.
    [[ $COMP_WORDBREAKS == *=* && $cur == *=* ]] && prefix=${cur%"${cur##*=}"}
    [[ $COMP_WORDBREAKS == *:* && ${cur#"$prefix"} == *:* ]] && prefix=${cur%"${cur##*:}"}
    while IFS= read -r word; do
        if [[ $word == :* ]]; then
            kind=${word#:}
        else
            word=${word%%$'\t'*}
            COMPREPLY+=("${word#"$prefix"}")
        fi
    done <<<"$out"

    case $kind in
    files* | dirs*)
        value=${cur#"$prefix"}
        if [[ $prefix != *= && $value == --*=* ]]; then
            value=${value#*=}
        fi
        part=-f
        [[ $kind == dirs* ]] && part=-d
        compopt -o filenames 2>/dev/null
        while IFS= read -r word; do
            [[ -n $word ]] && COMPREPLY+=("$word")
        done < <(compgen "$part" -- "$value")
        ;;
    esac
    return 0
}

complete -F _kolla_build kolla-build
