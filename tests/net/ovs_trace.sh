#!/bin/sh
# What xtr says of a packet's way through Open vSwitch is what Open vSwitch itself says
# (ofproto/trace), before and after somebody breaks it; drift is found and repaired, and what
# strangers have put stays.
#
#      hv1 (ovs)      hv2 (ovs)
#       a              b
# shellcheck shell=dash source=../support/net/lib.sh
PLANE=ovs
. "$(dirname "$0")/../support/net/lib.sh"
set -eu
A=02:00:00:00:00:01 B=02:00:00:00:00:02

scene_open
server_open
ctl network add red >/dev/null
for n in 1 2; do xtr_open hv$n $n "reconcile: 1h"; done
vm a hv1 $A 192.168.7.1 fd07::1
vm b hv2 $B 192.168.7.2 fd07::2
vm_attach a hv1 red
vm_attach b hv2 red
xtrs_agree hv1 hv2
ping_well a 192.168.7.2

# What Open vSwitch does with a ping from a to b.
port=$(vsctl hv1 get Interface t-a ofport)
switch_traces() {
    vswitch hv1 ofproto/trace br-int \
        "in_port=$port,icmp,dl_src=$A,dl_dst=$B,nw_src=${1:-192.168.7.1},nw_dst=192.168.7.2,nw_ttl=64" |
        grep '^Datapath actions'
}
traces() { xtr hv1 trace red 192.168.7.2 --from a >"$DIR/trace.out"; }
first_wrong() { awk '$1 == "WRONG" || $1 == "wrong" { print $2; exit }' "$DIR/trace.out"; }

traces || fail "the trace finds a fault: $(cat "$DIR/trace.out")"
switch_traces | grep -q 'tnl_push.*10.0.0.2\|dst=10.0.0.2' || fail "the switch says $(switch_traces)"
grep -qE 'ok +group .*10.0.0.2' "$DIR/trace.out" || fail "$(cat "$DIR/trace.out")"
shown "both say that the ping leaves for 10.0.0.2"

ofctl hv1 del-flows "table=120,dl_dst=$B"
traces && fail "the trace finds nothing: $(cat "$DIR/trace.out")"
switch_traces | grep -q 'drop' || fail "the switch says $(switch_traces)"
grep -q 'forward .*no such flow' "$DIR/trace.out" || fail "$(cat "$DIR/trace.out")"
xtr_is_clean hv1 && fail "the check finds nothing"
grep -qE 'fdb +missing .*'$B "$DIR/check.out" || fail "$(cat "$DIR/check.out")"
xtr hv1 check --repair >/dev/null || true
traces || fail "not repaired: $(cat "$DIR/trace.out")"
ping_well a 192.168.7.2
shown "a flow that somebody has deleted: both say that the ping is dropped; and repaired"

# Wrong, extra and a stranger's.
group=$(ofctl hv1 dump-groups | sed -n 's/.*group_id=\([0-9]*\).*/\1/p' | head -1)
ofctl hv1 mod-group "group_id=$group,type=indirect,bucket=actions=drop"
ofctl hv1 add-flow "cookie=0xe1d0000000000000,table=120,priority=20,reg0=0x1,dl_dst=02:00:00:00:00:99,actions=drop"
ofctl hv1 add-flow "cookie=0x77,table=120,priority=30,reg0=0x1,dl_dst=02:00:00:00:00:98,actions=drop"
xtr_is_clean hv1 && fail "the check finds nothing"
for what in 'group +wrong' 'flow +extra' 'flow +foreign .*0x77'; do
    grep -qE "$what" "$DIR/check.out" || fail "no $what: $(cat "$DIR/check.out")"
done
xtr hv1 check --repair >/dev/null || true
ping_well a 192.168.7.2
ofctl hv1 dump-flows table=120 >"$DIR/flows"
grep -q 'dl_dst=02:00:00:00:00:99' "$DIR/flows" && fail "the extra flow is still there"
grep -q 'cookie=0x77' "$DIR/flows" || fail "the stranger's flow is gone"
shown "a group that was changed and an extra flow are put right, a stranger's flow stays"

# A guest that lies: another's address, another's MAC, another's ARP and ND.
switch_traces 192.168.7.66 | grep -q drop || fail "a sends from 192.168.7.66: $(switch_traces 192.168.7.66)"
on a ip address add 192.168.7.66/24 dev eth0
on a ping -n -q -c 2 -i 0.2 -W 1 -I 192.168.7.66 192.168.7.2 >/dev/null 2>&1 &&
    fail "a reaches b from an address that is not its port's"
on a ip address del 192.168.7.66/24 dev eth0
ping_well a 192.168.7.2
on a ip link set eth0 address 02:00:00:00:00:66
on a ping -n -q -c 2 -i 0.2 -W 1 192.168.7.2 >/dev/null 2>&1 && fail "a sends from another MAC"
on a ip link set eth0 address $A
ping_well a 192.168.7.2
ping_well a fd07::2
shown "port security: neither another address nor another MAC leaves a's port"
