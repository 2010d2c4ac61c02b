#!/bin/bash
#
# kolla_install_projects: in development mode the deployment mounts source
# trees under /dev-mode; they replace what the image has.

set -o errexit

if [[ -d /dev-mode && -d /var/lib/kolla/venv ]]; then
    for project in /dev-mode/*; do
        /var/lib/kolla/venv/bin/pip install --upgrade "${project}"
    done
fi
