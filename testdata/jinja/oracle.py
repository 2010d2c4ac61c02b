"""Renders templates with the real Jinja2, for comparison with pkg/jinja.

It reads one JSON request per line on standard input and writes one JSON answer
per line on standard output. Requests:

  {"templates": {name: source}, "main": name, "vars": value, "options": {...}, "objects": [name...]}
      renders one template, with each template of "objects" bound to parent_NAME; the answer is {"text": ...} or {"kind": ..., "error": ...}.
  {"tree": dir, "names": [...], "vars": {name: value}, "override": source or null}
      renders the files of a directory with stand-ins for Kolla's filters and
      functions; the answer is {"texts": {name: answer}}.
  {"dirs": true}
      the answer is {"dirs": {name of a type: [names of all its attributes]}}.
  {"version": true}
      the answer is {"version": ...}.

Values are JSON, except that an object has exactly one member that says what it
is: "d" a dict (list of pairs), "t" a tuple, "i" a big integer, "f" a float by
name, "m" Markup.
"""

import gc
import json
import re
import signal
import sys
import warnings

import jinja2
import jinja2.sandbox
from jinja2 import (ChainableUndefined, DictLoader, FileSystemLoader,
                    StrictUndefined, Undefined, pass_context)
from jinja2.exceptions import (SecurityError, TemplateNotFound,
                               TemplateSyntaxError, UndefinedError)
from markupsafe import Markup

warnings.simplefilter("ignore")  # Python's remarks on what templates compile to

UNDEFINED = {"": Undefined, "strict": StrictUndefined, "chainable": ChainableUndefined}


def value(v):
    if isinstance(v, list):
        return [value(x) for x in v]
    if isinstance(v, dict):
        (tag, x), = v.items()
        if tag == "d":
            return {value(k): value(y) for k, y in x}
        if tag == "t":
            return tuple(value(y) for y in x)
        if tag == "i":
            return int(x)
        if tag == "f":
            return float(x)
        if tag == "m":
            return Markup(x)
        raise ValueError(tag)
    return v


@pass_context
def customizable(context, items, kind):
    """Kolla's filter of that name, in our own words."""
    if isinstance(items, Undefined):
        return items
    prefix = "%s_%s_" % (context["image_name"].replace("-", "_"), kind)
    if prefix + "override" in context:
        return context[prefix + "override"]
    if prefix + "append" in context:
        items.extend(context[prefix + "append"])
    for gone in context[prefix + "remove"] if prefix + "remove" in context else ():
        if gone in items:
            items.remove(gone)
    return items


@pass_context
def handle_repos(context, names, mode):
    if not isinstance(names, list):
        raise TypeError("First argument should be a list of repositories")
    return "RUN repos %s %s %s" % (mode, context["image_name"], " ".join(names))


def debian_package_install(packages, clean_package_cache=True):
    return "install %s clean=%s" % (" ".join(packages), clean_package_cache)


def raise_error(msg):
    raise Exception(msg)


def seen(context, name):
    """What a pass_context function sees of a variable."""
    return repr(context[name]) if name in context else "-"


def kolla(env):
    env.filters["customizable"] = customizable
    env.globals.update(handle_repos=handle_repos, raise_error=raise_error,
                       debian_package_install=debian_package_install)


def environment(opts, loader):
    ext = []
    if opts.get("do"):
        ext.append("jinja2.ext.do")
    if opts.get("loop_controls"):
        ext.append("jinja2.ext.loopcontrols")
    env = jinja2.sandbox.SandboxedEnvironment(
        loader=loader, extensions=ext, cache_size=50,
        undefined=UNDEFINED[opts.get("undefined", "")],
        trim_blocks=opts.get("trim_blocks", False),
        lstrip_blocks=opts.get("lstrip_blocks", False),
        keep_trailing_newline=opts.get("keep_trailing_newline", False),
        autoescape=opts.get("autoescape", False),
        line_statement_prefix=opts.get("line_statement_prefix") or None,
        line_comment_prefix=opts.get("line_comment_prefix") or None)
    env.globals["seen"] = pass_context(seen)
    env.filters["seen"] = pass_context(lambda context, name: seen(context, name))
    env.globals["fail"] = raise_error
    return env


class Timeout(Exception):
    pass


def expired(*_):
    raise Timeout()


signal.signal(signal.SIGPROF, expired)  # CPU time: a loaded machine is no reason

ADDRESS = re.compile(r"0x[0-9a-f]{6,}", re.I)


def attempt(render):
    signal.setitimer(signal.ITIMER_PROF, 10)
    try:
        return {"text": render()}
    except SecurityError as e:
        kind, err = "security", e
    except UndefinedError as e:
        kind, err = "undefined", e
    except TemplateNotFound as e:
        kind, err = "notfound", e
    except (TemplateSyntaxError, SyntaxError) as e:
        kind, err = "syntax", e
    except (RecursionError, MemoryError, Timeout) as e:
        kind, err = "limit", e
    except OverflowError as e:
        kind, err = "limit" if "Range too big" in str(e) else "runtime", e
    except Exception as e:
        kind, err = "runtime", e
        if isinstance(e, AssertionError) and "reference that was unknown" in str(e):
            kind = "syntax"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return {"kind": kind, "error": "%s: %s" % (type(err).__name__, err)}


def one(req):
    env = environment(req.get("options") or {}, DictLoader(req["templates"]))

    def render():
        template = env.get_template(req["main"])
        values = value(req["vars"])
        for name in req.get("objects") or ():
            values["parent_" + name] = env.get_template(name)
            if name == "inc":
                values["part"] = values["parent_" + name]
        return ADDRESS.sub("0x", template.render(values))

    return attempt(render)


ENVIRONMENTS = {}


def kolla_environment(key, loader):
    """One environment per tree or override: compiling is what takes the time."""
    if key not in ENVIRONMENTS:
        ENVIRONMENTS[key] = env = jinja2.sandbox.SandboxedEnvironment(loader=loader, cache_size=1000)
        kolla(env)
    return ENVIRONMENTS[key]


def tree(req):
    texts = {}
    env = kolla_environment(req["tree"], FileSystemLoader(req["tree"]))
    override = req.get("override")
    other = kolla_environment("override " + override, DictLoader({"override.j2": override})) if override else None
    for name in req["names"]:

        def render():
            template = env.get_template(name)
            values = {k: value(v) for k, v in req["vars"].items()}
            values["image_name"] = name.split("/")[-2]
            if other is not None:
                values["parent_template"] = template
                template = other.get_template("override.j2")
            return template.render(values)

        texts[name] = attempt(render)
    return {"texts": texts}


def dirs():
    t = jinja2.sandbox.SandboxedEnvironment().from_string("{% macro m(a) %}{% endmacro %}")
    values = {
        "str": "", "Markup": Markup(), "bytes": b"", "list": [], "tuple": (), "dict": {}, "int": 1, "bool": True,
        "float": 1.5, "none": None, "range": range(3), "keys": {}.keys(), "values": {}.values(), "items": {}.items(),
        "set": set(), "generator": (x for x in ()), "reversed": reversed([]), "macro": t.module.m, "module": t.module,
        "dict class": dict, "cycler": jinja2.utils.Cycler(1), "joiner": jinja2.utils.Joiner(),
        "namespace": jinja2.utils.Namespace(), "undefined": Undefined(), "function": jinja2.sandbox.safe_range,
    }
    names = {k: set(dir(v)) for k, v in values.items()}
    names["dict class"] |= {"mro", "__mro__", "__bases__", "__base__", "__subclasses__", "__name__"}
    return {k: sorted(v) for k, v in names.items()}


def main():
    # Most garbage of compiling is in no cycle: looking for them less often saves a fifth of the time.
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    for line in sys.stdin:
        req = json.loads(line)
        if "dirs" in req:
            ans = {"dirs": dirs()}
        elif "version" in req:
            ans = {"version": jinja2.__version__}
        elif "tree" in req:
            ans = tree(req)
        else:
            ans = one(req)
        sys.stdout.write(json.dumps(ans) + "\n")
        sys.stdout.flush()


main()
