#!/bin/sh
# Each node says in which encapsulation it takes frames, and everybody sends in it: VXLAN to a
# kernel, VXLAN on another port, Geneve and GRE to Open vSwitch; FAMILY=6 has all that over IPv6.
#
#      hv1 (ovs, geneve)   hv2 (ovs, gre)   hv3 (ovs, vxlan 8472)   hv4 (kernel, vxlan)
#       a                   b                c                       d
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
. "$(dirname "$0")/../support/net/ovs.sh"
set -eu

ovs_require
scene_open
server_open
no_offload ms eth0
ctl network add red >/dev/null
ovs_xtr_open hv1 1 "encapsulation: geneve"
ovs_xtr_open hv2 2 "encapsulation: gre"
ovs_xtr_open hv3 3 "udp_port: 8472"
i=0
for v in a b c d; do
    i=$((i + 1))
    [ $v = d ] && continue
    vm $v hv$i 02:00:00:00:00:0$i 192.168.7.$i fd07::$i
    no_offload $v eth0
    vm_attach $v hv$i red
done
xtrs_agree hv1 hv2 hv3

has_problem() { xtr "$1" status | grep "^problem" | grep -q "$2"; }

# CAPTURE FROM TO HOST FILTER TEXT: the ping's way to TO's host is of this kind.
goes_by() {
    capture_start "$1" "$4" "$5"
    ping_well "$2" "$3"
    soon "$2 to $3: no packet is $5" capture_sees "$1" "$6"
    capture_stop "$1"
    shown "$2 to $3: $1"
}

goes_by vxlan a 192.168.7.3 hv3 "udp dst port 8472" "."
goes_by geneve b 192.168.7.1 hv1 "udp dst port 6081" "Geneve"
goes_by gre c 192.168.7.2 hv2 "ip proto 47 or ip6 proto 47" "GRE"
for v in a b c; do for n in 1 2 3; do ping_well $v fd07::$n; done; done
shown "IPv6 guests by all of them"
traced() { ctl trace red "$1" "$2" >"$DIR/trace.out"; }
soon "the map sees nothing wrong between Geneve and GRE" traced a b

# A kernel speaks VXLAN only: it says so of the others, and they do reach it.
xtr_open hv4 4
vm d hv4 02:00:00:00:00:04 192.168.7.4
no_offload d eth0
vm_attach d hv4 red
soon "hv4 says whom it cannot reach" has_problem hv4 'hv1'
shown "a node that cannot be sent to is named: $(xtr hv4 status | grep '^problem' | head -1)"
ping_well c 192.168.7.4
ping_well d 192.168.7.3
