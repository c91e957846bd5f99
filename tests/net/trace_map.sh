#!/bin/sh
# Why can two endpoints not talk, as all the map servers know it?  "mapctl trace" finds no
# fault, then names what was made wrong on purpose: both directions, over three servers.
#
#      hv1            hv2            hv3 (IPv6 tunnels)       ms1  ms2  ms3
#       a              b              c
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
cluster_open 3 'lease: {duration: 8s}'
for n in 1 2; do xtr_open hv$n $n; done
xtr_open hv3 3
xtr_stop hv3
sed -i 's/^rloc:.*/rloc: ["fd00::3"]/' "$DIR/hv3.yaml"
xtr_start hv3
ctl network add red --subnet 192.168.7.0/24 >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm c hv3 02:00:00:00:00:03 192.168.7.3
vm_attach a hv1 red
vm_attach b hv2 red
vm_attach c hv3 red
ping_well a 192.168.7.2

trace() { "$MAPCTL" -t 2 trace red "$@" >"$DIR/trace.out" 2>"$DIR/trace.err"; }

trace_is_good() { trace "$@" && ! grep -q WRONG "$DIR/trace.out"; }

# A B STEP PATTERN: the first wrong step.
wrong_at() {
    local code=0
    trace "$1" "$2" || code=$?
    [ $code = 1 ] || return 1
    grep WRONG "$DIR/trace.out" | head -n 1 | grep -Eq "WRONG  $3 .*$4" &&
        grep -Eq "wrong at $3: " "$DIR/trace.err"
}

# WHAT A B STEP PATTERN
told() {
    eventually wrong_at "$2" "$3" "$4" "$5" ||
        fail "$1: not told as wrong at $4: $(cat "$DIR/trace.out" "$DIR/trace.err")"
    shown "$1: $(cat "$DIR/trace.err")"
}

soon "a and b are right" trace_is_good 192.168.7.1 b
cat "$DIR/trace.out"
for step in network port node sees installed; do
    grep -q "^  ok     $step " "$DIR/trace.out" || fail "no step $step: $(cat "$DIR/trace.out")"
done
for path in 'at hv1 -> b' 'b at hv2 -> 192.168.7.1'; do
    grep -q "$path" "$DIR/trace.out" || fail "no direction $path"
done
"$MAPCTL" -o json trace red a b | jq -e 'length > 8 and all(.[]; .wrong == false)' >/dev/null ||
    fail "JSON: $("$MAPCTL" -o json trace red a b)"
must "MACs are taken" trace_is_good 02:00:00:00:00:01 port:b
shown "a good pair, by address, MAC and port-id"

told "nobody has it" a 192.168.7.99 port nobody
told "the families differ" a c choice 'hv1 can use none.*no RLOC of this node.s address family'

ctl port register b --network red --mac 02:00:00:00:00:02 --ip 192.168.7.2 >/dev/null
ctl port locate b hv2 --view node=hv3 >/dev/null
told "a view hides it" a b choice 'hv1 can use none.*not shown to this node'
ctl port locate b hv2 --view everyone >/dev/null
soon "seen again" trace_is_good a b

daemon_signal hv1 STOP
xtr hv2 detach b >/dev/null
vm_attach b hv2 red
told "an agent that hangs has not installed it, or its lease ran out" a b '(installed|node)' 'hv1'
told "then its lease runs out" a b node 'hv1: unreachable'
daemon_signal hv1 CONT
soon "it is back" trace_is_good a b

xtr_stop hv2
told "an agent that ended" a b choice 'hv2: unreachable'
xtr_start hv2
soon "it has started again" trace_is_good a b
ctl node set hv2 --disable >/dev/null
told "a node that is disabled" a b port 'no node'
