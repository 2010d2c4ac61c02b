#!/bin/bash
#
# kolla_wsgi_module MODULE 'PYTHON'
# kolla_wsgi_module --script NAME MODULE
#
# Deployments load WSGI applications from modules, such as glance.wsgi.api. If the installed
# release does not have the module, this script writes it: PYTHON is the code that defines
# "application", usually with the entry point of that release.
#
# Up to OpenStack 2025.2, deployments use files with Apache, which some packages do not
# contain. The second form writes the file NAME with the application of MODULE into the bin
# directory of the virtual environment.
#
# Modules and files that exist are kept.

set -euo pipefail

if [[ $1 == --script ]]; then
    script=${KOLLA_VENV:-/var/lib/kolla/venv}/bin/$2
    if [[ ! -e ${script} ]]; then
        printf '%s\n' '#!/usr/bin/env python3' '# Written by kolla_wsgi_module: the package has no such file.' \
            "from $3 import application  # noqa: F401" > "${script}"
        chmod 0755 "${script}"
        echo "wrote ${script}"
    fi
    exit
fi

MODULE=$1 PYTHON=$2 python3 - <<'PYTHON'
import importlib.util
import os
import pathlib

RUN_MODULE = """\
# Written by kolla_wsgi_module: a package with the content of the module that it hides.
import pathlib

_module = pathlib.Path(__file__).parent.with_suffix(".py")
exec(compile(_module.read_text(), str(_module), "exec"))
"""

names = os.environ["MODULE"].split(".")
top = importlib.util.find_spec(names[0])
if top is None or not top.submodule_search_locations:
    raise SystemExit(f"kolla_wsgi_module: there is no package {names[0]}")
directory = pathlib.Path(list(top.submodule_search_locations)[0])
for name in names[1:-1]:
    directory /= name
    directory.mkdir(exist_ok=True)
    init = directory / "__init__.py"
    if not init.exists():
        # A new package hides a module of the same name, such as masakari/wsgi.py, so it
        # gets the module's content.
        hidden = directory.with_suffix(".py")
        init.write_text(RUN_MODULE if hidden.exists() else "")
module = directory / (names[-1] + ".py")
if not module.exists() and not (directory / names[-1]).is_dir():
    module.write_text("# Written by kolla_wsgi_module: this release has no such module.\n"
                      + os.environ["PYTHON"].replace("; ", "\n") + "\n")
    print(f"wrote {module}")
PYTHON
