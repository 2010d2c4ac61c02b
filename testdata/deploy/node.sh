#!/usr/bin/env bash
# node.sh: run NODE_ROOT like a separate machine, with its own namespaces and network and with
# systemd as the first process. The host is not changed. The node ends with this process.
#
#   NODE_ROOT     root file system, a Debian release that kolla-ansible supports
#   NODE_SHARED   directory of the host, mounted at /shared
#   NODE_DOCKER   directory of the host for Docker's data (overlayfs needs a real file system)
#   NODE_ADDRESS  address of the interface api0
set -euo pipefail
export NODE_ROOT=${NODE_ROOT:?} NODE_SHARED=${NODE_SHARED:?} NODE_DOCKER=${NODE_DOCKER:?} NODE_ADDRESS=${NODE_ADDRESS:?}
exec unshare --mount --pid --net --uts --ipc --cgroup --fork --propagation private -- bash -euc '
hostname node
mount --bind "$NODE_ROOT" "$NODE_ROOT"
cd "$NODE_ROOT"
mkdir -p shared var/lib/docker .host
mount --bind "$NODE_SHARED" shared
mount --bind "$NODE_DOCKER" var/lib/docker
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs dev -o mode=755
mkdir -p dev/pts dev/shm dev/net
for device in null zero full random urandom tty fuse net/tun; do
  [ ! -e "/dev/$device" ] || cp -a "/dev/$device" "dev/$device"
done
ln -s /proc/self/fd dev/fd
ln -s pts/ptmx dev/ptmx
touch dev/console
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666
mount -t tmpfs tmpfs dev/shm -o mode=1777
mount -t tmpfs tmpfs run -o mode=755
mount -t tmpfs tmpfs tmp -o mode=1777
ip link set lo up
for name in api ext; do
  ip link add "${name}0" type veth peer name "${name}1"
  ip link set "${name}0" up
  ip link set "${name}1" up
done
ip address add "$NODE_ADDRESS/24" dev api0
pivot_root . .host
cd /
umount -l /.host
# kolla-ansible gives containers /run as a shared mount.
mount --make-rshared /
exec env -i container=node PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init --log-level=info --log-target=console </dev/null
'
