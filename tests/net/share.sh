#!/bin/sh
# Two locations of equal priority share flows near their weights, by the kernel's nexthop group or
# a select group of Open vSwitch; when one of them dies, the other gets all.
#
#      hv1                 hv2 (weight 3)        hv3 (weight 1)
#       a ── 400 flows ──>  v                     v, same MAC and address
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
# shellcheck source=../support/net/places.sh
. "$(dirname "$0")/../support/net/places.sh"
set -eu

FLOWS=400
# The userspace datapath of Open vSwitch takes no UDP ports into its hash.
PROTOCOL=udp VERDICT=drop
[ "$PLANE" = kernel ] || { PROTOCOL=tcp VERDICT="reject with tcp reset"; }

# HV WEIGHT: a place that counts what it hears.
counter_open() {
    place_open "$1" --weight "$2"
    on "v-$1" nft -f - <<END
table ip count {
    chain in { type filter hook input priority 0; $PROTOCOL dport 7000-7999 counter $VERDICT; }
}
END
}

heard() { on "v-$1" nft -j list table ip count | jq '[.. | .counter?.packets // empty] | add'; }

# One packet of each of FLOWS flows, that differ by both ports.
send_flows() {
    # shellcheck disable=SC2016 # for the inner shell
    on a bash -c 'for i in $(seq '$FLOWS'); do
        echo x >/dev/'$PROTOCOL'/192.168.7.5/$((7000 + i % 1000)) || [ '$PROTOCOL' = tcp ] || exit 1
    done' 2>"$DIR/refused.out"
}

# The weights in hv1's one group of several places.
weights() {
    if [ "$PLANE" = ovs ]; then
        ofctl hv1 dump-groups | awk -F 'bucket=' '/type=select/ && NF == 3 {
            for (i = 2; i <= 3; i++)
                print match($i, /weight:[0-9]+/) ? substr($i, RSTART + 7, RLENGTH - 7) : 1 }'
    else
        on hv1 ip -j nexthop show |
            jq '.[] | select(.group | length == 2) | .group[] | .weight // 1'
    fi
}

weighs_three_to_one() { [ "$(weights | sort | tr '\n' ' ')" = "1 3 " ]; }

all_are_heard() { [ $(($(heard hv2) + $(heard hv3))) -ge "$1" ]; }

scene_open
server_open
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red --probe 300ms >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm_attach a hv1 red
counter_open hv2 3
counter_open hv3 1
xtrs_agree hv1 hv2 hv3
probes_are_up hv1 hv2 hv3
ping_well a 192.168.7.5

weighs_three_to_one || fail "hv1 has no group with the weights: $(weights)"
send_flows
soon "all flows arrive" all_are_heard $FLOWS
two=$(heard hv2) three=$(heard hv3)
[ $((two + three)) = $FLOWS ] || fail "$FLOWS packets were sent, $two and $three arrived"
# 3 of 4 flows, give or take more than five standard deviations.
if [ "$two" -lt 255 ] || [ "$two" -gt 345 ]; then
    fail "weights 3 and 1: $two and $three of $FLOWS flows"
fi
shown "weights 3 and 1: $two and $three of $FLOWS flows"

ip -n "${T}net" link set p-hv2 down
xtr_stop hv2 KILL
soon "hv1 sees hv2 silent" probe_is hv1 hv2 silent
soon "hv1 sends to hv3" ping_once a 192.168.7.5
send_flows
soon "all flows arrive at hv3" all_are_heard $((2 * FLOWS))
[ "$(heard hv3)" = $((three + FLOWS)) ] || fail "after hv2 died: $(heard hv3) instead of $((three + FLOWS))"
shown "one of them dead: all flows at the other"
