#!/usr/bin/python3
"""Byte-compile the Python files of many Debian packages at once.

kolla_apt_install keeps maintainer scripts from running py3compile, which starts
two interpreters and a dpkg query for each package, and runs this program once
at the end. It reads the recorded command lines from standard input, one per
line with the unit separator after each argument, uses py3compile's own code to
find the files that each of them compiles, and compiles them on all processors.

Test suites are not compiled: they are 40 % of the byte code of OpenStack's
packages, and no service imports them.

A call that this program does not support is passed to py3compile unchanged.
"""

import importlib.machinery
import importlib.util
import os
import py_compile
import subprocess
import sys

PY3COMPILE = "/usr/bin/py3compile"
SEPARATOR = "\x1f"
DPKG_INFO = "/var/lib/dpkg/info"

# Each chunk is compiled in a separate process that starts from the same state.
# Byte code depends on what an interpreter has compiled before, so the division
# must not depend on the number of processors.
CHUNK = 100


def load_py3compile():
    """Return py3compile as a module."""
    loader = importlib.machinery.SourceFileLoader("py3compile", PY3COMPILE)
    spec = importlib.util.spec_from_loader("py3compile", loader)
    module = importlib.util.module_from_spec(spec)
    dont_write, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = dont_write
    return module


def native_architecture():
    result = subprocess.run(["dpkg", "--print-architecture"], stdout=subprocess.PIPE, check=True)
    return result.stdout.decode().strip()


def python_files_are_diverted():
    """Report whether Python files are diverted: then only dpkg -L knows their paths."""
    try:
        with open("/var/lib/dpkg/diversions", encoding="utf-8", errors="replace") as lines:
            return any(line.rstrip("\n").endswith(".py") for line in lines)
    except FileNotFoundError:
        return False


def is_test(name):
    """Report whether a file belongs to a test suite for developers.

    The image tempest runs the tests of Tempest and its plugins.
    """
    return "/tests/" in name and "tempest" not in name


class Unsupported(Exception):
    """The call is for another interpreter, or py3compile is of an unknown version."""


class Collector:
    """Collects the files that py3compile would pass to an interpreter."""

    def __init__(self, module):
        self.module = module
        self.files = {}  # a set that keeps its order
        self.current = []
        self.original = module.dpf.from_package
        self.arch = native_architecture()
        self.diverted = python_files_are_diverted()
        module.py_compile = self.coroutine
        module.dpf.from_package = self.from_package

    def coroutine(self, version, optimize, workers):
        if optimize or version != sys.version_info[:2]:
            raise Unsupported(str(version))
        while True:
            self.current.append((yield))

    def from_package(self, package, extensions=(".py",)):
        """List a package's files as dpkg -L does, without starting it."""
        extensions = tuple(extensions)
        name, _, arch = package.partition(":")
        for candidate in (package, name, name + ":" + (arch or self.arch)):
            path = os.path.join(DPKG_INFO, candidate + ".list")
            if os.path.exists(path) and not self.diverted:
                with open(path, encoding="utf-8", errors="replace") as lines:
                    for line in lines:
                        line = line.rstrip("\n")
                        if line.endswith(extensions):
                            yield line
                return
        yield from self.original(package, extensions)

    def call(self, arguments):
        """Collect the files of one call. Unsupported calls change nothing."""
        self.module.STDINS.clear()
        self.module.WORKERS.clear()
        self.current = []
        argv, sys.argv = sys.argv, [PY3COMPILE] + arguments
        try:
            self.module.main()
        except SystemExit as end:
            if end.code not in (None, 0):
                raise Unsupported("status %s" % end.code) from end
        finally:
            sys.argv = argv
            self.module.STDINS.clear()
            self.module.WORKERS.clear()
        self.files.update((name, None) for name in self.current if not is_test(name))


def compile_chunk(files):
    """Compile files in a separate process, and return its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 0
    try:
        for name in files:
            try:
                py_compile.compile(name, doraise=True)
            except py_compile.PyCompileError as error:
                sys.stderr.write("%s\n" % error.msg)
                status = 1
            except OSError as error:
                sys.stderr.write("%s\n" % error)
                status = 1
        sys.stderr.flush()
    except BaseException:  # a child must not return into the parent's code
        status = 2
    finally:
        os._exit(status)


def compile_all(files):
    """Compile files on all processors, and report whether all succeeded."""
    files = list(files)
    chunks = [files[i:i + CHUNK] for i in range(0, len(files), CHUNK)]
    running, succeeded = set(), True
    slots = len(os.sched_getaffinity(0))
    while chunks or running:
        if chunks and len(running) < slots:
            running.add(compile_chunk(chunks.pop(0)))
            continue
        pid, status = os.wait()
        running.discard(pid)
        succeeded = succeeded and status == 0
    return succeeded


def main():
    calls = [line.split(SEPARATOR)[:-1] for line in sys.stdin.read().splitlines() if line]
    calls = [list(call) for call in dict.fromkeys(map(tuple, calls))]
    succeeded, files, rest = True, [], calls
    try:
        collector = Collector(load_py3compile())
        rest = []
        for call in calls:
            try:
                collector.call(call)
            except Exception:
                rest.append(call)
        files = collector.files
    except Exception as error:
        sys.stderr.write("py3compile is called for each package: %s\n" % error)
    if not compile_all(files):
        succeeded = False
    for call in rest:
        succeeded = subprocess.call([PY3COMPILE] + call) == 0 and succeeded
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
