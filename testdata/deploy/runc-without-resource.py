#!/usr/bin/python3
"""runc for nodes without CAP_SYS_RESOURCE: remove the capability, and resource limits that
only it could raise, from what Docker asks for, then run the real runc."""
import json
import os
import sys

REAL = "/usr/sbin/runc" if os.path.exists("/usr/sbin/runc") else "/usr/bin/runc"


def values(arguments, *names):
    """Values of an option in either form, --name VALUE or --name=VALUE."""
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in names:
            if equals:
                yield value
            elif position + 1 < len(arguments):
                yield arguments[position + 1]


def lower(process):
    for kind, capabilities in (process.get("capabilities") or {}).items():
        process["capabilities"][kind] = [c for c in capabilities if c != "CAP_SYS_RESOURCE"]
    process.pop("rlimits", None)


def rewrite(path, find):
    with open(path) as stream:
        document = json.load(stream)
    lower(find(document))
    with open(path, "w") as stream:
        json.dump(document, stream)


arguments = sys.argv[1:]
if "create" in arguments or "run" in arguments:
    bundle = next(values(arguments, "--bundle", "-b"), ".")
    rewrite(os.path.join(bundle, "config.json"), lambda document: document["process"])
elif "exec" in arguments:
    for path in values(arguments, "--process", "-p"):
        rewrite(path, lambda document: document)
os.execv(REAL, ["runc", *arguments])
