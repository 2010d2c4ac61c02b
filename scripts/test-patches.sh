#!/usr/bin/env bash
# test-patches.sh: build an image from a real source with a series of patches. Check that each
# patch is applied, that added files are installed, and that a patch that does not apply fails
# the image. Needs root.
#
#   DATA_DIR=DIR   kolla-build's data directory; images that it already has are not built again
#   MIRROR=URL     Debian package mirror (default: the host's)
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "test-patches.sh: starting a builder needs root"; exit 1; }

suite=trixie
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
data=${DATA_DIR:-$work/data}
fail() { echo "FAIL: $*"; exit 1; }

# shellcheck disable=SC2016  # apt expands it
mirror=${MIRROR:-$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | sed -n 1p)}
go run ./internal/catalogue sources -suite "$suite" -mirror "$mirror" >"$work/sources.conf"
location=$(sed -n '/^\[designate-base\]/,/^$/s/^location = //p' "$work/sources.conf")
curl -fsS --retry 3 -o "$work/archive" "$location"
mkdir "$work/old"
tar -xf "$work/archive" -C "$work/old" --strip-components=1

# diff_of DIRECTORY OLD-PREFIX NEW-PREFIX: print the changes in work/new/DIRECTORY as a patch.
diff_of() { (cd "$work" && git diff --no-index --no-prefix --src-prefix="$2" --dst-prefix="$3" "old/$1" "new/$1" || true) | sed -e 's#old/##g' -e 's#new/##g'; }

cp -r "$work/old" "$work/new"
patches=$work/patches/designate_base   # the image is designate-base
mkdir -p "$patches" "$work/new/designate/site_fixes"
echo 'SITE_FIX = "one"' >>"$work/new/designate/__init__.py"
echo 'ADDED = "by a patch"' >"$work/new/designate/site_fixes/__init__.py"
echo '{"added": "data"}' >"$work/new/designate/site_fixes/rules.json"
diff_of designate a/ b/ >"$patches/0001-change-and-add.patch"
rm -rf "$work/old" && cp -r "$work/new" "$work/old"
sed -i 's/^SITE_FIX = "one"/SITE_FIX = "two"/' "$work/new/designate/__init__.py"
diff_of designate x/src/ y/src/ >"$patches/deeper.patch"
printf '%s\n' '--- etc/designate/site.conf' '+++ etc/designate/site.conf' '@@ -0,0 +1 @@' '+[site]' >"$patches/installed.patch"
printf '%s\n' '# What the site changes.' '0001-change-and-add.patch -p1' 'deeper.patch -p2' 'installed.patch -p0' >"$patches/series"

build() {
  bin/kolla-build --base debian --base-tag "$suite" --type source --config-file "$work/sources.conf" --template-override examples/without-pypi.j2 \
    --data-dir "$data" --engine none --tag patched --progress plain --format none --retries 0 "$@"
}
echo "== a series of three patches"
build --patches-path "$work/patches" '^designate-base$' >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log"; fail "the build"; }
bin/kolla-build save --data-dir "$data" --tag patched --output "$work/image.tar" '^designate-base$' >/dev/null
python3 - "$work/image.tar" <<'PY'
import gzip, io, json, re, sys, tarfile
bundle = tarfile.open(sys.argv[1])
blob = lambda d: bundle.extractfile("blobs/" + d.replace(":", "/")).read()
files = {}
[manifest] = json.load(bundle.extractfile("index.json"))["manifests"]
for layer in json.loads(blob(manifest["digest"]))["layers"]:
    with tarfile.open(fileobj=io.BytesIO(blob(layer["digest"]))) as t:
        for f in t:
            if f.isreg() and re.search(r"site-packages/designate/(__init__\.py|site_fixes/)|etc/designate/site\.conf|etc/kolla/patched|^patches/", f.name):
                files[re.sub(r".*site-packages/", "", f.name)] = t.extractfile(f).read().decode(errors="replace")
expected = {
    "designate/__init__.py": 'SITE_FIX = "two"',
    "designate/site_fixes/__init__.py": 'ADDED = "by a patch"',
    "designate/site_fixes/rules.json": '{"added": "data"}',
    "etc/designate/site.conf": "[site]",
    "etc/kolla/patched": "0001-change-and-add.patch\ndeeper.patch\ninstalled.patch",
}
for name, text in expected.items():
    if text not in files.get(name, ""):
        sys.exit(f"FAIL: {name}: {files.get(name, 'missing')!r} lacks {text!r}")
print("patched and added:", ", ".join(sorted(expected)))
PY

echo "== a patch that does not apply"
printf '%s\n' '--- a/cinder/nothing.py' '+++ b/cinder/nothing.py' '@@ -1 +1 @@' '-one' '+two' >"$patches/nowhere.patch"
echo 'nowhere.patch -p1' >>"$patches/series"
status=0
build --patches-path "$work/patches" '^designate-base$' >"$work/build.log" 2>&1 || status=$?
[ "$status" = 1 ] || fail "exit status $status"
grep -q 'designate-base: FAILED.*nowhere.patch does not apply' "$work/build.log" || { tail -n 40 "$work/build.log"; fail "the message does not name the patch"; }
sed -i /nowhere/d "$patches/series"
printf '%s\n' '--- a/designate/__init__.py' '+++ b/designate/__init__.py' '@@ -1 +1 @@' '-never there' '+two' >"$patches/hunk.patch"
echo 'hunk.patch' >>"$patches/series"
if build --patches-path "$work/patches" '^designate-base$' >"$work/build.log" 2>&1; then fail "a patch of other lines was accepted"; fi
grep -q 'designate-base: FAILED.*hunk.patch does not apply: designate/__init__.py: Hunk #1 FAILED' "$work/build.log" ||
  { tail -n 40 "$work/build.log"; fail "the message does not name the file and the hunk"; }
sed -i /hunk/d "$patches/series"

echo "== a series for an unknown image, and a patch that does not exist"
mkdir "$work/patches/designat_base"
touch "$work/patches/designat_base/series"
if build --patches-path "$work/patches" --dry-run '^designate-base$' >"$work/build.log" 2>&1; then fail "a series for an unknown image was accepted"; fi
grep -q 'did you mean.*designate-base' "$work/build.log" || { cat "$work/build.log"; fail "no suggestion"; }
rm -r "$work/patches/designat_base"
echo 'nosuch.patch' >>"$patches/series"
build --patches-path "$work/patches" --dry-run '^designate-base$' >"$work/build.log" 2>&1 || true
grep -q 'nosuch.patch' "$work/build.log" || { cat "$work/build.log"; fail "a missing patch is not reported"; }
echo "test-patches: passed"
