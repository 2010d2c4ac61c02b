#!/bin/bash
#
# kolla_config_generator FILE PROJECT
#
# Deployments check a configuration with oslo-config-validator and FILE, the list of option
# namespaces in the project's source tree. Packages of distributions do not contain it. This
# script writes one with the namespaces of the project and of the installed libraries, unless
# the file exists.

set -euo pipefail

if [[ -e $1 ]]; then
    exit
fi
mkdir -p "$(dirname "$1")"
PROJECT=$2 python3 - > "$1" <<'PYTHON'
import importlib.metadata
import os

project = os.environ["PROJECT"]
shared = ("glance_store", "oslo_", "keystonemiddleware", "osprofiler", "os_brick", "castellan")
names = {point.name for point in importlib.metadata.entry_points(group="oslo.config.opts")
         if point.value.split(".")[0].split(":")[0] == project or point.value.startswith(shared)}
if not names:
    raise SystemExit(f"kolla_config_generator: no option namespaces of {project}")
print("[DEFAULT]")
for name in sorted(names):
    print(f"namespace = {name}")
PYTHON
