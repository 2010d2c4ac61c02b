#!/usr/bin/python3
"""Install kolla-ansible from a checkout, without pip and without internet: the package, its
metadata and its programs. Files are copied without changes.

usage: install-kolla-ansible.py CHECKOUT VERSION"""
import configparser
import os
import shutil
import sys
import sysconfig
import tomllib

checkout, version = sys.argv[1:3]
# Debian's Python searches this directory for software that was not installed from a package.
library = "/usr/local/lib/python%s/dist-packages" % sysconfig.get_python_version()
shutil.copytree(os.path.join(checkout, "kolla_ansible"), os.path.join(library, "kolla_ansible"), dirs_exist_ok=True)


def entry_points():
    """Return the entry points by group, from pyproject.toml or, up to 2025.2, from setup.cfg."""
    path = os.path.join(checkout, "pyproject.toml")
    if os.path.exists(path):
        with open(path, "rb") as stream:
            project = tomllib.load(stream)["project"]
        return {"console_scripts": project["scripts"], **project.get("entry-points", {})}
    setup = configparser.ConfigParser()
    setup.read(os.path.join(checkout, "setup.cfg"))
    return {group: dict(line.split(" = ") for line in lines.strip().splitlines())
            for group, lines in setup["entry_points"].items()}


metadata = os.path.join(library, "kolla_ansible-%s.dist-info" % version)
os.makedirs(metadata, exist_ok=True)
with open(os.path.join(metadata, "METADATA"), "w") as stream:
    stream.write("Metadata-Version: 2.1\nName: kolla-ansible\nVersion: %s\n" % version)
groups = entry_points()
with open(os.path.join(metadata, "entry_points.txt"), "w") as stream:
    for group, entries in groups.items():
        stream.write("[%s]\n" % group)
        for name, target in entries.items():
            stream.write("%s = %s\n" % (name, target))

for name, target in groups["console_scripts"].items():
    module, function = target.split(":")
    path = os.path.join("/usr/local/bin", name)
    with open(path, "w") as stream:
        stream.write("#!/usr/bin/python3\nimport sys\nfrom %s import %s\nsys.exit(%s())\n" % (module, function, function))
    os.chmod(path, 0o755)
share = "/usr/local/share/kolla-ansible"
shutil.rmtree(share, ignore_errors=True)
for directory in ("ansible", "etc/kolla"):
    shutil.copytree(os.path.join(checkout, directory), os.path.join(share, directory.replace("etc/kolla", "etc_examples/kolla")))
for name in ("requirements.yml", "requirements-core.yml"):
    if os.path.exists(os.path.join(checkout, name)):
        shutil.copy(os.path.join(checkout, name), share)
