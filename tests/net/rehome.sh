#!/bin/sh
# The underlay address of a host changes under a ping.  hv1's RLOC is found out: it follows,
# and so do others.  hv2's is configured: its loss is told, and its return.
#
#      hv1 (.1, then .101)     hv2 (.2)
#       a                       b
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

if [ "${FAMILY:-4}" = 6 ]; then
    net=fd00:: bits=64
    export VM_MTU=1430
else
    net=10.0.0. bits=24
fi
scene_open
server_open 'lease: {duration: 5s}'
for n in 1 2; do
    "$MAPCTL" --pki "$DIR/pki" pki node hv$n >/dev/null
    underlay_host hv$n $n
    xtr_configure hv$n $n
done
sed -i '/^rloc:/d' "$DIR/hv1.yaml"
xtr_start hv1
xtr_start hv2
ctl network add red >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1 fd07::1
vm b hv2 02:00:00:00:00:02 192.168.7.2 fd07::2
vm_attach a hv1 red
vm_attach b hv2 red
ctl port register gone --network red --mac 02:00:00:00:00:77 --ip 192.168.7.77 --any-local >/dev/null
for to in 192.168.7.2 fd07::2; do ping_well a $to; done
xtrs_agree hv1 hv2
vx=$(vxlan_of hv1 a)
index() { ip -n "${T}hv1" -j link show "$vx" | jq '.[0].ifindex'; }
before=$(index)

# HV FROM TO: as a DHCP client does.
address() {
    ip -n "$T$1" address del "$net$2/$bits" dev eth0
    [ -z "$3" ] || ip -n "$T$1" address add "$net$3/$bits" dev eth0 $([ $bits = 24 ] || echo nodad)
}
rloc_of() { ctl_json ".[] | select(.id == \"$1\") | .rlocs[0].address" node list; }
rloc_is() { [ "$(rloc_of "$1")" = "$2" ]; }
tells() { xtr_json "$1" '.problems[]' status | grep -q "$2"; }

ping_start a 192.168.7.2
address hv1 1 101
soon "the map has the new address" rloc_is hv1 "${net}101"
ping_more 20
ping_stop
shown "a new address: $lost of $((answered + lost)) pings lost, longest silence $silence ms"
[ "$(index)" = "$before" ] || fail "the vxlan device was made anew"
on hv1 ip -d link show "$vx" | grep -Eq "local $net"101 || fail "$vx sends from elsewhere"
soon "hv2's nexthop is the new address" on hv2 sh -c "ip nexthop | grep -q 'via ${net}101 '"
must "hv2 still has the old one" not on hv2 sh -c "ip nexthop | grep -q 'via ${net}1 '"
grep -q "underlay address has changed to ${net}101" "$DIR/hv1.log" || fail "the log says nothing"
for to in 192.168.7.2 fd07::2; do ping_well a $to; done
ping_well b 192.168.7.1
xtrs_agree hv1 hv2
shown "tunnels, map and the other host follow, in place"

capture_start out hv1 udp port 4789
must "an any-local address without an instance answers" not ping_once a 192.168.7.77
must "a frame for it has left the host" not capture_sees out 'VXLAN'
capture_stop out
shown "what has to be dropped is dropped at the new address"

address hv2 2 ''
soon "hv2 tells that its address is gone" tells hv2 "RLOC ${net}2 is no address of this host"
soon "and logs it" grep -q "RLOC ${net}2 is no address of this host" "$DIR/hv2.log"
xtr hv2 trace red 192.168.7.1 2>&1 | grep -q 'WRONG.*tunnel.*none of this host' ||
    fail "the trace does not tell: $(xtr hv2 trace red 192.168.7.1 2>&1)"
ip -n "${T}hv2" address add "${net}2/$bits" dev eth0 $([ $bits = 24 ] || echo nodad)
soon "and that it is back" not tells hv2 "RLOC ${net}2"
ping_well a 192.168.7.2
xtrs_agree hv1 hv2
shown "a configured address that goes is a problem, and none when it is back"
