#!/bin/bash
#
# kolla_install_projects: in development mode, the deployment mounts source trees in
# /dev-mode. Install them in place of the image's own.

set -o errexit

shopt -s nullglob
pip=/var/lib/kolla/venv/bin/pip
for project in /dev-mode/*; do
    if [[ ! -x ${pip} ]]; then
        echo "kolla_install_projects: ${project} is not installed, as this image has no virtual environment" >&2
        continue
    fi
    "${pip}" install --upgrade "${project}"
done
