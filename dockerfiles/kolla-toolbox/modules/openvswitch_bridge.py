#!/usr/bin/python
"""Ansible module openvswitch_bridge: a bridge of Open vSwitch.

It has the arguments of the module in the collection openvswitch.openvswitch, for
distributions without that collection.
"""

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r'''
module: openvswitch_bridge
short_description: Add, change or remove a bridge of Open vSwitch
description: Runs ovs-vsctl. Needs a running database.
options:
  bridge: {description: Name of the bridge, type: str, required: true}
  parent: {description: Bridge of which this one is a VLAN, type: str}
  vlan: {description: VLAN of the parent, type: int}
  state: {description: What to do, type: str, choices: [present, absent], default: present}
  fail_mode: {description: What the bridge does without a controller, type: str, choices: [standalone, secure]}
  external_ids: {description: External ids, type: dict}
  set: {description: Arguments of ovs-vsctl set when the bridge is added, type: list, elements: str}
  timeout: {description: Seconds to wait for the database, type: int, default: 5}
author: kolla-build
'''


def main():
    module = AnsibleModule(supports_check_mode=True, required_together=[('parent', 'vlan')], argument_spec={
        'bridge': {'type': 'str', 'required': True},
        'parent': {'type': 'str'},
        'vlan': {'type': 'int'},
        'state': {'type': 'str', 'choices': ['present', 'absent'], 'default': 'present'},
        'fail_mode': {'type': 'str', 'choices': ['standalone', 'secure']},
        'external_ids': {'type': 'dict'},
        'set': {'type': 'list', 'elements': 'str'},
        'timeout': {'type': 'int', 'default': 5},
    })
    args = module.params
    bridge = args['bridge']
    vsctl = [module.get_bin_path('ovs-vsctl', required=True), '--timeout=%d' % args['timeout']]

    def read(*command):
        return module.run_command(vsctl + list(command), check_rc=True)[1].strip()

    there = module.run_command(vsctl + ['br-exists', bridge])[0]
    if there not in (0, 2):
        module.fail_json(msg='ovs-vsctl br-exists %s ended with status %d' % (bridge, there))
    there = there == 0

    # All changes are one transaction.
    changes = []
    if args['state'] == 'absent':
        if there:
            changes.append(['del-br', bridge])
    else:
        if not there:
            changes.append(['add-br', bridge] + ([args['parent'], str(args['vlan'])] if args['parent'] else []))
            changes += [['set'] + words.split() for words in args['set'] or []]
        if args['fail_mode'] and (not there or read('get-fail-mode', bridge) != args['fail_mode']):
            changes.append(['set-fail-mode', bridge, args['fail_mode']])
        old = {}
        if there and args['external_ids']:
            old = dict(line.split('=', 1) for line in read('br-get-external-id', bridge).splitlines() if '=' in line)
        for key, value in sorted((args['external_ids'] or {}).items()):
            if value is None and key in old:
                changes.append(['br-set-external-id', bridge, key])
            elif value is not None and old.get(key) != str(value):
                changes.append(['br-set-external-id', bridge, key, str(value)])

    if changes and not module.check_mode:
        command = []
        for change in changes:
            command += ['--'] + change
        module.run_command(vsctl + command, check_rc=True)
    module.exit_json(changed=bool(changes), commands=[' '.join(['ovs-vsctl'] + change) for change in changes])


if __name__ == '__main__':
    main()
