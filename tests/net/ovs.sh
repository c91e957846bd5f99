#!/bin/sh
# Three hypervisors, one with the kernel's VXLAN and two with Open vSwitch: guests reach each other
# over IPv4 and IPv6, ARP and ND are answered at home, broadcast goes everywhere, and nothing that
# the guest's port does not own leaves it.
#
#      hv1 (kernel)      hv2 (ovs)      hv3 (ovs)
#       a                 b              c
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
. "$(dirname "$0")/../support/net/ovs.sh"
set -eu

ovs_require
scene_open
server_open
no_offload ms eth0
ctl network add red >/dev/null
xtr_open hv1 1
for n in 2 3; do ovs_xtr_open hv$n $n; done
vm a hv1 02:00:00:00:00:01 192.168.7.1 fd07::1
vm b hv2 02:00:00:00:00:02 192.168.7.2 fd07::2
vm c hv3 02:00:00:00:00:03 192.168.7.3 fd07::3
for v in a b c; do no_offload $v eth0; done
vm_attach a hv1 red
vm_attach b hv2 red
vm_attach c hv3 red
xtrs_agree hv1 hv2 hv3
for n in 1 2 3; do
    for v in a b c; do
        ping_well $v 192.168.7.$n
        ping_well $v fd07::$n
    done
done
shown "kernel and Open vSwitch reach each other, and Open vSwitch itself"
