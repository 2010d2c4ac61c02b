#!/bin/bash
#
# kolla_start: install the configuration, prepare the service, and run it.
#
# The image's kolla_extend_start is sourced: it may change the environment, set ARGS for the
# command, or exit (after a bootstrap).

set -o errexit
set -o pipefail
set -o nounset
set -o xtrace

# Only root may write /run_command and the configuration, see /etc/sudoers.
sudo -E kolla_set_configs
CMD=$(cat /run_command)
ARGS=""

sudo kolla_copy_cacerts
sudo kolla_install_projects

# Deployments run the APIs under Apache up to OpenStack 2025.2.
if [[ ${CMD%% *} =~ ^(/usr/sbin/)?(apache2|httpd)$ ]]; then
    # shellcheck source=/dev/null
    . kolla_httpd_setup
fi

if [[ -z ${KOLLA_SKIP_EXTEND_START+set} ]]; then
    # shellcheck source=/dev/null
    . kolla_extend_start
fi

echo "Running command: '${CMD}${ARGS:+ ${ARGS}}'"
# The command is split into words without quoting, as in Kolla.
# shellcheck disable=SC2086
exec ${CMD} ${ARGS}
