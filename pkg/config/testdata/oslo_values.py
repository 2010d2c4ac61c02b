"""Tell what Kolla's own code makes of command lines and files.

Reads a JSON list of cases {"args", "env", "files": {name: text}, "dir"} from
standard input; each is run in its directory, which holds its files. Writes a JSON
list of {"error"} or {"options", "profiles", "users", "sources"}.
"""

import contextlib
import io
import json
import os
import sys
import types

sys.path.insert(0, os.environ["KOLLA_CHECKOUT"])
os.environ.setdefault("PBR_VERSION", "22.0.0")

from oslo_config import cfg  # noqa: E402

from kolla.common import config  # noqa: E402
from kolla.image import kolla_worker  # noqa: E402


def values(case):
    os.chdir(case["dir"])
    conf = cfg.ConfigOpts()
    found = ["kolla-build.conf"] if "kolla-build.conf" in (case["files"] or {}) else []
    config.parse(conf, case["args"] or [], prog="kolla-build", default_config_files=found)

    options = {}
    for opt in config._CLI_OPTS + config._BASE_OPTS:
        options[opt.dest] = getattr(conf, opt.dest)

    sections = set(conf._groups) | set(conf.list_all_sections())
    profiles = {}
    if conf.profile and not conf.regex:
        worker = types.SimpleNamespace(conf=conf)
        for name in conf.profile:
            if name not in conf.profiles:
                conf.register_opt(cfg.ListOpt(name, default=[]), "profiles")
            if not conf.profiles[name]:
                raise ValueError("no profile " + name)
    for name in conf.profiles:
        profiles[name] = conf.profiles[name]

    worker = types.SimpleNamespace(conf=conf)
    users = kolla_worker.KollaWorker.get_users(worker)

    sources = {}
    for name in sections:
        if name.lower() in ("default", "profiles") or name.endswith("-user"):
            continue
        if name != name.lower() and name.lower() in conf._groups:
            continue  # the same section, for an image's name
        with contextlib.suppress(cfg.DuplicateOptError):
            conf.register_opts(config.get_source_opts(), name)
        group = conf[name]
        sources[name] = {key: group[key] for key in
                         ("type", "location", "reference", "version", "enabled", "sha256")}
    return {"options": options, "profiles": profiles, "users": users, "sources": sources}


def run(case):
    before = dict(os.environ)
    os.environ.update(case["env"] or {})
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(said):
            return values(case)
    except BaseException as e:  # SystemExit, too
        return {"error": "%s: %s %s" % (type(e).__name__, e, said.getvalue())}
    finally:
        os.environ.clear()
        os.environ.update(before)


json.dump([run(case) for case in json.load(sys.stdin)], sys.stdout)
