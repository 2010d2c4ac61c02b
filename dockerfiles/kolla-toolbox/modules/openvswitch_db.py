#!/usr/bin/python
"""Ansible module openvswitch_db: one value in the database of Open vSwitch.

It has the arguments of the module in the collection openvswitch.openvswitch, for
distributions without that collection.
"""

import json
import re

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r'''
module: openvswitch_db
short_description: Set, remove or read a value in the database of Open vSwitch
description: Runs ovs-vsctl. Needs a running database.
options:
  table: {description: Table, type: str, required: true}
  record: {description: Record, type: str, required: true}
  col: {description: Column, type: str, required: true}
  key: {description: Key in a column that is a map, type: str}
  value: {description: Value, type: str}
  state: {description: What to do, type: str, choices: [present, absent, read], default: present}
  timeout: {description: Seconds to wait for the database, type: int, default: 5}
author: kolla-build
'''


def quoted(value):
    """Return value as ovs-vsctl reads it, whatever is in it."""
    return value if re.fullmatch(r'[\w.-]+', value, re.ASCII) else json.dumps(value)


def main():
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        'table': {'type': 'str', 'required': True},
        'record': {'type': 'str', 'required': True},
        'col': {'type': 'str', 'required': True},
        'key': {'type': 'str', 'no_log': False},
        'value': {'type': 'str'},
        'state': {'type': 'str', 'choices': ['present', 'absent', 'read'], 'default': 'present'},
        'timeout': {'type': 'int', 'default': 5},
    })
    args = module.params
    table, record, column, key = args['table'], args['record'], args['col'], args['key']
    if args['state'] == 'present' and args['value'] is None:
        module.fail_json(msg='state=present needs a value')

    def vsctl(*command):
        return module.run_command(
            [module.get_bin_path('ovs-vsctl', required=True), '--timeout=%d' % args['timeout'], *command],
            check_rc=True)[1].strip()

    place = column if key is None else '%s:%s' % (column, quoted(key))
    current = vsctl('--if-exists', 'get', table, record, place)
    if current.startswith('"'):
        current = json.loads(current)
    there = current not in ('', '[]', '{}')

    command = None
    if args['state'] == 'present' and current != args['value']:
        command = ('set', table, record, '%s=%s' % (place, quoted(args['value'])))
    elif args['state'] == 'absent' and there:
        command = ('clear', table, record, column) if key is None else ('remove', table, record, column, quoted(key))
    if command and not module.check_mode:
        vsctl(*command)

    result = {'changed': command is not None}
    if args['state'] == 'read':
        result['value'] = current if there else None
    if command:
        result['commands'] = [' '.join(('ovs-vsctl',) + command)]
    module.exit_json(**result)


if __name__ == '__main__':
    main()
