#!/bin/sh
# with-cache WHAT COMMAND...: runs a RUN step's command with the caches of
# package managers in a cache mount that images share. WHAT is a list of apt,
# lists, dnf and pip.
#
# A command that empties its cache (apt-get clean, rm -rf /var/lib/apt/lists/*,
# dnf clean all) must not empty the others', and one installation must not wait
# for another's lock. So each step works in a directory of its own, of hard
# links into the shared pool, and what is new there is linked into the pool.
# Nothing here may fail a build: without a pool the command runs as it is.
pool=/run/kolla-build/cache
what=$1
shift
command -v mktemp >/dev/null 2>&1 && mkdir -p "$pool/work" "$pool/debs" "$pool/lists" "$pool/dnf" "$pool/pip" 2>/dev/null &&
    work=$(mktemp -d "$pool/work/XXXXXXXX" 2>/dev/null) || exec "$@"
chmod 755 "$work" # apt downloads as a user of its own
find "$pool/work" -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf {} + 2>/dev/null # of steps that were killed

has() { case ",$what," in *",$1,"*) ;; *) return 1 ;; esac }

if has apt; then
    mkdir -p "$work/apt/archives/partial"
    find "$pool/debs" -name '*.deb' -exec ln {} "$work/apt/archives/" \; 2>/dev/null
    {
        if [ -n "$APT_CONFIG" ]; then cat "$APT_CONFIG"; fi
        echo "Dir::Cache \"$work/apt/\";"
        # Images are often told to remove archives as soon as they are unpacked.
        echo "DPkg::Pre-Invoke { \"ln -f $work/apt/archives/*.deb $pool/debs/ 2>/dev/null || true\"; };"
        if has lists; then
            mkdir -p "$work/lists/partial"
            find "$pool/lists" -maxdepth 1 -type f -exec ln {} "$work/lists/" \; 2>/dev/null
            echo "Dir::State::lists \"$work/lists/\";"
        fi
    } >"$work/apt.conf"
    export APT_CONFIG="$work/apt.conf"
fi
if has dnf; then
    mkdir -p "$work/bin"
    cp -al "$pool/dnf" "$work/dnf" 2>/dev/null || mkdir -p "$work/dnf"
    for name in dnf dnf5 yum microdnf; do
        real=$(command -v "$name") || continue
        case $(basename "$(readlink -f "$real")") in
        dnf5) options="--setopt=system_cachedir=$work/dnf" ;;
        dnf* | microdnf) options="--setopt=cachedir=$work/dnf" ;;
        *) continue ;; # the yum of before dnf
        esac
        # The index is looked at each time: a cache must not hide what is new.
        cat >"$work/bin/$name" <<EOF
#!/bin/sh
for word; do
    [ "\$word" != clean ] || exec "$real" "\$@"
done
exec "$real" $options --setopt=keepcache=1 --refresh "\$@"
EOF
        chmod 755 "$work/bin/$name"
    done
    PATH=$work/bin:$PATH
fi
if has pip; then
    export PIP_CACHE_DIR="$pool/pip"
    unset PIP_NO_CACHE_DIR
fi

"$@"
status=$?

if has apt; then
    find "$work/apt/archives" -maxdepth 1 -name '*.deb' -exec ln -f {} "$pool/debs/" \; 2>/dev/null
fi
if has lists; then
    find "$work/lists" -maxdepth 1 -type f ! -name lock -exec ln -f {} "$pool/lists/" \; 2>/dev/null
fi
if has dnf; then
    cp -alf "$work/dnf/." "$pool/dnf/" 2>/dev/null
fi
rm -rf "$work" 2>/dev/null
exit "$status"
