#!/bin/bash
# kolla_zun_extend_start of zun-compute: allow the user zun to use the host's Docker, whose
# group id differs between hosts.

sudo groupadd --force --gid "$(stat -c %g /var/run/docker.sock)" docker
sudo usermod -aG docker zun
