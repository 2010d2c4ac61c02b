#!/usr/bin/env python3
"""Run keystone-manage and report the result as kolla-ansible expects.

usage: keystone_manage_json REGEX COMMAND ARGUMENT...

Prints one line of JSON with "failed", "changed" and, on failure, "msg", the command's output.
"changed" is true if a message of the command matches REGEX.
"""

import json
import re
import subprocess
import sys
import tempfile

# The log messages tell what the command has done, so they must go to stderr in a known
# format. A deployment's keystone.conf may log to a file, to syslog or as JSON.
LOGGING = """[DEFAULT]
log_file =
log_dir =
log_config_append =
use_stderr = true
use_json = false
use_syslog = false
use_journal = false
logging_context_format_string = [-] %(message)s
logging_default_format_string = [-] %(message)s
"""


def run(arguments):
    """Return the exit status and the output of keystone-manage."""
    with tempfile.NamedTemporaryFile('w', suffix='.conf') as logging:
        logging.write(LOGGING)
        logging.flush()
        command = ['keystone-manage', '--config-file', '/etc/keystone/keystone.conf', '--config-file', logging.name]
        try:
            done = subprocess.run(command + arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, encoding='utf-8', errors='replace')
        except OSError as e:
            return 1, 'running keystone-manage: %s' % e
    return done.returncode, done.stdout


def main():
    status, output = run(sys.argv[2:])
    result = {'failed': status != 0, 'changed': status != 0 or bool(re.search(sys.argv[1], output))}
    if status != 0:
        result['msg'] = output
    print(json.dumps(result))
    return int(status != 0)


if __name__ == '__main__':
    sys.exit(main())
