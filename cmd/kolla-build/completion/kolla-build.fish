# fish completion for kolla-build: kolla-build completion fish

function __kolla_build_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    set -l kind
    for line in ($program __complete $words "$current" 2>/dev/null)
        if string match -q ':*' -- $line
            set kind (string sub -s 2 -- $line)
        else
            echo $line
        end
    end
    # In --option=path it is the part after the = that names a file.
    set -l prefix (string match -r -- '^--[^=]*=' $current)
    set -l value (string replace -r -- '^--[^=]*=' '' $current)
    switch "$kind"
        case 'files*'
            for found in (__fish_complete_path "$value")
                echo "$prefix$found"
            end
        case 'dirs*'
            for found in (__fish_complete_directories "$value" '')
                echo "$prefix$found"
            end
    end
end

complete -c kolla-build -f -a '(__kolla_build_complete)'
