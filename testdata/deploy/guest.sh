#!/bin/sh
# guest.sh: make an operating system for instances, /root/guest/vmlinuz and /root/guest/initrd, from
# Debian packages. The guest requests an address by DHCP, reads its metadata, and prints both to its
# console. Runs in the node's root file system.
set -eu
mkdir -p /root/guest/files/bin /root/guest/packages
cd /root/guest/packages
# The name of the package with the kernel contains its version.
kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2 }')
apt-get download "$kernel" busybox-static
for package in *.deb; do dpkg-deb -x "$package" unpacked; done
[ -e unpacked/lib ] || ln -s usr/lib unpacked/lib
cp unpacked/boot/vmlinuz-* ../vmlinuz
version=$(basename unpacked/boot/vmlinuz-*)
version=${version#vmlinuz-}
cp unpacked/usr/bin/busybox ../files/bin/busybox

# Network modules, numbered in the order in which they are loaded.
depmod -b unpacked "$version"
mkdir ../files/modules
number=10
modprobe -d unpacked -S "$version" --show-depends -a virtio_pci virtio_net af_packet | awk '$1 == "insmod" { print $2 }' | while read -r module; do
  name=../files/modules/$number-$(basename "$module")
  cp "$module" "$name"
  case $name in *.xz) xz -d "$name" ;; *.zst) zstd -q -d --rm "$name" ;; esac
  number=$((number + 1))
done

cat >../files/init <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
# Nova records the output of the serial port, which is not the console of init.
exec >/dev/ttyS0 2>&1
# Open vSwitch in user space does not compute checksums that the sender leaves to the device.
for module in /modules/*; do
  case $module in
    *virtio_net*) insmod "$module" csum=0 gso=0 ;;
    *) insmod "$module" ;;
  esac
done
ip link set eth0 up
udhcpc -i eth0 -s /lease -O staticroutes -n -q -t 30 || echo "guest: no address"
uuid=$(wget -q -T 60 -O - http://169.254.169.254/openstack/latest/meta_data.json | sed 's/.*"uuid": "\([^"]*\)".*/\1/')
echo "guest: address $(ip -4 -o address show eth0 | awk '{ print $4 }'), metadata of $uuid"
while true; do sleep 1000; done
INIT
# udhcpc runs this script with the lease. staticroutes are pairs of a network and a gateway.
cat >../files/lease <<'LEASE'
#!/bin/busybox sh
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev eth0
set -- ${staticroutes:-}
while [ $# -ge 2 ]; do
  ip route add "$1" via "$2" dev eth0 || true
  shift 2
done
LEASE
chmod 755 ../files/init ../files/lease
cd ../files
find . | bin/busybox cpio -o -H newc | gzip >../initrd
cd ..
rm -r files packages
