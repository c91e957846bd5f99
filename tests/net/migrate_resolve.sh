#!/bin/sh
# Live migration where it is rarely tried: in a network that is resolved on misses, and with an
# underlay address that changes in the middle of it, the sender's first, then the target's.
#
#      hv1          hv2          hv3
#    t-b │  b: its machine  │ t-b   │
#        └───── moves ──────┘       a
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
# shellcheck source=../support/net/migration.sh
. "$(dirname "$0")/../support/net/migration.sh"
set -eu
MOST_LOST=20 # migrate.sh measures; here it is about what may go wrong

scene_open
server_open
for n in 1 2 3; do
    "$MAPCTL" --pki "$DIR/pki" pki node hv$n >/dev/null
    underlay_host hv$n $n
    xtr_configure hv$n $n
    sed -i '/^rloc:/d' "$DIR/hv$n.yaml"
    xtr_start hv$n
done
ctl network add red --fill resolve --subnet 192.168.7.0/24 --subnet fd07::/64 >/dev/null
vm a hv3 02:00:00:00:00:01 192.168.7.1 fd07::1
vm n hv1 02:00:00:00:00:03 192.168.7.3 fd07::3
machine_open
vm_attach a hv3 red
vm_attach n hv1 red
vm_attach b hv1 red
soon "hv3 resolves" has_miss_port hv3 a
for ip in $IP4 $IP6; do ping_well a $ip; done
ping_well n $IP4

# HV FROM TO: another last byte of its address.
address() {
    ip -n "$T$1" address del "10.0.0.$2/24" dev eth0
    ip -n "$T$1" address add "10.0.0.$3/24" dev eth0
}
rloc_is() { [ "$(ctl_json '.rlocs[0].address' node show "$1")" = "$2" ]; }

# TO FROM: hv3's copies of what a sends come to hv2 by these addresses.
copies_go() {
    local left=20
    capture_start copies hv2 "udp port 4789 and src $2 and dst $1"
    until capture_sees copies "$IP4" || [ $left = 0 ]; do
        ping_once a $IP4
        left=$((left - 1))
    done
    capture_stop copies
    [ $left != 0 ]
}

migrate 1 rarp $IP4 a
migrate 0 garp $IP4 n
migrate 1 na $IP6 a
migrate 0 none $IP4 a
shown "resolved on misses, a guest migrates as well"

# Nobody has sent to it here: the first packet finds it while it migrates.
xtr_stop hv3 KILL
ip -n "${T}hv3" link del "$(vxlan_of hv3 a)"
xtr_start hv3
soon "hv3 resolves again" has_miss_port hv3 a
prepare_unseen() {
    ctl port move b --to hv2 --prepare >/dev/null
    vm_attach b hv2 red --pending
    soon "hv1 sends copies" mirrors hv1 b
}
prepare_unseen
ping_well a $IP4
soon "hv3 sends copies of what it has just resolved" mirrors hv3 a
soon "they arrive" copies_go 10.0.0.2 10.0.0.3
shown "resolved in the middle of a migration"

# The sender's own address changes, then the target's.
address hv3 3 103
soon "the map has hv3's new address" rloc_is hv3 10.0.0.103
ping_well a $IP4
soon "copies go by the new address" copies_go 10.0.0.2 10.0.0.103
address hv2 2 102
soon "the map has hv2's new address" rloc_is hv2 10.0.0.102
ping_well a $IP4
soon "copies go to the new address" copies_go 10.0.0.102 10.0.0.103
has_one_copy || fail "there are two copies"
shown "copies follow the sender's and the target's address"

ping_start a $IP4 0.001
go 1 rarp
soon "b is at hv2 alone" is_only_at hv2
soon "hv2 has it" port_has_phase hv2 b installed
soon "hv1 gives it up" port_has_phase hv1 b refused
verdict "with new addresses"
soon "hv3 copies no more" not mirrors hv3 a
soon "hv1 copies no more" not mirrors hv1 b
for ip in $IP4 $IP6; do ping_well a $ip; done
