#!/usr/bin/python
"""Ansible module openvswitch_port: a port of a bridge of Open vSwitch.

It has the arguments of the module in the collection openvswitch.openvswitch, for
distributions without that collection.
"""

import json

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r'''
module: openvswitch_port
short_description: Add, change or remove a port of a bridge of Open vSwitch
description: Runs ovs-vsctl. Needs a running database.
options:
  bridge: {description: Bridge that has the port, type: str, required: true}
  port: {description: Name of the port, type: str, required: true}
  tag: {description: VLAN of the port, type: str}
  state: {description: What to do, type: str, choices: [present, absent], default: present}
  external_ids: {description: External ids, type: dict}
  set: {description: Arguments of ovs-vsctl set when the port is added, type: list, elements: str}
  timeout: {description: Seconds to wait for the database, type: int, default: 5}
author: kolla-build
'''


def main():
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        'bridge': {'type': 'str', 'required': True},
        'port': {'type': 'str', 'required': True},
        'tag': {'type': 'str'},
        'state': {'type': 'str', 'choices': ['present', 'absent'], 'default': 'present'},
        'external_ids': {'type': 'dict'},
        'set': {'type': 'list', 'elements': 'str'},
        'timeout': {'type': 'int', 'default': 5},
    })
    args = module.params
    bridge, port = args['bridge'], args['port']
    vsctl = [module.get_bin_path('ovs-vsctl', required=True), '--timeout=%d' % args['timeout']]

    def read(*command):
        return module.run_command(vsctl + list(command), check_rc=True)[1].strip()

    there = port in read('list-ports', bridge).splitlines()

    # All changes are one transaction.
    changes = []
    if args['state'] == 'absent':
        if there:
            changes.append(['del-port', bridge, port])
    else:
        if not there:
            changes.append(['add-port', bridge, port] + (['tag=' + args['tag']] if args['tag'] else []))
            changes += [['set'] + words.split() for words in args['set'] or []]
        elif args['tag'] and read('get', 'Port', port, 'tag') != args['tag']:
            changes.append(['set', 'Port', port, 'tag=' + args['tag']])
        for key, value in sorted((args['external_ids'] or {}).items()):
            place = 'external_ids:' + json.dumps(key)
            old = read('--if-exists', 'get', 'Port', port, place) if there else ''
            if old.startswith('"'):
                old = json.loads(old)
            if value is None and old:
                changes.append(['remove', 'Port', port, 'external_ids', json.dumps(key)])
            elif value is not None and old != str(value):
                changes.append(['set', 'Port', port, place + '=' + json.dumps(str(value))])

    if changes and not module.check_mode:
        command = []
        for change in changes:
            command += ['--'] + change
        module.run_command(vsctl + command, check_rc=True)
    module.exit_json(changed=bool(changes), commands=[' '.join(['ovs-vsctl'] + change) for change in changes])


if __name__ == '__main__':
    main()
