#!/bin/sh
# Why can two VMs not talk?  "xtr trace" finds no fault in a good path; then each thing on it
# is broken on purpose, and the trace names it as the first wrong step, with exit code 1.
#
#      hv1            hv2
#       a  c           b
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open 'lease: {duration: 2s}'
for n in 1 2; do xtr_open hv$n $n; done
ctl network add red --subnet 192.168.7.0/24 --subnet fd07::/64 >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm b hv2 02:00:00:00:00:02 192.168.7.2 fd07::2
vm c hv1 02:00:00:00:00:03 192.168.7.3
vm_attach a hv1 red
vm_attach b hv2 red
vm_attach c hv1 red
ping_well a 192.168.7.2
xtrs_agree hv1 hv2
br=$(bridge_of hv1 a)
vx=$(vxlan_of hv1 a)

# [ARGUMENTS]: the trace from a's host to b, or what is given; its exit code.
trace() { xtr hv1 trace red "${@:-192.168.7.2}" >"$DIR/trace.out" 2>"$DIR/trace.err"; }

trace_is_good() { trace "$@" && ! grep -q WRONG "$DIR/trace.out"; }

# STEP [PATTERN]: the first wrong step, and the sentence.
wrong_at() {
    local code=0
    trace 192.168.7.2 --from a || code=$?
    [ $code = 1 ] || return 1
    grep WRONG "$DIR/trace.out" | head -n 1 | grep -Eq "WRONG  $1 .*${2:-}" &&
        grep -q "wrong at $1: .*; ." "$DIR/trace.err"
}

# WHAT STEP PATTERN BREAK...: breaks it, and looks; anew if the agent's own check was quicker.
broken() {
    local what=$1 step=$2 pattern=$3
    shift 3
    for _ in 1 2 3; do
        soon "the path is good before: $what" trace_is_good 192.168.7.2 --from a
        "$@" || fail "$what: cannot be broken"
        if wrong_at "$step" "$pattern"; then
            shown "$what: $(cat "$DIR/trace.err")"
            return
        fi
    done
    fail "$what: not told as wrong at $step: $(cat "$DIR/trace.out" "$DIR/trace.err")"
}

repaired() {
    xtr hv1 check --repair >/dev/null || true
    soon "the repair is done" trace_is_good 192.168.7.2 --from a
}

for to in 192.168.7.2 fd07::2 02:00:00:00:00:02 port:b 192.168.7.3; do
    soon "the path to $to is good" trace_is_good "$to" --from a
done
trace 192.168.7.2 --from a
for step in network local-port feed map-cache map location bridge sender neighbour bridge-fdb tunnel \
    vxlan-fdb nexthops route underlay; do
    grep -q "^  ok     $step " "$DIR/trace.out" || fail "no step $step: $(cat "$DIR/trace.out")"
done
xtr_json hv1 'map(.step) | join(" ")' trace red 192.168.7.2 | grep -q 'vxlan-fdb' || fail "JSON has no steps"
cat "$DIR/trace.out"
shown "a good path has no wrong step"

# The map's own word stands beside the map-cache: revision and epoch of the entry.
revision=$(ctl_json .revision port show b)
epoch=$(ctl_json '.locations[0].epoch' port show b)
vni=$(ctl_json '.locations[0].segmentation_id' port show b)
grep -q " map  .* port b, revision $revision: hv2:$vni epoch $epoch\$" "$DIR/trace.out" ||
    fail "the entry's revision and epoch: $revision, $epoch: $(cat "$DIR/trace.out")"
trace 192.168.7.3 --from a
grep -Eq " map  .* port c, revision [0-9]+: hv1:$vni epoch [0-9]+\$" "$DIR/trace.out" ||
    fail "a local port has its entry, too: $(cat "$DIR/trace.out")"
shown "revision and epoch of the entry are told"

# And tells what the map-cache cannot: an operator has removed a port that is attached here.
ctl port remove c >/dev/null
trace 192.168.7.3 && fail "the map has no c any more"
grep -Eq 'WRONG  map  .*revision [0-9]+ has nobody there' "$DIR/trace.out" ||
    fail "c is not in the map: $(cat "$DIR/trace.out")"
shown "removed from the map: $(cat "$DIR/trace.err")"
xtr hv1 detach c >/dev/null
vm_attach c hv1 red
soon "c is in the map again" trace_is_good 192.168.7.3

[ "$(xtr_json hv1 '[.[] | select(.wrong)][0].step' trace red 192.168.7.77)" = map-cache ] ||
    fail "an address that nobody has"
[ "$(xtr_json hv1 '[.[] | select(.wrong)][0].step' trace blue 192.168.7.2)" = network ] ||
    fail "a network that is not there"
[ "$(xtr_json hv1 '[.[] | select(.wrong)][0].step' trace red 192.168.7.2 --from x)" = local-port ] ||
    fail "a port that is not here"
shown "what nobody has, a network and a port that are not there, are told"

broken "the FDB entry is deleted" vxlan-fdb missing \
    on hv1 bridge fdb del 02:00:00:00:00:02 dev "$vx" self
repaired
broken "the bridge's entry is deleted" bridge-fdb missing \
    on hv1 bridge fdb del 02:00:00:00:00:02 dev "$vx" master
repaired
broken "the neighbour is deleted" neighbour missing on hv1 ip neigh del 192.168.7.2 dev "$br"
repaired
broken "the neighbour has another MAC" neighbour 'the map wants 02:00:00:00:00:02' \
    on hv1 ip neigh replace 192.168.7.2 lladdr 02:00:00:00:00:99 dev "$br" nud permanent
on hv1 ip neigh del 192.168.7.2 dev "$br"
repaired
group=$(on hv1 bridge fdb show dev "$vx" | awk '/^02:00:00:00:00:02 .*nhid/ { for (i = 1; i < NF; i++) if ($i == "nhid") print $(i + 1) }')
on hv1 ip nexthop add id 77 via 10.0.0.9 fdb
broken "the group leads elsewhere" nexthops 'the map wants 10.0.0.2' \
    on hv1 ip nexthop replace id "$group" group 77 fdb
repaired
on hv1 ip nexthop del id 77

ip -n "${T}hv1" route add unreachable 10.0.0.2
wrong_at route || fail "no route: $(cat "$DIR/trace.out")"
shown "the route is gone: $(cat "$DIR/trace.err")"
ip -n "${T}hv1" route del unreachable 10.0.0.2

broken "the underlay's mtu shrinks" underlay 'mtu 1400' ip -n "${T}hv1" link set eth0 mtu 1400
ip -n "${T}hv1" link set eth0 mtu 1500
broken "the underlay's cable is pulled" underlay 'no carrier' ip -n "${T}net" link set p-hv1 down
ip -n "${T}net" link set p-hv1 up
broken "the tap is down" sender down ip -n "${T}hv1" link set t-a down
ip -n "${T}hv1" link set t-a up
broken "the guest is down" sender 'other end' ip -n "${T}a" link set eth0 down
ip -n "${T}a" link set eth0 up
broken "the bridge is down" bridge down ip -n "${T}hv1" link set "$br" down
repaired

soon "the path is good again" trace_is_good 192.168.7.2 --from a
daemon_signal hv2 STOP
soon "the silent node is told" wrong_at location unreachable
shown "the other agent is dead: $(cat "$DIR/trace.err")"
daemon_signal hv2 CONT
soon "and that it is back" trace_is_good 192.168.7.2 --from a
xtr hv2 detach b >/dev/null
soon "an endpoint that went is told" wrong_at map-cache nobody
shown "the endpoint is gone: $(cat "$DIR/trace.err")"

# Who is resolved on a miss is not known before; the map is, and a ping makes it good.
xtr hv2 attach b --network red --mac 02:00:00:00:00:02 --ip 192.168.7.2 --ip fd07::2 --dev t-b >/dev/null
soon "b is back" trace_is_good 192.168.7.2 --from a
ctl network set red --fill resolve >/dev/null
soon "hv1 resolves now" has_miss_port hv1 a
ctl port register d --network red --mac 02:00:00:00:00:04 --ip 192.168.7.4 >/dev/null
ctl port locate d hv2 >/dev/null
trace 192.168.7.4 && fail "nobody here has sent to it"
grep -q 'map-cache .*has not been asked for; the map has port d, revision .*: hv2:' "$DIR/trace.out" ||
    fail "what has not been resolved yet: $(cat "$DIR/trace.out")"
shown "not resolved yet: $(cat "$DIR/trace.err")"
ping_well a 192.168.7.2
soon "and what was resolved is good" trace_is_good 192.168.7.2 --from a

server_stop
soon "without a server the map-cache is all there is" trace_is_good 192.168.7.2 --from a
grep -q ' map  .* not asked: there is no map server to ask' "$DIR/trace.out" ||
    fail "it is not told that the map was not asked: $(cat "$DIR/trace.out")"
grep -q ' feed .*no map server for' "$DIR/trace.out" || fail "how old the map-cache is"
shown "without a map server: $(grep ' map  ' "$DIR/trace.out")"
