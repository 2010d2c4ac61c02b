#!/usr/bin/python3
"""Say whether this node's fernet keys need a synchronisation.

Prints one line of JSON: "populated" when there are at least --number keys,
"update_required" when the key file --filename is older than --time seconds or
is not there.
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
                        help='the key whose age counts (default: 0)')
    parser.add_argument('-n', '--number', type=int, required=True,
                        help='how many keys there should be')
    args = parser.parse_args()

    count = sum(entry.is_file() for entry in os.scandir(KEYS))
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
