#!/bin/bash
#
# kolla_start: put the configuration in place, prepare the service, become it.
#
# The service's own preparation, kolla_extend_start, is sourced: it may change
# the environment, set ARGS for the command, or exit (after a bootstrap).

set -o errexit
set -o pipefail
set -o nounset
set -o xtrace

# Only root may write /run_command and configuration, see /etc/sudoers.
sudo -E kolla_set_configs
CMD=$(cat /run_command)
ARGS=""

sudo kolla_copy_cacerts
sudo kolla_install_projects

# The APIs of deployments up to OpenStack 2025.2 run under Apache.
if [[ ${CMD%% *} =~ ^(/usr/sbin/)?(apache2|httpd)$ ]]; then
    # shellcheck source=/dev/null
    . kolla_httpd_setup
fi

if [[ -z ${KOLLA_SKIP_EXTEND_START+set} ]]; then
    # shellcheck source=/dev/null
    . kolla_extend_start
fi

echo "Running command: '${CMD}${ARGS:+ ${ARGS}}'"
# The command is a line of words by contract.
# shellcheck disable=SC2086
exec ${CMD} ${ARGS}
