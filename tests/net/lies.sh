#!/bin/sh
# What guests on a watched bridge say is not always true: one sends with the MAC of a port
# that somebody has attached elsewhere, one gives its address up without a word.
#
#      hv1 (watch)            hv2
#       a b c                  m      10.1.0.1 .2 .3 and .9
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open
ctl network add blue --subnet 10.1.0.0/24 >/dev/null
xtr_open hv1 1 "watch: [{network: blue, idle: 3s}]"
xtr_open hv2 2
bridge=emb$(printf %x "$(ctl_json '.[] | select(.name == "blue") | .id' network list)")
plug() { ip -n "${T}hv1" link set "t-$1" master "$bridge"; }
at() { [ "$(where blue "$2" 2>/dev/null | cut -d: -f1)" = "$1" ]; }
nowhere() { ! where blue "$1" 2>/dev/null | grep -q hv; }
told() { grep -q "$1" "$DIR/hv1.log"; }
speaks_until() {
    on "$1" ping -n -c 1 -W 0.1 10.1.0.200 >/dev/null 2>&1 || true
    shift
    "$@"
}

vm a hv1 02:00:00:00:00:01 10.1.0.1
vm b hv1 02:00:00:00:00:02 10.1.0.2
vm c hv1 02:00:00:00:00:03
vm m hv2 02:00:00:00:00:09 10.1.0.9
vm_attach m hv2 blue
for v in a b c; do plug $v; done
soon "a is on the map" speaks_until a at hv1 10.1.0.1
soon "b is on the map" speaks_until b at hv1 10.1.0.2
ping_well a 10.1.0.9

on b ip link set eth0 address 02:00:00:00:00:09
soon "the lie is noticed" speaks_until b told "sends with 02:00:00:00:00:09, the MAC of another port"
must "m stays where it is" at hv2 10.1.0.9
[ "$(port_phase hv2 m)" = installed ] || fail "m is not installed any more"
on b ip link set eth0 address 02:00:00:00:00:02
soon "what b has drawn to itself is put back" ping_once a 10.1.0.9
ping_well a 10.1.0.9
soon "hv1 is as the map wants it" xtr_is_clean hv1
shown "a MAC that somebody has attached elsewhere is not taken over"

soon "b is back with its own" speaks_until b at hv1 10.1.0.2
on b ip address del 10.1.0.2/24 dev eth0
on b ip address add 10.1.0.22/24 dev eth0
soon "b has another address" speaks_until b at hv1 10.1.0.22
soon "the one that it does not answer for is nobody's" speaks_until b nowhere 10.1.0.2
must "b keeps the new one" at hv1 10.1.0.22
on c ip address add 10.1.0.2/24 dev eth0
soon "c has it now" speaks_until c at hv1 10.1.0.2
ping_well c 10.1.0.9
shown "an address that a guest has given up is free for the next"
