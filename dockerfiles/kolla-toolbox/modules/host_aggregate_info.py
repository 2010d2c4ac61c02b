#!/usr/bin/python
"""Ansible module openstack.cloud.host_aggregate_info: host aggregates of Nova.

It has the arguments of the module in newer releases of the collection openstack.cloud,
for distributions with an older release.
"""

from ansible_collections.openstack.cloud.plugins.module_utils.openstack import OpenStackModule

DOCUMENTATION = r'''
module: host_aggregate_info
short_description: List the host aggregates of Nova
description: Lists all host aggregates, or those with a name.
options:
  name: {description: Name or id of the aggregates to list, type: str}
extends_documentation_fragment: [openstack.cloud.openstack]
author: kolla-build
'''


class HostAggregateInfoModule(OpenStackModule):
    argument_spec = {'name': {'type': 'str'}}
    module_kwargs = {'supports_check_mode': True}

    def run(self):
        name = self.params['name']
        self.exit_json(changed=False, aggregates=[
            aggregate.to_dict(computed=False) for aggregate in self.conn.compute.aggregates()
            if name is None or name in (aggregate.name, str(aggregate.id))])


def main():
    HostAggregateInfoModule()()


if __name__ == '__main__':
    main()
