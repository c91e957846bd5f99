#!/bin/sh
# A container in a VM: a child port behind a VLAN tag on the VM's device.  It reaches others, and is
# reached, across hypervisors; when the VM moves it moves along, by the same entry of the log.
#
#      hv1 (ovs)         hv2 (ovs)         hv3 (kernel)
#    t-vm │   vm: two legs   │ t-vm          a: red      z: blue
#         └─────────┬────────┘
#                eth0: blue, untagged
#                  ¦ tag 101
#                c: red
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
. "$(dirname "$0")/../support/net/ovs.sh"
set -eu
: "${TAGGER:=build/dev/tests/net/tagger}"
MAC=02:00:00:00:01:01 IP4=192.168.8.2 IP6=fd08::2

ovs_require
scene_open
server_open
no_offload ms eth0
for net in blue red; do ctl network add $net >/dev/null; done
for n in 1 2; do ovs_xtr_open hv$n $n; done
xtr_open hv3 3
vm a hv3 02:00:00:00:00:01 192.168.8.1 fd08::1
vm z hv3 02:00:00:00:00:03 192.168.7.1 fd07::1
vm_twin vm hv1 hv2 02:00:00:00:00:02 192.168.7.2 fd07::2
for v in a z vm; do no_offload $v eth0; done

host c
ip -n "${T}vm" link add c0 type veth peer name eth0 address $MAC netns "${T}c"
ip -n "${T}vm" link set c0 addrgenmode none up
vm_address c $MAC $IP4 $IP6
no_offload c eth0

# TAG: the container's frames have it on the VM's card.
tag() {
    daemon_start tagger net "$TAGGER" "${T}vm" eth0 "$1" c0
    soon "the tagger hears" grep -q ready "$DIR/tagger.log"
}
tag 101

# HV TAG: frames with the tag that come in by the VM's device have a network.
takes_tag() { ofctl "$1" dump-flows table=0 | grep -q "dl_vlan=$2"; }

reached() {
    for v in "$IP4" "$IP6"; do ping_well a "$v"; done
    for v in 192.168.8.1 fd08::1; do ping_well c $v; done
    for v in 192.168.7.2 fd07::2; do ping_well z $v; done
}

vm_attach a hv3 red
vm_attach z hv3 blue
vm_attach vm hv1 blue
# shellcheck disable=SC2046 # a list of words
ctl port register c --network red $(cat "$DIR/c.vm") --parent vm --tag 101 >/dev/null
soon "hv1 has the child" port_has_phase hv1 c installed
must "c is where its parent is" lives_at red $IP4 hv1
must "Open vSwitch takes the tag" takes_tag hv1 101
reached
xtrs_agree hv1 hv2 hv3
[ "$(xtr_json hv1 '.[] | select(.id == "c") | "\(.source) \(.parent) \(.tag) \(.device)"' ports)" = \
    "trunk vm 101 t-vm" ] || fail "hv1 shows another port: $(xtr hv1 ports)"
daemon_start cap-tag vm tcpdump -i hv1 -n -e -l --immediate-mode vlan 101 and icmp
soon "tcpdump listens" grep -q 'listening on' "$DIR/cap-tag.log"
ping_well a $IP4
soon "the container's frames are tagged" grep -qE 'vlan 101.* echo reply' "$DIR/cap-tag.log"
capture_stop tag
xtr hv1 trace red 192.168.8.1 --from c >"$DIR/trace.out" ||
    fail "the way of the container's frames is wrong: $(cat "$DIR/trace.out")"
xtr hv1 trace red $IP4 >"$DIR/trace.out" || fail "the way to it is wrong: $(cat "$DIR/trace.out")"
grep -q 'receiver.*tag 101' "$DIR/trace.out" || fail "no tag: $(cat "$DIR/trace.out")"
shown "a container behind tag 101 of a VM is reached over IPv4 and IPv6"

not ctl port move c --to hv2 || fail "a child was moved alone"
not xtr hv2 attach c --network red --mac $MAC --dev t-vm || fail "a child was attached alone"
not ctl port remove vm || fail "a port with children was removed"
xtr hv2 detach c >/dev/null
not port_has_phase hv1 c refused || fail "hv1 lost the child"

# What status shows of the log is some milliseconds old: N is its last index, and stays it.
applied() { ctl_json .applied status; }
has_applied() { [ "$(applied)" = "$1" ]; }
is_settled() {
    before=$(applied)
    sleep 0.3
    has_applied "$before"
}
one_entry() {
    soon "$1 is an entry of the log" has_applied $((before + 1))
    ping_more 30
    has_applied $((before + 1)) || fail "$1 took $(($(applied) - before)) entries of the log"
}

ping_start a $IP4 0.01
soon "nobody writes" is_settled
vm_attach vm hv2 blue
one_entry "the move"
must "the VM is at hv2" lives_at blue 192.168.7.2 hv2
must "its child is, too" lives_at red $IP4 hv2
soon "hv2 has the child" port_has_phase hv2 c installed
ping_stop
shown "the move of a VM with its container is one entry of the log; $lost of $((answered + lost)) pings lost"
soon "hv1 has let go" not takes_tag hv1 101
[ -z "$(port_phase hv1 c)" ] || fail "hv1 still has the child: $(xtr hv1 ports)"
xtrs_agree hv1 hv2 hv3
reached

ctl port move vm --to hv1 --prepare >/dev/null
vm_attach vm hv1 blue --pending
soon "the child is pending, too" port_has_phase hv1 c pending
must "and still at hv2" port_has_phase hv2 c installed
ping_start a $IP4 0.01
soon "nobody writes" is_settled
ctl port move vm --activate >/dev/null
one_entry "the activation"
soon "hv1 has the child" port_has_phase hv1 c installed
ping_stop
shown "a live migration takes the container along; $lost of $((answered + lost)) pings lost"
soon "hv2 has let go" not takes_tag hv2 101
vm_attach vm hv2 blue
soon "hv2 has the child" port_has_phase hv2 c installed
xtrs_agree hv1 hv2 hv3
reached

for signal in TERM KILL; do
    ping_start a $IP4 0.01
    xtr_stop hv2 $signal
    ping_more 20
    xtr_start hv2
    soon "hv2 has the child again" port_has_phase hv2 c installed
    ping_more 20
    ping_lost_at_most 0 "the xTR of hv2 ends by SIG$signal and comes back under a ping"
done
xtr_stop hv2 KILL
server_stop KILL
xtr_start hv2
soon "hv2 knows the child without a map server" port_has_phase hv2 c waiting
must "Open vSwitch still takes the tag" takes_tag hv2 101
ping_well a $IP4
server_start
soon "hv2 has the child" port_has_phase hv2 c installed
xtrs_agree hv1 hv2 hv3
shown "restarts of the xTR, without a map server too, keep the container reachable"

daemon_stop tagger TERM
# shellcheck disable=SC2046 # a list of words
ctl port register c --network red $(cat "$DIR/c.vm") --parent vm --tag 7 >/dev/null
tag 7
soon "the child has another tag" takes_tag hv2 7
soon "and not the old one" not takes_tag hv2 101
xtrs_agree hv1 hv2 hv3
reached

# No feed shows the records of networks that are resolved: the agent watches its own.
for net in blue red; do ctl network set $net --fill resolve >/dev/null; done
# shellcheck disable=SC2046 # a list of words
ctl port register c --network red $(cat "$DIR/c.vm") --parent vm --tag 9 >/dev/null
daemon_stop tagger TERM
tag 9
soon "the child has another tag in networks that are resolved" takes_tag hv2 9
reached
for net in blue red; do ctl network set $net --fill subscribe >/dev/null; done
xtrs_agree hv1 hv2 hv3
reached
shown "tags change, in networks that are resolved, too"

ctl port register k --network red --mac 02:00:00:00:01:09 --parent z --tag 7 >/dev/null
soon "the kernel has no tagged ports, and hv3 says so" \
    sh -c '"$1" xtr ports -S "$2" | grep -q "no tagged ports"' - "$MAPCTL" "$DIR/hv3.sock"
ping_well z 192.168.7.2
ctl port remove k >/dev/null

ctl port remove c >/dev/null
soon "hv2 has let go" not takes_tag hv2 9
[ -z "$(port_phase hv2 c)" ] || fail "hv2 still has the child: $(xtr hv2 ports)"
ctl port remove vm >/dev/null
not ping_once a $IP4 || fail "a container that is removed is reached"
ping_well a 192.168.8.1
shown "data planes without tags say so, and what is removed is gone"
