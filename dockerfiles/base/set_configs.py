#!/usr/bin/python3
"""kolla_set_configs: install a container's configuration, as root.

The deployment mounts /var/lib/kolla/config_files with a config.json or
config.yaml. It names the command that the container runs, and the files and
directories that the command needs, with their owners and permissions:

    {
        "command": "keystone-manage ...",
        "config_files": [{"source", "dest", "owner", "perm", "optional",
                          "preserve_properties", "merge"}],
        "directories": [{"path", "owner", "perm", "recurse", "exclude"}],
        "files": [{"path", "owner", "perm"}],
        "permissions": [{"path", "owner", "perm", "recurse", "exclude"}]
    }

KOLLA_CONFIG_STRATEGY is COPY_ALWAYS, to install it at each start, or
COPY_ONCE, to install it at the first start only. The command is written to
/run_command, where kolla_start reads it. With --check, nothing is changed, and
the exit status tells whether the container matches the configuration.

Exit status: 0 done (or, with COPY_ONCE, done before), 1 the configuration is
invalid or (--check) differs, 2 any other error.
"""

import argparse
import contextlib
import difflib
import errno
import glob
import grp
import json
import logging
import os
import pwd
import re
import shutil
import stat
import sys
import tempfile

LOG = logging.getLogger('kolla_set_configs')

CONFIG_DIR = '/var/lib/kolla/config_files'
RUN_COMMAND = '/run_command'
CONFIGURED = '/configured'
DEFAULTS = '/etc/kolla/defaults'

# The known and the required keys of the entries of each section.
SECTIONS = {
    'config_files': ({'source', 'dest', 'owner', 'perm', 'optional',
                      'preserve_properties', 'merge'}, {'source', 'dest'}),
    'directories': ({'path', 'owner', 'perm', 'recurse', 'exclude'},
                    {'path', 'owner', 'perm'}),
    'files': ({'path', 'owner', 'perm'}, {'path', 'owner', 'perm'}),
    'permissions': ({'path', 'owner', 'perm', 'recurse', 'exclude'},
                    {'path', 'owner'}),
}


class KollaError(Exception):
    """An error that the author of the configuration can correct."""

    exit_code = 1


class InvalidConfig(KollaError):
    pass


class MissingRequiredSource(KollaError):
    pass


class UserNotFound(KollaError):
    pass


class ForeignLink(KollaError):
    """A link in a path that a user other than root made.

    Services can make links in their directories, to any place of the image. To
    write there, or to set the owner of the target, would give it to them.
    """


class ConfigDiffers(KollaError):
    pass


class ImmutableConfig(KollaError):
    exit_code = 0


# --- reading ---------------------------------------------------------------

def parse_yaml(text):
    try:
        import yaml
    except ImportError:
        raise InvalidConfig('config.yaml needs PyYAML, which this image does '
                            'not have; use config.json')
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(error)


def config_source():
    """Return (name, text, parser) of the configuration to use.

    Services may run this script through sudo with an environment of their
    choice. The environment therefore counts only for root; otherwise a
    service could write any file (CVE-2022-38060).
    """
    if os.environ.get('SUDO_UID', '0') == '0':
        if 'KOLLA_CONFIG' in os.environ:
            return 'KOLLA_CONFIG', os.environ['KOLLA_CONFIG'], json.loads
        path = os.environ.get('KOLLA_CONFIG_FILE')
    else:
        path = None
    if not path:
        path = os.path.join(CONFIG_DIR, 'config.yaml')
        if not os.path.exists(path):
            path = os.path.join(CONFIG_DIR, 'config.json')
    try:
        with open(path) as config_file:
            text = config_file.read()
    except OSError as error:
        raise InvalidConfig('reading %s: %s' % (path, error.strerror))
    is_yaml = path.endswith(('.yaml', '.yml'))
    return path, text, parse_yaml if is_yaml else json.loads


def load_config():
    name, text, parse = config_source()
    LOG.info('Loading configuration from %s', name)
    try:
        config = parse(text)
    except ValueError as error:
        raise InvalidConfig('%s: %s' % (name, error))
    try:
        validate(config)
    except InvalidConfig as error:
        raise InvalidConfig('%s: %s' % (name, error))
    return config


def validate(config):
    if not isinstance(config, dict):
        raise InvalidConfig('the configuration is not an object')
    if not isinstance(config.get('command'), str):
        raise InvalidConfig('"command" is missing, or is not a string')
    for section, (known, required) in SECTIONS.items():
        entries = config.get(section) or []
        if not isinstance(entries, list):
            raise InvalidConfig('"%s" is not a list' % section)
        for number, entry in enumerate(entries):
            validate_entry('%s[%d]' % (section, number), entry, known,
                           required, section == 'config_files')
            if section == 'config_files' and not entry.get(
                    'preserve_properties') and (
                    entry.get('owner') is None or 'perm' not in entry):
                raise InvalidConfig(
                    'config_files[%d] (%s) needs "owner" and "perm", or '
                    '"preserve_properties"' % (number, entry['dest']))
            if section in ('directories', 'files') and glob.has_magic(
                    entry['path']):
                raise InvalidConfig('%s[%d]: "path" cannot have wildcards: %s'
                                    % (section, number, entry['path']))


def validate_entry(where, entry, known, required, strict):
    """Check an entry. Kolla ignores unknown keys, but not in config_files."""
    if not isinstance(entry, dict):
        raise InvalidConfig('%s is not an object' % where)
    for key in sorted(set(entry) - known):
        close = difflib.get_close_matches(key, known, 1)
        message = '%s has an unknown key "%s"%s' % (
            where, key, '; did you mean "%s"?' % close[0] if close else '')
        if strict:
            raise InvalidConfig(message)
        LOG.warning('%s', message)
        del entry[key]
    for key in sorted(required):
        if entry.get(key) is None:
            raise InvalidConfig('%s lacks "%s"' % (where, key))
    for key in ('dest', 'owner', 'path', 'source'):
        if not isinstance(entry.get(key, ''), (str, type(None))):
            raise InvalidConfig('%s: "%s" is not a string: %s'
                                % (where, key, entry[key]))
    if entry.get('perm') not in (None, ''):
        parse_perm(entry['perm'])
    validate_exclude(where, entry.get('exclude') or [])


def validate_exclude(where, patterns):
    if not isinstance(patterns, list):
        raise InvalidConfig('%s: "exclude" is not a list' % where)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (TypeError, re.error) as error:
            raise InvalidConfig('%s: "exclude" has the invalid expression %s: '
                                '%s' % (where, pattern, error))


def parse_perm(perm):
    """Return the mode as a number: "644", "0644" and "0o644" are the same.

    A number in YAML is not accepted: 0644 means 420 there, and 644 means 644.
    """
    if not isinstance(perm, str):
        raise InvalidConfig('the permission %s is not in quotation marks'
                            % perm)
    if not re.fullmatch('(0o)?[0-7]{3,4}', perm):
        raise InvalidConfig('"%s" is not a permission such as 0644' % perm)
    return int(perm.replace('0o', ''), 8)


def parse_owner(owner):
    """Return (uid, gid) of "user" or "user:group"."""
    user, _, group = owner.partition(':')
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        raise UserNotFound('this image has no user "%s"' % user)
    try:
        gid = grp.getgrnam(group or user).gr_gid
    except KeyError:
        raise UserNotFound('this image has no group "%s"'
                           % (group or user))
    return uid, gid


# --- paths that services can change ------------------------------------------

# Whoever owns a directory can replace what is in it at any time, also between
# a check and the change that follows it. Paths are therefore opened part by
# part, without links of other users, and what was opened is changed.

def open_entry(directory, name, create):
    """Open an entry of a directory, for its descriptor only; also a link."""
    while True:
        try:
            return os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=directory)
        except FileNotFoundError:
            if not create:
                raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=directory)


def open_path(path, create=False):
    """Return a descriptor of a file or directory, for its metadata only.

    Links of root are followed. With create, missing directories are made.
    """
    def parts(path):
        return [part for part in path.split('/') if part not in ('', '.')]

    nodes = [os.open('/', os.O_PATH)]  # the directories on the way
    pending = parts(os.path.join(os.getcwd(), path))
    links = 0
    try:
        while pending:
            name = pending.pop(0)
            if name == '..':
                if len(nodes) > 1:
                    os.close(nodes.pop())
                continue
            nodes.append(open_entry(nodes[-1], name, create))
            info = os.fstat(nodes[-1])
            if not stat.S_ISLNK(info.st_mode):
                continue
            if info.st_uid != 0:
                link = os.path.join(
                    os.readlink('/proc/self/fd/%d' % nodes[-2]), name)
                raise ForeignLink(
                    '%s: the link %s belongs to uid %d; only links of root '
                    'are followed; if the image made it, run "chown -h root '
                    '%s" in its Dockerfile' % (path, link, info.st_uid, link))
            links += 1
            if links > 40:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink('', dir_fd=nodes[-1])
            os.close(nodes.pop())
            while target.startswith('/') and len(nodes) > 1:
                os.close(nodes.pop())
            pending = parts(target) + pending
        return nodes.pop()
    finally:
        for node in nodes:
            os.close(node)


@contextlib.contextmanager
def opened(path):
    """Open a file or directory and yield a path of it that cannot change."""
    descriptor = open_path(path)
    try:
        yield '/proc/self/fd/%d' % descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened_parent(path):
    """Open the directory of path and yield it with the name in it."""
    parent, name = os.path.split(path.rstrip('/'))
    directory = open_path(parent or '.')
    try:
        yield directory, name
    finally:
        os.close(directory)


def make_directories(path):
    node = open_path(path, create=True)
    try:
        if not stat.S_ISDIR(os.fstat(node).st_mode):
            raise NotADirectoryError(errno.ENOTDIR,
                                     os.strerror(errno.ENOTDIR), path)
    finally:
        os.close(node)


def exists(path):
    """Report whether path exists, also as a link that leads nowhere."""
    try:
        with opened_parent(path) as (directory, name):
            os.lstat(name, dir_fd=directory)
    except (OSError, ForeignLink):
        return False
    return True


def link_target(path):
    """Return where the link at path leads to, or None if it is no link."""
    try:
        with opened_parent(path) as (directory, name):
            return os.readlink(name, dir_fd=directory)
    except (OSError, ForeignLink):
        return None


def is_directory(path):
    try:
        with opened(path) as node:
            return os.path.isdir(node)
    except (OSError, ForeignLink):
        return False


# --- changing --------------------------------------------------------------

def remove(path):
    if not os.path.lexists(path):
        return
    LOG.info('Deleting %s', path)
    with opened_parent(path) as (directory, name):
        if stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
            shutil.rmtree('/proc/self/fd/%d/%s' % (directory, name))
        else:
            os.remove(name, dir_fd=directory)


def remove_of_service(path):
    """Remove a link or pipe that a user other than root made."""
    if not exists(path):
        return
    with opened_parent(path) as (directory, name):
        info = os.lstat(name, dir_fd=directory)
    if info.st_uid != 0 and (stat.S_ISLNK(info.st_mode) or
                             stat.S_ISFIFO(info.st_mode)):
        remove(path)


def open_file(path):
    """Open a file to read it, without waiting for the writer of a pipe."""
    return open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 'rb')


def create_file(path, mode=0o666):
    """Create a file and return its descriptor. It must not exist."""
    with opened_parent(path) as (directory, name):
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode,
                       dir_fd=directory)


@contextlib.contextmanager
def acting_as(uid, gid):
    """Make files as another user."""
    try:
        os.setegid(gid)
        os.seteuid(uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def create_link(target, path, uid, gid):
    """Create a link that belongs to a user. Return whether it was created.

    It gets its owner in a directory that only root can enter: a link of root
    would be followed if this program ended before it changed the owner.
    """
    with opened_parent(path) as (directory, name):
        try:
            with tempfile.TemporaryDirectory(prefix='.link-',
                                             dir=DEFAULTS) as private:
                link = os.path.join(private, 'link')
                os.symlink(target, link)
                os.chown(link, uid, gid, follow_symlinks=False)
                os.rename(link, name, dst_dir_fd=directory)
        except OSError:  # such as another file system than that of DEFAULTS
            return create_link_as_user(target, path, directory, name, uid,
                                       gid)
    return True


def create_link_as_user(target, path, directory, name, uid, gid):
    """Create a link where it cannot be moved to from DEFAULTS.

    It is made by its owner, or by root in a directory of root, where a service
    cannot use a link that still belongs to root.
    """
    try:
        with acting_as(uid, gid):
            os.symlink(target, name, dir_fd=directory)
    except OSError as error:
        if os.fstat(directory).st_uid != 0:
            LOG.warning('Making the link %s as uid %d: %s; it is omitted',
                        path, uid, error.strerror)
            return False
        os.symlink(target, name, dir_fd=directory)
        os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
    return True


def wanted_mode(path, perm):
    """Return the mode for path: who may read a directory may enter it."""
    mode = parse_perm(perm)
    if os.path.isdir(path):
        mode |= (mode & (stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)) >> 2
    return mode


def set_owner_and_mode(path, owner, perm):
    """Set both; a read-only file system is not an error."""
    try:
        with opened(path) as node:
            LOG.info('Setting permission for %s', path)
            change_node(node, path, owner, perm)
    except (FileNotFoundError, NotADirectoryError):
        LOG.warning('%s does not exist', path)
    except OSError as error:  # such as links that lead to each other
        LOG.warning('%s is not changed: %s', path, error.strerror)
    except ForeignLink as error:
        LOG.warning('%s; its target is not changed', error)


def change_node(node, path, owner, perm):
    uid, gid = parse_owner(owner)
    try:
        os.chown(node, uid, gid)
    except OSError as error:
        LOG.error('Setting the owner of %s to %s: %s', path, owner, error)
    if not perm:
        return
    try:
        os.chmod(node, wanted_mode(node, perm))
    except OSError as error:
        LOG.error('Setting the mode of %s to %s: %s', path, perm, error)


def location(path):
    """Resolve links in the path of the directory, but not the last part."""
    directory, name = os.path.split(path.rstrip('/') or '/')
    if name in ('.', '..'):
        return os.path.realpath(path)
    return os.path.join(os.path.realpath(directory), name)


def contains(directory, path):
    """Report whether path is in directory, or is the directory itself."""
    return (path + '/').startswith(directory.rstrip('/') + '/')


def identity(path):
    info = os.stat(path)
    return info.st_dev, info.st_ino


def with_copy(copies, source, dest):
    """Return copies, a dict of copies by source, with one more."""
    return {**copies, identity(source): os.path.join(os.getcwd(), dest)}


def check_destination(dest, target):
    """Refuse dest, which leads to target, if that has the image's files."""
    if contains(target, DEFAULTS):
        raise InvalidConfig('%s cannot be replaced or merged into; name what '
                            'is in it' % dest)
    if contains(DEFAULTS, target):
        raise InvalidConfig("%s cannot be a destination: %s has the copies of "
                            "the image's files" % (dest, DEFAULTS))


class ConfigFile:
    """One entry of config_files.

    The source belongs to the deployment, all of whose links are followed; to
    the image (follow='root'), where only links of root on the path of the
    source itself are followed; or it is a copy of the image's files
    (follow='none'). Links in directories of these two are copied as links, and
    wildcards in their names have no meaning.
    """

    def __init__(self, source, dest, owner=None, perm=None, optional=False,
                 preserve_properties=False, merge=False, follow='all'):
        self.source = source
        self.dest = dest
        self.owner = owner
        self.perm = perm
        self.optional = optional
        self.preserve_properties = preserve_properties
        self.merge = merge
        self.follow = follow
        self.omitted = False  # whether copy could not create a link

    def pairs(self):
        """Return [(source, dest)], several if the source has wildcards."""
        if self.follow == 'all':
            sources = sorted(glob.glob(self.source))
        else:
            sources = [self.source] if os.path.lexists(self.source) else []
        if not sources and not self.optional:
            raise MissingRequiredSource('the source does not exist: %s'
                                        % self.source)
        return [(source, self.dest_of(source)) for source in sources]

    def dest_of(self, source):
        if self.dest.endswith('/'):
            return os.path.join(self.dest, os.path.basename(source))
        return self.dest

    def check(self):
        """Refuse what copy must not do, also for a source that appears later.

        A link at the destination is replaced, and with merge followed.
        """
        for source, dest in self.pairs() or [
                (self.source, self.dest_of(self.source))]:
            target = location(merged_path(dest) if self.merge else dest)
            check_destination(dest, target)
            origin = os.path.realpath(source)
            if target in (origin, location(source)):
                raise InvalidConfig('%s and %s are the same file'
                                    % (source, dest))
            if contains(origin, target):
                raise InvalidConfig('%s is in the source, %s' % (dest, source))

    def copy(self):
        for source, dest in self.pairs():
            LOG.info('Copying %s to %s', source, dest)
            if not self.merge:
                remove(dest)
            try:
                make_directories(os.path.dirname(dest) or '/')
                self._copy_tree(source, dest, {})
            except OSError as error:
                LOG.error('Copying %s to %s: %s', source, dest, error)
                raise

    def _copy_tree(self, source, dest, copies):
        """Copy source. copies maps each directory that contains it to its copy.

        A link in a source may lead to one of these directories: its copy would not end.
        Such a link leads to the copy of the directory instead, which has the
        same files. A directory that is there already is merged into.
        """
        target = self._link_of(source, dest, copies)
        if target:
            remove(dest)
            with opened_parent(dest) as (directory, name):
                os.symlink(target, name, dir_fd=directory)
            return
        with contextlib.ExitStack() as stack:
            try:
                node = stack.enter_context(self._opened_source(source))
            except (OSError, ForeignLink) as error:
                self._copy_unopened(source, dest, error)
                return
            self._copy_node(source, node, dest, copies)

    def _link_of(self, source, dest, copies):
        """Return where the link leads that copy makes, or None."""
        if self._copies_link(source):
            return os.readlink(source)
        if self.follow != 'all' or not os.path.isdir(source):
            return None
        if link_target(dest) is None and is_directory(dest):
            return None
        return copies.get(identity(source))

    def _opened_source(self, source):
        if self.follow == 'all':
            return contextlib.nullcontext(source)
        if self.follow == 'none' and os.path.islink(source):
            raise ForeignLink('%s is copied as a link' % source)
        return opened(source)

    def _copy_unopened(self, source, dest, reason):
        with opened_parent(source) as (directory, name):
            node = open_entry(directory, name, create=False)
        try:
            self._copy_other(source, node, dest, reason)
        finally:
            os.close(node)

    def _copy_other(self, source, node, dest, reason):
        """Copy a link as a link. Anything else is omitted.

        To fail would allow a service to prevent its own next start.
        """
        info = os.fstat(node)
        if stat.S_ISLNK(info.st_mode):
            remove(dest)
            if not create_link(os.readlink('', dir_fd=node), dest,
                               info.st_uid, info.st_gid):
                self.omitted = True
        else:
            LOG.warning('%s is not copied: %s', source, reason)

    def _copy_node(self, source, node, dest, copies):
        """Copy source, which was opened as node."""
        mode = os.stat(node).st_mode
        if stat.S_ISDIR(mode):
            self._copy_directory(source, node, dest, copies)
        elif stat.S_ISREG(mode) or self.follow == 'all' and stat.S_ISCHR(mode):
            remove(dest)
            with open_file(node) as content:
                self._write(content, dest)
        elif self.follow == 'all':
            raise InvalidConfig('the source %s is neither a file nor a '
                                'directory; name one of these' % source)
        else:
            self._copy_unopened(source, dest,
                                'it is neither a file nor a directory')

    def _copy_directory(self, source, node, dest, copies):
        if not is_directory(dest):
            remove(dest)
        make_directories(dest)
        with opened(dest) as directory:
            # A link in the source may lead here: the copy would not end.
            if contains(os.path.realpath(node), os.path.realpath(directory)):
                raise InvalidConfig('%s is in the source, %s' % (dest, source))
            self._set_properties(node, directory, dest)
        copies = with_copy(copies, node, dest)
        for name in sorted(os.listdir(node)):
            names = os.path.join(source, name), os.path.join(dest, name)
            if self.follow == 'all':
                self._copy_tree(*names, copies)
            else:
                self._copy_entry(os.path.join(node, name), *names)

    def _copy_entry(self, path, source, dest):
        """Copy an entry of a directory, which has path, and follow no link.

        With links to their own directory, the copy would not end.
        """
        node = open_entry(None, path, create=False)
        try:
            if stat.S_ISLNK(os.fstat(node).st_mode):
                self._copy_other(source, node, dest, 'it is a link')
            else:
                self._copy_node(source, '/proc/self/fd/%d' % node, dest, {})
        finally:
            os.close(node)

    def _copies_link(self, source):
        return (self.merge and self.preserve_properties and
                os.path.islink(source) and not os.path.isdir(source))

    def _write(self, content, dest):
        """Write a file that no other user can read before it has an owner."""
        descriptor = create_file(dest, 0o600)
        with open(descriptor, 'wb') as copy:
            shutil.copyfileobj(content, copy)
            if not self.perm:
                os.fchmod(descriptor,
                          stat.S_IMODE(os.fstat(content.fileno()).st_mode))
            self._set_properties('/proc/self/fd/%d' % content.fileno(),
                                 '/proc/self/fd/%d' % descriptor, dest)

    def _set_properties(self, source, node, dest):
        """Set owner and mode of dest, which was opened as node."""
        if self.preserve_properties:
            shutil.copystat(source, node)
            info = os.stat(source)
            os.chown(node, info.st_uid, info.st_gid)
        else:
            change_node(node, dest, self.owner, self.perm)

    def differences(self):
        """Yield the differences to the result of copy."""
        for source, dest in self.pairs():
            yield from self._compare_tree(source, dest, {})

    def _compare_tree(self, source, dest, copies):
        """Compare source with dest, as _copy_tree copies it."""
        target = self._link_of(source, dest, copies)
        if target:
            if link_target(dest) != target:
                yield '%s is not the same link as %s' % (dest, source)
            return
        yield from self._compare(source, dest)
        if os.path.isdir(source):
            copies = with_copy(copies, source, dest)
            for name in sorted(os.listdir(source)):
                yield from self._compare_tree(os.path.join(source, name),
                                              os.path.join(dest, name), copies)

    def _compare(self, source, dest):
        """Compare a file or directory. As in copy, only root's links count."""
        with contextlib.ExitStack() as stack:
            try:
                node = stack.enter_context(opened(dest))
            except ForeignLink as error:
                yield str(error)
            except (FileNotFoundError, NotADirectoryError):
                yield '%s does not exist' % dest
            except OSError as error:  # such as links that lead to each other
                yield '%s: %s' % (dest, error.strerror)
            else:
                yield from self._compare_node(source, node, dest)

    def _compare_node(self, source, node, dest):
        """Compare source with dest, which was opened as node."""
        if os.path.isdir(source) != os.path.isdir(node) or (
                os.path.isfile(source) and not os.path.isfile(node)):
            yield '%s and %s are not of the same type' % (source, dest)
            return
        if os.path.isfile(source):
            with open_file(source) as wanted, open_file(node) as found:
                if wanted.read() != found.read():
                    yield 'the content of %s differs from %s' % (dest, source)
        info = os.stat(node)
        if self.preserve_properties:
            origin = os.stat(source)
            owner = origin.st_uid, origin.st_gid
            mode = stat.S_IMODE(origin.st_mode)
        else:
            owner = parse_owner(self.owner)
            mode = wanted_mode(node, self.perm) if self.perm else None
        if (info.st_uid, info.st_gid) != owner:
            yield '%s belongs to %d:%d, not %d:%d' % (
                (dest, info.st_uid, info.st_gid) + owner)
        if mode is not None and stat.S_IMODE(info.st_mode) != mode:
            yield '%s has the mode %04o, not %04o' % (
                dest, stat.S_IMODE(info.st_mode), mode)


def create_directories(config):
    for entry in config.get('directories') or []:
        make_directories(entry['path'])
        set_permissions(entry)


def create_files(config):
    for entry in config.get('files') or []:
        path = entry['path']
        remove_of_service(path)
        if os.path.islink(path) or os.path.isdir(path):
            raise InvalidConfig('%s exists, but is not a regular file' % path)
        if not os.path.isdir(os.path.dirname(path) or '/'):
            raise InvalidConfig('the directory of %s does not exist' % path)
        if not os.path.exists(path):
            os.close(create_file(path))
        set_permissions(entry)


def set_permissions(entry):
    owner, perm = entry['owner'], entry.get('perm')
    parse_owner(owner)  # a mistake is reported even if nothing has the path yet
    exclude = [re.compile(pattern) for pattern in entry.get('exclude') or []]
    for top in sorted(glob.glob(entry['path'])):
        set_owner_and_mode(top, owner, perm)
        # os.walk follows a link that it begins with.
        if not entry.get('recurse') or not is_directory(top):
            continue
        for root, dirs, files in os.walk(top):
            for name in dirs + files:
                path = os.path.join(root, name)
                if not any(pattern.search(path) for pattern in exclude):
                    set_owner_and_mode(path, owner, perm)


def write_command(config):
    LOG.info('Writing out command to execute')
    with open(RUN_COMMAND, 'w') as command_file:
        command_file.write(config['command'])
    os.chmod(RUN_COMMAND, 0o644)


# --- the image's own files -------------------------------------------------

# Before a file is replaced for the first time, the image's file is copied to
# DEFAULTS and recorded in DEFAULTS/state. If a later configuration does not
# name the file, it is restored, or removed if the image did not have it:
#   {dest: {"source": dest, "preserve_properties": true, "dest": copy or null}}

def load_state():
    """Return the state, or None if its file is damaged.

    Kolla's script writes it in place, and a killed container leaves it empty.
    That must not prevent all later starts.
    """
    path = os.path.join(DEFAULTS, 'state')
    try:
        with open(path) as state_file:
            state = json.load(state_file)
        if not isinstance(state, dict) or not all(
                {'source', 'dest'} <= set(state[name]) for name in state):
            raise ValueError('it is not an object of entries with "source" '
                             'and "dest"')
    except FileNotFoundError:
        return {}
    except (TypeError, ValueError) as error:
        LOG.warning('%s is damaged: %s; files that are no longer configured '
                    'are not restored; to restore them, recreate the '
                    'container', path, error)
        return None
    return state


def save_state(state):
    """Replace the state file, which a crash must not leave empty."""
    path = os.path.join(DEFAULTS, 'state')
    with open(path + '.new', 'w') as state_file:
        json.dump(state, state_file, indent=4)
        state_file.flush()
        os.fsync(state_file.fileno())
    os.replace(path + '.new', path)
    directory = os.open(DEFAULTS, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def restore_defaults(state):
    """Restore the image's files. Return the links that were not restored."""
    omitted = set()
    for path, entry in state.items():
        try:
            check_destination(path, location(path))
        except InvalidConfig as error:  # of an earlier version of this script
            LOG.warning('%s is not restored: %s', path, error)
            continue
        # Kolla's own script swaps the two at each start.
        backup = entry['source'] if entry['source'] != path else entry['dest']
        if backup is None:
            remove(path)
            continue
        item = ConfigFile(backup, path, preserve_properties=True,
                          follow='none')
        item.copy()
        # A directory is restored once: that removes what was added to it.
        if item.omitted and os.path.islink(backup):
            omitted.add(path)
    return omitted


def keep_default(path, reuse):
    """Copy a file of the image and return the copy, or None without a file.

    With reuse, an earlier copy is used: the file may be configured already.
    """
    # A copied directory may have links: its own path has none.
    backup = DEFAULTS + location(path)
    if not (reuse and os.path.lexists(backup)):
        if not exists(path):
            return None
        # A link to a directory that has DEFAULTS in it is kept as a link.
        inside = contains(os.path.realpath(path), backup)
        ConfigFile(path, backup, preserve_properties=True,
                   follow='none' if inside else 'root').copy()
    return backup if os.path.lexists(backup) else None  # such as for a pipe


def keep_defaults(config, state, reuse):
    for entry in config.get('config_files') or []:
        for _, dest in ConfigFile(**dict(entry, optional=True)).pairs():
            dest = merged_path(dest) if entry.get('merge') else dest
            if dest not in state:
                state[dest] = {'source': dest, 'preserve_properties': True,
                               'dest': keep_default(dest, reuse)}


def named_destinations(config):
    named = set()
    for entry in config.get('config_files') or []:
        item = ConfigFile(**entry)
        # An optional file counts as named, even if its source does not exist.
        named.add(item.dest_of(item.source))
        named.update(dest for _, dest in item.pairs())
    return named | {merged_path(dest) for dest in named}


def merged_path(dest):
    """Return the path of the directory that files are merged into.

    A link of root to the directory is followed, and must not be replaced by
    the directory when the image's files are restored.
    """
    try:
        with opened(dest) as node:
            return os.readlink(node) if os.path.isdir(node) else dest
    except (OSError, ForeignLink):
        return dest


def handle_defaults(config):
    os.makedirs(DEFAULTS, exist_ok=True)
    loaded = load_state()
    state = loaded or {}
    # What is not configured any more is the image's again, also for --check.
    # What could not be restored is tried again at the next start.
    needed = restore_defaults(state) | named_destinations(config)
    state = {dest: state[dest] for dest in state if dest in needed}
    keep_defaults(config, state, reuse=loaded is None)
    save_state(state)


# --- main ------------------------------------------------------------------

def check_destinations(config):
    """Refuse destinations before anything is changed."""
    for entry in config.get('config_files') or []:
        # A directory or an earlier entry may create a source.
        ConfigFile(**dict(entry, optional=True)).check()


def apply(config):
    check_destinations(config)
    create_directories(config)
    create_files(config)
    handle_defaults(config)
    for entry in config.get('config_files') or []:
        ConfigFile(**entry).copy()
    write_command(config)
    for entry in config.get('permissions') or []:
        set_permissions(entry)


def execute_strategy(config):
    strategy = os.environ.get('KOLLA_CONFIG_STRATEGY')
    LOG.info('Kolla config strategy set to: %s', strategy)
    if strategy == 'COPY_ALWAYS':
        apply(config)
    elif strategy == 'COPY_ONCE':
        if os.path.exists(CONFIGURED):
            raise ImmutableConfig('configured at an earlier start; COPY_ONCE '
                                  'changes nothing')
        apply(config)
        open(CONFIGURED, 'w').close()
    else:
        raise InvalidConfig('KOLLA_CONFIG_STRATEGY must be COPY_ALWAYS or '
                            'COPY_ONCE, not %s' % strategy)


def check(config):
    check_destinations(config)
    differences = []
    try:
        with open(RUN_COMMAND) as command_file:
            running = command_file.read()
    except FileNotFoundError:
        raise ConfigDiffers('%s does not exist: the container is not '
                            'configured yet' % RUN_COMMAND)
    if running != config['command']:
        differences.append('the command is "%s", not "%s"'
                           % (running, config['command']))
    for dest in sorted(set(load_state() or {}) - named_destinations(config)):
        differences.append('%s is not in the configuration any more' % dest)
    for entry in config.get('config_files') or []:
        differences.extend(ConfigFile(**entry).differences())
    if differences:
        raise ConfigDiffers('; '.join(differences))


def main():
    logging.basicConfig(
        level=logging.INFO, datefmt='%Y-%m-%d %H:%M:%S',
        format='%(asctime)s.%(msecs)03d %(levelname)s %(message)s')
    parser = argparse.ArgumentParser(
        description='Install the configuration of this container.')
    parser.add_argument('--check', action='store_true',
                        help='only report whether the configuration changed')
    args = parser.parse_args()
    try:
        config = load_config()
        if args.check:
            check(config)
        else:
            execute_strategy(config)
    except KollaError as error:
        LOG.error('%s: %s', type(error).__name__, error)
        return error.exit_code
    except Exception:
        LOG.exception('Unexpected error:')
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
