#!/bin/bash
# Runs inside the guest's root while the image is built. Turns a Debian system into a cluster node that has no identity yet:
# name, address and gateway come from the kernel's command line.
set -euo pipefail

install -d -m 700 /root/.ssh
install -m 600 /root/lab.pub /root/.ssh/authorized_keys
rm /root/lab.pub
printf 'PermitRootLogin prohibit-password\nUseDNS no\n' >/etc/ssh/sshd_config.d/lab.conf
ssh-keygen -q -A

echo '/dev/vda / ext4 rw,noatime 0 0' >/etc/fstab
printf '127.0.0.1 localhost\n10.0.1.10 node1\n10.0.2.10 node2\n' >/etc/hosts
# The router answers for the VPC's resolver.
echo 'nameserver 10.0.0.2' >/etc/resolv.conf

# The cluster is started by the lab, Pacemaker starts the rest. pcs works on files without its daemon, which takes half a minute to
# start under emulation.
systemctl disable --quiet corosync pacemaker postgresql drbd nftables systemd-networkd 2>/dev/null || true
systemctl mask --quiet pcsd.service pcsd-ruby.service systemd-timesyncd apt-daily.timer apt-daily-upgrade.timer man-db.timer \
	e2scrub_all.timer fstrim.timer dpkg-db-backup.timer logrotate.timer systemd-networkd-wait-online systemd-udev-settle 2>/dev/null || true
systemctl enable --quiet ssh
systemctl set-default --quiet multi-user.target
pg_dropcluster --stop 17 main || true

mkdir -p /etc/systemd/journald.conf.d /etc/systemd/system.conf.d
printf '[Journal]\nStorage=persistent\nSystemMaxUse=64M\nRateLimitIntervalSec=0\n' >/etc/systemd/journald.conf.d/lab.conf
# Emulation is slow; nothing here waits for a default of systemd.
printf '[Manager]\nDefaultTimeoutStartSec=300s\n' >/etc/systemd/system.conf.d/lab.conf

cat >/usr/local/sbin/lab-init <<'EOF'
#!/bin/sh
for a in $(cat /proc/cmdline); do
	case $a in lab.node=*) node=${a#*=} ;; lab.ip=*) ip=${a#*=} ;; lab.gw=*) gw=${a#*=} ;; esac
done
hostname "$node"
echo "$node" >/etc/hostname
ip link set lo up
ip link set eth0 up
ip addr replace "$ip" dev eth0
ip route replace default via "$gw" dev eth0
EOF
chmod 755 /usr/local/sbin/lab-init
cat >/etc/systemd/system/lab-init.service <<'EOF'
[Unit]
DefaultDependencies=no
Wants=sys-subsystem-net-devices-eth0.device
After=sys-subsystem-net-devices-eth0.device
Before=network.target network-online.target ssh.service corosync.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-init
[Install]
WantedBy=multi-user.target
EOF
systemctl enable --quiet lab-init.service

echo drbd >/etc/modules-load.d/drbd.conf
if [ -d /root/modules ]; then
	kernel=$(ls /usr/lib/modules)
	install -d "/usr/lib/modules/$kernel/updates"
	cp /root/modules/*.ko "/usr/lib/modules/$kernel/updates/"
	rm -r /root/modules
	depmod "$kernel"
	modinfo -k "$kernel" -F vermagic drbd | grep -q "^$kernel " || {
		echo "the DRBD module in LAB_MODULES is for kernel $(modinfo -k "$kernel" -F vermagic drbd), the guests run $kernel" >&2
		exit 1
	}
fi
rm -rf /boot/initrd.img* /initrd.img* /var/lib/apt/lists/* /var/cache/apt/*.bin /root/customize.sh
dpkg-query -W >/root/packages.txt
