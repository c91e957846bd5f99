#!/bin/sh
# A node that uses a segmentation-id of its own for a network: others send to it with the
# label that it expects.
#
#      hv1            hv2            hv3
#       a              b              c
#    VNI 100     VNI 777 (its own)  VNI 100
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open
xtr_open hv1 1
xtr_open hv2 2 'networks: [{name: red, segmentation_id: 777}]'
xtr_open hv3 3
ctl network add red --vni 100 >/dev/null
n=1
for name in a b c; do
    vm $name hv$n 02:00:00:00:00:0$n 192.168.7.$n fd07::$n
    vm_attach $name hv$n red
    n=$((n + 1))
done
[ "$(where red 192.168.7.2)" = hv2:777 ] || fail "the map says $(where red 192.168.7.2)"

capture_start out hv1 udp port 4789
for to in 192.168.7.2 192.168.7.3 fd07::2 fd07::3; do ping_well a $to; done
ping_well b 192.168.7.3
soon "frames to hv2 carry 777" capture_sees out '10.0.0.1.* > 10.0.0.2.4789: VXLAN.*vni 777'
soon "frames to hv1 and hv3 carry 100" capture_sees out '10.0.0.2.* > 10.0.0.1.4789: VXLAN.*vni 100'
must "frames to hv2 carry 100" not capture_sees out '> 10.0.0.2.4789: VXLAN.*vni 100'
must "frames to hv3 carry 777" not capture_sees out '> 10.0.0.3.4789: VXLAN.*vni 777'
has_label() {
    if [ "$PLANE" = ovs ]; then
        ofctl hv1 dump-groups | grep -q 'set_field:10.0.0.2->tun_dst,set_field:0x309->tun_id'
    else
        on hv1 bridge fdb show dev "$(vxlan_of hv1 a)" |
            grep -q '^02:00:00:00:00:02 .*dst 10.0.0.2 .*vni 777'
    fi
}
must "hv1 has no entry with dst and vni for b" has_label
shown "each node is sent the label that it expects"

ping_once a 192.168.7.77 || true
soon "broadcast carries the target's label too" capture_sees out '> 10.0.0.2.4789: VXLAN.*vni 777'
grep -A1 '> 10.0.0.2.4789: VXLAN.*vni 777' "$DIR/cap-out.log" | grep -q 'who-has 192.168.7.77' ||
    fail "ARP for an unknown address does not go to hv2 with 777"
capture_stop out
xtrs_agree hv1 hv2 hv3
shown "flooded frames too"
