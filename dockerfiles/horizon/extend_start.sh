#!/bin/bash
# kolla_extend_start of horizon: enable the dashboards of the deployment's ENABLE_ variables,
# and build the static files again if settings have changed.

. /usr/local/lib/kolla/extend_start_lib.sh

if [[ -x /var/lib/kolla/venv/bin/python ]]; then
    manage_py=(/var/lib/kolla/venv/bin/python /var/lib/kolla/venv/bin/manage.py)
else
    manage_py=(/usr/bin/python3 /usr/bin/manage.py)
fi
dashboard=$("${manage_py[0]}" -c 'import importlib.util as u; print(u.find_spec("openstack_dashboard").submodule_search_locations[0])')
site_packages=$("${manage_py[0]}" -c 'import importlib.util as u, os; print(os.path.dirname(u.find_spec("horizon").submodule_search_locations[0]))')
settings=/etc/openstack-dashboard
hash_file=/var/lib/kolla/.settings.md5sum.txt
generate=${FORCE_GENERATE:-no}

# Deployments use one of these names for their settings.
if [[ -f ${settings}/local_settings ]]; then
    ln -sf "${settings}/local_settings" "${dashboard}/local/local_settings.py"
fi
if [[ -f ${settings}/custom_local_settings ]]; then
    ln -sf "${settings}/custom_local_settings" "${dashboard}/local/custom_local_settings.py"
fi

if kolla_is_set KOLLA_BOOTSTRAP; then
    "${manage_py[@]}" migrate --noinput
    exit 0
fi

# switch YES-OR-NO FILE DEST copies a dashboard's FILE to DEST, or removes DEST.
switch() {
    if [[ ! -f $2 ]]; then
        return
    fi
    if [[ $1 == yes && ! -f $3 ]]; then
        mkdir -p "$(dirname "$3")"
        cp -a "$2" "$3"
        generate=yes
    elif [[ $1 != yes && -f $3 ]]; then
        rm -f "$3"
        generate=yes
    fi
}

# For each dashboard: the name in its ENABLE_ variable, its Python package, a pattern of the
# files of its panels, and files with policies and settings (source=dest).
while read -r name package panels files; do
    enable=ENABLE_${name}
    enable=${!enable:-no}
    for file in "${site_packages}/${package}"/${panels}; do
        switch "${enable}" "${file}" "${dashboard}/local/enabled/$(basename "${file}")"
    done
    for file in ${files}; do
        switch "${enable}" "${site_packages}/${package}/${file%%=*}" "${settings}/${file#*=}"
    done
done <<'DASHBOARDS'
BLAZAR         blazar_dashboard          enabled/_[0-9]*.py
CLOUDKITTY     cloudkittydashboard       enabled/_[0-9]*.py
DESIGNATE      designatedashboard        enabled/_[0-9]*.py
FWAAS          neutron_fwaas_dashboard   enabled/_[0-9]*.py
HEAT           heat_dashboard            enabled/_[0-9]*.py        conf/heat_policy.yaml=heat_policy.yaml conf/default_policies/heat.yaml=default_policies/heat.yaml
IRONIC         ironic_ui                 enabled/_[0-9]*.py
MAGNUM         magnum_ui                 enabled/_[0-9]*.py
MANILA         manila_ui                 local/enabled/_[0-9]*.py  conf/manila_policy.yaml=manila_policy.yaml conf/default_policies/manila.yaml=default_policies/manila.yaml
MASAKARI       masakaridashboard         local/enabled/_[0-9]*.py  conf/masakari_policy.yaml=masakari_policy.yaml local/local_settings.d/_50_masakari.py=local_settings.d/_50_masakari.py
MISTRAL        mistraldashboard          enabled/_50_mistral.py
NEUTRON_VPNAAS neutron_vpnaas_dashboard  enabled/_7100_project_vpn_panel.py
OCTAVIA        octavia_dashboard         enabled/_1482_project_load_balancer_panel.py
TACKER         tacker_horizon            enabled/_[0-9]*.py
TROVE          trove_dashboard           enabled/_[0-9]*.py
VENUS          venus_dashboard           enabled/_[0-9]*.py
WATCHER        watcher_dashboard         local/enabled/_[0-9]*.py  conf/watcher_policy.json=watcher_policy.json
ZUN            zun_ui                    enabled/_[0-9]*.py
DASHBOARDS

# bundle prints all settings in one stream, without time stamps.
bundle() {
    tar -cf - --mtime=1970-01-01 "${settings}/local_settings" \
        "${settings}/local_settings.py" "${settings}/custom_local_settings" \
        "${settings}/local_settings.d" "${settings}/themes" 2> /dev/null || true
}

if [[ ${generate} == yes || ! -f ${hash_file} ]] || ! bundle | md5sum -c --status "${hash_file}"; then
    "${manage_py[@]}" collectstatic --noinput --clear
    "${manage_py[@]}" compress --force
    mkdir -p "$(dirname "${hash_file}")"
    bundle | md5sum > "${hash_file}"
fi

kolla_log_dir horizon horizon:kolla

# The commands above create the secret key as root. Debian's settings keep it in /var.
for key in "${dashboard}/local" /var/lib/openstack-dashboard/secret-key; do
    if [[ -f ${key}/.secret_key_store ]]; then
        chown horizon "${key}/.secret_key_store"
    fi
done

# Prepare Apache if it runs Horizon.
if [[ -e /etc/apache2/envvars && $(cat /run_command) == *apache2* ]]; then
    # shellcheck source=/dev/null
    . /usr/local/bin/kolla_httpd_setup
fi
