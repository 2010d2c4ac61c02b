"""Keeps compiled templates between runs of Kolla's tool, which compiles all of them in each run."""
import os

import jinja2

_cache = jinja2.FileSystemBytecodeCache(os.environ["KOLLA_TEMPLATE_CACHE"])
_init = jinja2.Environment.__init__


def _init_with_cache(self, *args, **kwargs):
    kwargs.setdefault("bytecode_cache", _cache)
    _init(self, *args, **kwargs)


jinja2.Environment.__init__ = _init_with_cache
