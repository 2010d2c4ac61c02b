#!/bin/bash
# kolla_extend_start of cron. KOLLA_LOGROTATE_SCHEDULE sets how often logrotate runs: hourly,
# daily, weekly or monthly.

job=$(find /etc/cron.hourly /etc/cron.daily /etc/cron.weekly /etc/cron.monthly -name logrotate -print -quit)

case ${KOLLA_LOGROTATE_SCHEDULE:-} in
    hourly | daily | weekly | monthly)
        if [[ -n ${job} && ${job} != "/etc/cron.${KOLLA_LOGROTATE_SCHEDULE}/logrotate" ]]; then
            mv "${job}" "/etc/cron.${KOLLA_LOGROTATE_SCHEDULE}/logrotate"
        fi
        ;;
    '') ;;
    *)
        echo "KOLLA_LOGROTATE_SCHEDULE is ${KOLLA_LOGROTATE_SCHEDULE}, not hourly, daily, weekly or monthly. ${job} is not moved." >&2
        ;;
esac
