#!/usr/bin/env bash
# test-release.sh: run release.sh twice and compare the files, then use them as a user would:
# install the .deb in a new Debian, list the .rpm, and build an image with the container image.
# Needs root, and takes several minutes.
#
#   DIST=DIR   result of an earlier run of release.sh, used in place of the first run
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "test-release.sh needs root"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
arch=$(go env GOARCH)
fail() { echo "FAIL: $*"; exit 1; }

echo "== two releases of one commit"
first=${DIST:-$work/first}
[ -e "$first/SHA256SUMS" ] || DIST=$first scripts/release.sh >"$work/first.log"
# Build in another directory, so that a path that got into a file makes a difference.
git worktree add -q --detach "$work/tree" HEAD
trap 'git worktree remove --force "$work/tree"; rm -rf "$work"' EXIT
(cd "$work/tree" && DIST=$work/second scripts/release.sh --no-image >"$work/second.log")
while read -r sum file; do
  [ "$(sha256sum <"$work/second/$file")" = "$sum  -" ] || fail "$file differs"
done < <(grep -v -- -image- "$first/SHA256SUMS")
(cd "$first" && sha256sum --quiet -c SHA256SUMS) || fail "checksums"

echo "== binaries"
mkdir "$work/tar"
tar -xzf "$first"/kolla-build-*-linux-"$arch".tar.gz -C "$work/tar" --strip-components=1
for program in kolla-build buildkitd; do
  kind=$(file -b "$work/tar/$program")
  [[ $kind = *'statically linked'*stripped* ]] || fail "$program: $kind"
done
for sbom in "$first"/*.cdx.json; do
  python3 -c 'import json, sys; s = json.load(open(sys.argv[1])); assert s["bomFormat"] == "CycloneDX" and len(s["components"]) > 50, sys.argv[1]' "$sbom"
done

echo "== .deb in a new Debian"
deb=$(ls "$first"/*_"$arch".deb)
mmdebstrap --quiet --variant=apt --include=ca-certificates,runc "$(. /etc/os-release; echo "$VERSION_CODENAME")" "$work/root" >"$work/mmdebstrap.log" 2>&1 || { tail "$work/mmdebstrap.log"; fail "mmdebstrap"; }
cp "$deb" "$work/root/tmp/kolla-build.deb"
chroot "$work/root" dpkg -i /tmp/kolla-build.deb >"$work/apt.log" 2>&1 || { tail "$work/apt.log"; fail "installing the .deb"; }
chroot "$work/root" kolla-build version
[ -n "$(chroot "$work/root" kolla-build --list-images -b debian keystone | grep ': keystone$')" ] || fail "list-images"
for path in usr/lib/kolla-build/buildkitd usr/lib/systemd/system/kolla-build-nightly.timer usr/share/man/man1/kolla-build.1.gz \
  usr/share/bash-completion/completions/kolla-build usr/share/zsh/vendor-completions/_kolla-build usr/sbin/runc; do
  [ -e "$work/root/$path" ] || fail "/$path is missing"
done
grep -q 'ExecStart=/bin/sh /usr/lib/kolla-build/nightly.sh' "$work/root/usr/lib/systemd/system/kolla-build-nightly.service" || fail "the systemd unit starts another script"
chroot "$work/root" dpkg --purge kolla-build >>"$work/apt.log" 2>&1 || fail "removing the .deb"
[ ! -e "$work/root/usr/bin/kolla-build" ] || fail "removal left /usr/bin/kolla-build"

echo "== .rpm"
rpm=$(ls "$first"/kolla-build-*."$(uname -m)".rpm)
rpm -qlp "$rpm" >"$work/rpm.files" 2>/dev/null
for path in /usr/bin/kolla-build /usr/lib/kolla-build/buildkitd /usr/share/zsh/site-functions/_kolla-build; do
  grep -qx "$path" "$work/rpm.files" || fail "$path is not in the .rpm"
done
[ -n "$(rpm -qp --requires "$rpm" 2>/dev/null | grep -x runc)" ] || fail "the .rpm does not require runc"

echo "== the container image builds an image"
image=$(ls "$first"/*-image-linux-"$arch".tar) || fail "no image: was the first release made with --no-image?"
scripts/test-release-image.sh "$image" "$work"
echo "test-release: passed"
