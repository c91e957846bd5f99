#!/bin/sh
# Devices of guests that go and come back, and ports that are detached while a map server is
# away: what mapctl says is so then.
#
#      hv1            hv2
#       a ── ping ──> b
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open
xtr_open hv1 1 'reconcile: 24h'
xtr_open hv2 2 'reconcile: 24h'
ctl network add red >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm_attach a hv1 red
vm_attach b hv2 red
ping_well a 192.168.7.2

# The guest's other end, and with it t-b, goes; and comes again with the address that it had.
unplug_b() { on hv2 ip link del t-b; }
plug_b() {
    on hv2 ip link add t-b type veth peer name eth0 address 02:00:00:00:00:02 netns "${T}b"
    vm_address b 02:00:00:00:00:02 192.168.7.2
    on hv2 ip link set t-b up
}
b_is_in_bridge() {
    if [ "$PLANE" = ovs ]; then
        ofctl hv2 show | grep -q '(t-b)'
    else
        on hv2 ip -o link show t-b | grep -q "master emb"
    fi
}
problem_of_b() { xtr_json hv2 '.[] | select(.id == "b") | .problem' ports; }

unplug_b
soon "the port waits for its device" port_has_phase hv2 b waiting
problem_of_b | grep -q 'device t-b does not exist' || fail "the problem is \"$(problem_of_b)\""
xtr hv2 check --repair >"$DIR/check.out" || fail "what cannot be repaired fails: $(cat "$DIR/check.out")"
plug_b
soon "it is installed again" port_has_phase hv2 b installed
must "its device is in the bridge" b_is_in_bridge
ping_well a 192.168.7.2
xtrs_agree hv1 hv2
shown "a port whose device goes waits for it, and is installed when it is back"

if [ "$PLANE" = kernel ]; then
    on hv2 ip link set t-b nomaster
    soon "a device that was taken out of the bridge is back" b_is_in_bridge
    ping_well a 192.168.7.2
    xtrs_agree hv2
    shown "a device that somebody takes out of its bridge comes back"
fi

# Nobody has told the agent when the attach comes.
unplug_b
plug_b
vm_attach b hv2 red
must "what attach calls installed is in the bridge" b_is_in_bridge
ping_well a 192.168.7.2
shown "an attach of a device that was made anew is true when it says installed"

xtr hv1 attach c --network red --mac 02:00:00:00:00:03 --dev nowhere -t 1 >"$DIR/out" 2>&1 &&
    fail "a port without a device is attached"
grep -q 'waiting: device nowhere does not exist' "$DIR/out" || fail "$(cat "$DIR/out")"
xtr hv1 detach c >/dev/null
shown "an attach that is not through in time says what it waits for"

on hv1 "$XTR" --config "$DIR/hv1.yaml" --cleanup >"$DIR/out" 2>&1 && fail "it cleans up beside an agent"
grep -q 'stop it first' "$DIR/out" || fail "$(cat "$DIR/out")"
xtrs_agree hv1
shown "nothing is taken out beside an agent that runs"

not xtr hv1 attach a --network red --mac 02:00:00:00:00:01 --ip 192.168.7.2 --dev t-a ||
    fail "another port's address was taken"
xtr hv1 detach a --wait >/dev/null
not ctl port show a || fail "the map still has a port whose last change was refused"
vm_attach a hv1 red
shown "what is detached leaves the map, though its last change was refused"

xtr hv2 detach b --wait >/dev/null
ctl port show b >/dev/null 2>&1 && fail "the map still has what was detached"
vm_attach b hv2 red
server_stop KILL
not xtr hv2 detach b --wait -t 1 || fail "nobody can have heard of it"
server_start
soon "a map server is there" server_answers
xtr hv2 detach b --wait -t 20 >"$DIR/detach.out" 2>&1 && fail "it was detached before"
grep -q 'no such port is attached here' "$DIR/detach.out" || fail "$(cat "$DIR/detach.out")"
not ctl port show b || fail "the map still has what was detached, and --wait has ended"
shown "a detach that waits ends when the map has the port no more"

scene_close
