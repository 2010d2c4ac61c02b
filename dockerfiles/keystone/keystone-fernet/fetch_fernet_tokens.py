#!/usr/bin/python3
"""Report whether this node's Fernet keys must be synchronized.

Prints one line of JSON. "populated" is true if there are at least --number keys.
"update_required" is true if the key file --filename is older than --time seconds
or does not exist.
"""

import argparse
import json
import os
import time

KEYS = '/etc/keystone/fernet-keys'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('-t', '--time', type=int, required=True,
                        help='seconds after which keys are rotated')
    parser.add_argument('-f', '--filename', default='0',
                        help='name of the key whose age is checked (default: 0)')
    parser.add_argument('-n', '--number', type=int, required=True,
                        help='expected number of keys')
    args = parser.parse_args()

    # Before the first keys, the directory, a volume, is empty or missing.
    try:
        count = sum(entry.is_file() for entry in os.scandir(KEYS))
    except FileNotFoundError:
        count = 0
    try:
        age = time.time() - os.path.getmtime(os.path.join(KEYS, args.filename))
        stale = age > args.time
    except FileNotFoundError:
        stale = True
    print(json.dumps({'populated': count >= args.number,
                      'update_required': stale,
                      'failed': False, 'changed': False}))


if __name__ == '__main__':
    main()
