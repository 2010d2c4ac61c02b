#!/bin/bash
# kolla_zun_extend_start of zun-compute: zun may use the host's Docker, whose
# group has another number on each host.

sudo groupadd --force --gid "$(stat -c %g /var/run/docker.sock)" docker
sudo usermod -aG docker zun
