#!/bin/sh
# Guests are plugged into a watched network's bridge by hand, and nobody attaches them: what
# they say makes them ports.  They lie, too.
#
#      hv1                    hv2
#     emb1: t-a t-b t-c t-f  emb1: t-d           10.1.0.1 and so on
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

idle=5s
watch() { echo "watch: [{network: blue, devices: \"t-*\", idle: $1, max_ports: 3}]"; }

scene_open
server_open
ctl network add blue --subnet 10.1.0.0/24 --subnet fd01::/64 >/dev/null
for n in 1 2; do xtr_open hv$n $n "$(watch $idle)"; done
bridge=emb$(printf %x "$(ctl_json '.[] | select(.name == "blue") | .id' network list)")

has_bridge() { ip -n "$T$1" link show "$bridge" >/dev/null 2>&1; }
plug() { ip -n "$T$2" link set "t-$1" master "$bridge"; }
mac_of() { awk '$1 == "--mac" { print $2 }' "$DIR/$1.vm"; }
auto() { echo "auto:$1:$(mac_of "$2"):${bridge#emb}"; }
# Says something to all: a question for an address that nobody has.
speak() { on "$1" ping -n -c 1 -W 0.1 10.1.0.200 >/dev/null 2>&1 || true; }
speaks_until() {
    local name=$1
    shift
    speak "$name"
    "$@"
}
# HV VM: its automatic port is installed, and has its address.
is_auto() {
    [ "$(xtr_json "$1" ".[] | select(.id == \"$(auto "$1" "$2")\") | \"\(.phase) \(.source)\"" ports)" = "installed watch" ]
}
has_port() { xtr_json "$1" '.[].id' ports | grep -qx "$2"; }
n_autos() { xtr_json "$1" '[.[] | select(.source == "watch")] | length' ports; }
at() { [ "$(where blue "$2" 2>/dev/null | cut -d: -f1)" = "$1" ]; }
nowhere() { ! where blue "$1" 2>/dev/null | grep -q hv; }
told() { grep -q "$2" "$DIR/$1.log"; }

soon "a watched network has its bridge before any guest" has_bridge hv1
soon "at hv2, too" has_bridge hv2
vm a hv1 02:00:00:00:00:01 10.1.0.1 fd01::1
vm b hv1 02:00:00:00:00:02 10.1.0.2
vm d hv2 02:00:00:00:00:04 10.1.0.4 fd01::4
for v in a b; do plug $v hv1; done
plug d hv2
for v in a b; do soon "$v becomes a port when it speaks" speaks_until $v is_auto hv1 $v; done
soon "d becomes a port when it speaks" speaks_until d is_auto hv2 d
for p in 10.1.0.1:hv1 10.1.0.2:hv1 10.1.0.4:hv2; do
    soon "${p%:*} is on the map at ${p#*:}" at "${p#*:}" "${p%:*}"
done
shown "guests that were plugged in by hand are on the map after their first frame"
for h in hv1 hv2; do soon "$h has the whole map" xtr_is_synced $h; done
ping_well a 10.1.0.4
ping_well d 10.1.0.2
on a ping -n -c 1 -W 2 fd01::4 >/dev/null 2>&1 || true # each solicits the other
soon "a reaches d by IPv6" ping_once a fd01::4
soon "fd01::1 is on the map at hv1" at hv1 fd01::1
shown "they reach each other on one host and across two"

# b says nothing; a sends to d, and neither asks for the other any more.
for g in a:10.1.0.4:04 d:10.1.0.1:01; do
    IFS=: read -r v ip mac <<END
$g
END
    on "$v" ip neigh replace "$ip" lladdr "02:00:00:00:00:$mac" dev eth0 nud permanent
done
epoch() { xtr_json hv1 ".[] | select(.id == \"$(auto hv1 a)\") | .epoch" ports; }
before=$(epoch)
ping_start a 10.1.0.4 0.05
soon "silent b is no port any more" not has_port hv1 "$(auto hv1 b)"
soon "nor is it on the map" nowhere 10.1.0.2
sleep "$idle" # longer than that with nothing but data frames
must "a's traffic keeps it" has_port hv1 "$(auto hv1 a)"
[ "$(epoch)" = "$before" ] || fail "a was attached again"
soon "b comes back when it speaks" speaks_until b is_auto hv1 b
shown "a silent guest vanishes, one that sends stays"

# A guest that says it has another's address, on the other host and on its own.
for ip in 10.1.0.4 10.1.0.1; do
    on b ip address add $ip/32 dev eth0
    on b ping -n -c 1 -W 0.1 -I $ip 10.1.0.200 >/dev/null 2>&1 || true
    soon "the lie is noticed" told hv1 "claims $ip, which another port has"
    on b ip address del $ip/32 dev eth0
done
must "d keeps its address" at hv2 10.1.0.4
must "a keeps its address" at hv1 10.1.0.1
soon "b is a port with what is its own" speaks_until b is_auto hv1 b
soon "b reaches d" ping_once b 10.1.0.4
shown "an address that is another's is not believed, and hurts nobody"

# Three guests at most; what the tunnel brings to hv2 is no guest there.
vm c hv1 02:00:00:00:00:03 10.1.0.3
vm f hv1 02:00:00:00:00:06 10.1.0.6
plug c hv1
plug f hv1
n_over() { xtr_json hv1 '.watches[] | select(.network == "blue") | .n_over' status; }
full_and_told() { for v in a b c f; do speak $v; done; [ "$(n_autos hv1)" = 3 ] && [ "$(n_over)" -gt 0 ]; }
soon "there are three ports of four guests" full_and_told
[ "$(grep -c 'as many as max_ports' "$DIR/hv1.log")" = 1 ] || fail "the cap is told more than once"
[ "$(n_autos hv2)" = 1 ] || fail "hv2 has more ports than d: $(xtr hv2 ports)"
for v in a b c f; do must "$v came out of the tunnel" not has_port hv2 "$(auto hv2 $v)"; done
shown "the cap holds; frames out of a tunnel never become ports"
ip -n "${T}hv1" link del t-c
ip -n "${T}hv1" link del t-f
soon "ports go with their devices" not has_port hv1 "$(auto hv1 c)"
must "a is there" is_auto hv1 a

# Somebody attaches a after all: one port, and it is his.
xtr hv1 attach a --network blue --dev t-a --mac 02:00:00:00:00:01 --ip 10.1.0.1 >/dev/null
must "the automatic port has gone" not has_port hv1 "$(auto hv1 a)"
soon "the map has a's own name" at hv1 10.1.0.1
ping_more 20
must "a is one port" not has_port hv1 "$(auto hv1 a)"
ping_lost_at_most 10 "all that time, with the change of hands"
shown "an attach takes over from the watch"

# The agent restarts; then guest d turns up at hv1 without a word to anybody.
ping_start a 10.1.0.4 0.05
xtr_stop hv2
xtr_start hv2
soon "d is still a port of hv2" is_auto hv2 d
ping_lost_at_most 0 "a restart of the agent does not cut a guest that it watches"
ip -n "${T}hv2" link del t-d
ip netns del "${T}d"
vm d hv1 02:00:00:00:00:04 10.1.0.4
on d ip neigh replace 10.1.0.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
plug d hv1
moved_in() { at hv1 10.1.0.4; }
soon "d is at hv1" speaks_until d moved_in
soon "a reaches d" speaks_until d ping_once a 10.1.0.4
soon "hv2 has no port of it" not has_port hv2 "$(auto hv2 d)"
for h in hv1 hv2; do soon "$h has the whole map" xtr_is_synced $h; done
xtrs_agree hv1 hv2
shown "a guest that moves is where it speaks"

# A second guest with d's MAC, while d's device is still there: the newer sighting wins.
vm e hv2 02:00:00:00:00:04 10.1.0.4
plug e hv2
moved_out() { at hv2 10.1.0.4; }
soon "the MAC is at hv2, where it spoke last" speaks_until e moved_out
soon "hv1 has given it up" not has_port hv1 "$(auto hv1 d)"
soon "and at hv1, when it speaks there" speaks_until d moved_in
shown "one MAC at two hosts is where it has spoken last"
