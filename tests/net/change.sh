#!/bin/sh
# A network changes under its ports: an MTU that fits the underlay and one that does not;
# and devices go from one network to another.
#
#      hv1            hv2
#       a ── ping ──> b
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open
for n in 1 2; do xtr_open hv$n $n; done
for name in red blue; do ctl network add $name >/dev/null; done
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm_attach a hv1 red
vm_attach b hv2 red
ping_well a 192.168.7.2

tells() { xtr_json "$1" '.problems[]' status | grep -q "$2"; }
mtu_is() { [ "$(ip -n "${T}hv1" -j link show "$(vxlan_of hv1 a)" | jq '.[0].mtu')" = "$1" ]; }

not ctl network set red --vni 70007 || fail "the VNI of a network with ports was changed"
not ctl network remove red || fail "a network with ports was removed"

ctl network set red --mtu 1300 >/dev/null
soon "the device has the new MTU" mtu_is 1300
ctl network set red --mtu 9000 >/dev/null
soon "an MTU that does not fit is a problem" tells hv1 .
ping_well a 192.168.7.2
xtr_stop hv1
xtr_start hv1
soon "it is one after a restart, too" tells hv1 .
ping_well a 192.168.7.2
sleep 2
ping_well a 192.168.7.2
ctl network set red --mtu 1400 >/dev/null
soon "the device has the MTU that fits" mtu_is 1400
xtrs_agree hv1 hv2
ping_well a 192.168.7.2
shown "an MTU that fits, and one that does not"

vm_attach a hv1 blue
vm_attach b hv2 blue
xtrs_agree hv1 hv2
ping_well a 192.168.7.2
grep -q 'port put refused' "$DIR/hv1.log" && fail "the device met its old bridge"
shown "a device goes to another network"
