#!/bin/bash
# kolla_extend_start of opensearch-dashboards. If OpenSearch has no security plugin, the
# dashboards must not have it either, or logins would fail.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir opensearch-dashboards

export DASHBOARDS_HOME=/usr/share/opensearch-dashboards

if [[ ${OPENSEARCH_DASHBOARDS_SECURITY_PLUGIN:-True} == False ]]; then
    plugins=$("${DASHBOARDS_HOME}/bin/opensearch-dashboards-plugin" list)
    if [[ ${plugins} == *securityDashboards* ]]; then
        "${DASHBOARDS_HOME}/bin/opensearch-dashboards-plugin" remove securityDashboards
    fi
fi
