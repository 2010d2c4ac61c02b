#!/bin/bash
#
# kolla_patch: apply /patches in the order of /patches/series, as quilt does,
# from the root directory. /etc/kolla/patched remembers what this image and its
# parents have applied, so nothing is applied twice.

set -o errexit
set -o nounset

series=/patches/series
applied=/patches/series.applied
patched=/etc/kolla/patched

if [[ ! -e ${series} ]]; then
    echo "kolla_patch: no series file, nothing to do"
    exit 0
fi

mkdir -p "$(dirname "${patched}")"
touch "${patched}" "${applied}"
cd /

sed -e '/^#/d' "${series}" | while read -r name _; do
    if [[ -z ${name} ]]; then
        continue
    fi
    if grep -Fqx "${name}" "${patched}"; then
        echo "kolla_patch: ${name} is applied already"
        continue
    fi
    echo "kolla_patch: applying ${name}"
    if ! patch -p0 --fuzz=0 --ignore-whitespace < "/patches/${name}"; then
        echo "kolla_patch: ${name} does not apply" >&2
        exit 1
    fi
    echo "${name}" >> "${patched}"
    echo "${name}" >> "${applied}"
done
rm -f "${series}"
