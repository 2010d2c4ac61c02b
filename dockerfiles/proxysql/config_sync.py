#!/usr/bin/python3
"""kolla_proxysql_config_sync: write ProxySQL's configuration.

usage: kolla_proxysql_config_sync [DIRECTORY FILE]

Deployments provide the configuration in several YAML files: DIRECTORY/proxysql.yaml,
DIRECTORY/users/* with lists "mysql_users", and DIRECTORY/rules/* with lists
"mysql_query_rules". The program writes them to FILE in the format of libconfig, which
ProxySQL reads. If several users have the same name, or several rules have the same
schema or user, the first one is used.
"""

import os
import sys

import yaml


def warn(message):
    print('kolla_proxysql_config_sync: ' + message, file=sys.stderr)


def read(path):
    with open(path, encoding='utf-8') as yaml_file:
        content = yaml.safe_load(yaml_file)
    if not isinstance(content, dict):
        raise SystemExit('kolla_proxysql_config_sync: %s is not a mapping' % path)
    return content


def collect(directory, key):
    """Return the joined lists of a key in all files of a directory."""
    entries = []
    if os.path.isdir(directory):
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if os.path.isfile(path):
                entries += read(path).get(key) or []
    return entries


def first_of_each(entries, names, what):
    """Return the first entry of each name.

    names returns the name of an entry, or None to ignore the entry.
    """
    seen, kept = set(), []
    for entry in entries:
        name = names(entry)
        if name is None:
            warn('%s that names no user is ignored: %s' % (what, sorted(entry)))
        elif name in seen:
            warn('%s is defined more than once; the first definition is used: %s' % (what, name))
        else:
            seen.add(name)
            kept.append(entry)
    return kept


def rule_name(rule):
    for key in ('schemaname', 'username'):
        if key in rule:
            return '%s %s' % (key, rule[key])
    return None


def scalar(value):
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, int):
        # Integers of libconfig have 32 bits without the suffix L.
        return str(value) if -2**31 <= value < 2**31 else '%dL' % value
    if isinstance(value, float):
        return repr(value)
    if value is None:
        value = ''
    return '"%s"' % str(value).replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')


def group(settings, indent):
    lines = ['%s    %s = %s' % (indent, key, scalar(value)) for key, value in settings.items()]
    return '\n'.join([indent + '{'] + lines + [indent + '}'])


def libconfig(config):
    """Format config, a mapping of scalars, mappings and lists of mappings, for libconfig."""
    lines = []
    for key, value in config.items():
        if isinstance(value, dict):
            lines.append('%s =\n%s' % (key, group(value, '')))
        elif isinstance(value, list):
            lines.append('%s =\n(\n%s\n)' % (key, ',\n'.join(group(entry, '    ') for entry in value)))
        else:
            lines.append('%s = %s' % (key, scalar(value)))
    return '\n'.join(lines) + '\n'


def main():
    if len(sys.argv) not in (1, 3):
        raise SystemExit('usage: kolla_proxysql_config_sync [DIRECTORY FILE]')
    directory, target = sys.argv[1:] or ('/etc/proxysql', '/etc/proxysql.cnf')

    config = read(os.path.join(directory, 'proxysql.yaml'))
    config['mysql_users'] = first_of_each(
        collect(os.path.join(directory, 'users'), 'mysql_users'), lambda user: user.get('username'), 'a user')
    rules = first_of_each(
        collect(os.path.join(directory, 'rules'), 'mysql_query_rules'), rule_name, 'a rule')
    config['mysql_query_rules'] = [dict(rule, rule_id=number) for number, rule in enumerate(rules, 1)]

    # The file contains passwords. It is written in place, since the directory is owned by root.
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w', encoding='utf-8') as config_file:
        config_file.write(libconfig(config))


if __name__ == '__main__':
    main()
