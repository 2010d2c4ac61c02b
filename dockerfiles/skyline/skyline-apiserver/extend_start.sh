#!/bin/bash
# kolla_skyline_extend_start of skyline-apiserver.

if kolla_is_set KOLLA_BOOTSTRAP; then
    cd "$(python3 -c 'import os, skyline_apiserver; print(os.path.dirname(skyline_apiserver.__file__))')/db/alembic"
    alembic upgrade head
    exit 0
fi
