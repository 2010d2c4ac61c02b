#!/usr/bin/env python3
"""Print the keyrings and the monitor map of a new cluster for the deployment.

The output is one line of JSON: a dictionary for each file with its name, its SHA-1 and its
content, compressed with zlib and in Base64. The deployment copies them to the other hosts.
"""

import base64
import hashlib
import json
import os
import sys
import zlib

DIRECTORY = '/etc/ceph'
FILES = ('ceph.client.admin.keyring', 'ceph.client.mon.keyring', 'ceph.client.radosgw.keyring', 'ceph.monmap')


def describe(name):
    with open(os.path.join(DIRECTORY, name), 'rb') as f:
        data = f.read()
    return {
        'filename': name,
        'sha1': hashlib.sha1(data).hexdigest(),
        'content': base64.b64encode(zlib.compress(data)).decode('ascii'),
    }


def main():
    result = {'failed': False, 'changed': False}
    try:
        result.update((name, describe(name)) for name in FILES)
    except OSError as e:
        result = {'failed': True, 'changed': False, 'msg': str(e)}
    print(json.dumps(result))
    # As in Kolla, the exit status is always 0. The deployment reads "failed".
    return 0


if __name__ == '__main__':
    sys.exit(main())
