#!/usr/bin/env bash
# release.sh: make the release files in dist/: archives of static binaries, .deb and .rpm
# packages, SBOMs, a container image and checksums.
# usage: release.sh [--no-image]
#
# The files depend on the commit only, not on the time or the directory of the build.
# Environment variables:
#   VERSION   (default: the tag, else the newest version of CHANGELOG.md with the commit)
#   ARCHES    (default: amd64 arm64)
#   DIST      (default: dist)
set -euo pipefail
cd "$(dirname "$0")/.."

image=yes
[ "${1:-}" = --no-image ] && image=no
dist=${DIST:-dist}
arches=${ARCHES:-amd64 arm64}
commit=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
if [ -z "${VERSION:-}" ]; then
  if VERSION=$(git describe --tags --exact-match 2>/dev/null); then
    VERSION=${VERSION#v}
  else
    VERSION=$(sed -n 's/^## \([0-9][0-9.]*\).*/\1/p' CHANGELOG.md | sed -n 1p)~git$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d).${commit:0:7}
  fi
fi
export VERSION
tool() { go tool -modfile=packaging/tools.mod "$@"; }

# package FORMAT ARCH ZSH_DIR
package() {
  sed -e "s#\${STAGE}#$dist/stage/$2#; s#\${ARCH}#$2#; s#\${ZSH_DIR}#$3#; s#\${VERSION}#$VERSION#" packaging/nfpm.yaml >"$dist/stage/nfpm.yaml"
  tool nfpm package -f "$dist/stage/nfpm.yaml" -p "$1" -t "$dist/"
}

rm -rf "$dist"
mkdir -p "$dist/stage"

# build GOARCH OUTPUT PACKAGE [FLAG ...]
build() {
  CGO_ENABLED=0 GOOS=linux GOARCH=$1 go build -trimpath -buildvcs=false \
    -ldflags "-s -w -buildid= ${*:4}" -o "$2" "$3"
}

for arch in $arches; do
  stage=$dist/stage/$arch
  mkdir -p "$stage"
  echo "building for $arch"
  build "$arch" "$stage/kolla-build" ./cmd/kolla-build -X "main.version=$VERSION" -X "main.commit=$commit"
  build "$arch" "$stage/buildkitd" github.com/moby/buildkit/cmd/buildkitd
  # The SBOM lists the modules that the go command recorded in the binaries.
  for program in kolla-build buildkitd; do
    sbom=$dist/$program-$VERSION-linux-$arch.cdx.json
    tool cyclonedx-gomod bin -json -noserial -std -output "$sbom" "$stage/$program"
    sed -i "s/\"timestamp\": \"[^\"]*\"/\"timestamp\": \"$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)\"/" "$sbom"
  done
  cp "$dist/kolla-build-$VERSION-linux-$arch.cdx.json" "$stage/sbom.cdx.json"
done

# The man page and completions are the same for every architecture: the host's binary prints them.
host=$dist/stage/$(go env GOARCH)/kolla-build
[ -x "$host" ] || { host=$dist/stage/host; build "$(go env GOARCH)" "$host" ./cmd/kolla-build -X "main.version=$VERSION"; }
for arch in $arches; do
  stage=$dist/stage/$arch
  "$host" man | gzip -n9 >"$stage/kolla-build.1.gz"
  for shell in bash zsh fish; do "$host" completion $shell >"$stage/completion.$shell"; done
  for unit in kolla-build-nightly kolla-build-registry; do
    sed -e 's#/usr/local/lib/#/usr/lib/#' -e 's#/usr/local/bin/#/usr/bin/#' "examples/systemd/$unit.service" >"$stage/$unit.service"
  done
  package deb "$arch" /usr/share/zsh/vendor-completions
  package rpm "$arch" /usr/share/zsh/site-functions

  name=kolla-build-$VERSION-linux-$arch
  mkdir -p "$dist/stage/$name"
  cp "$stage"/{kolla-build,buildkitd,kolla-build.1.gz,completion.bash,completion.zsh,completion.fish} README.md LICENSE CHANGELOG.md "$dist/stage/$name/"
  tar -C "$dist/stage" --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rw,go+r-w --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" |
    gzip -n9 >"$dist/$name.tar.gz"
done

if [ "$image" = yes ]; then
  if [ "$(id -u)" = 0 ]; then
    scripts/release-image.sh "$dist" "$dist/stage/$(go env GOARCH)"
  else
    echo "skipping the container image: building it needs root (sudo make release)"
  fi
fi
rm -rf "$dist/stage"
(cd "$dist" && find . -maxdepth 1 -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
cat "$dist/SHA256SUMS"
