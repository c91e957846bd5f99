#!/bin/sh
# What was resolved forwards with agent and map server dead, and a new agent adopts it: it asks
# again for what the kernel has, and watches that.
#
#      ms             hv1            hv2 ──────> hv3
#   mapserver          a ── ping ──>  b           c
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red --fill resolve >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1 fd07::1
vm_twin b hv2 hv3 02:00:00:00:00:02 192.168.7.2 fd07::2
vm c hv3 02:00:00:00:00:03 192.168.7.3 fd07::3
vm_attach a hv1 red
vm_attach b hv2 red
vm_attach c hv3 red
ping_well a 192.168.7.2
ping_well a fd07::3

entries() {
    on "$1" sh -c 'bridge fdb show; ip neigh show; ip nexthop show' |
        grep -E 'dev (em[bx]|t-)|proto 225' | sort
}

entries hv1 >"$DIR/before"
ping_start a 192.168.7.2
server_stop KILL
xtr_stop hv1 KILL
xtr_stop hv2 KILL
ping_more 100
soon "a reaches what it had resolved" ping_once a fd07::3
must "the dead agent has left a miss port" not has_miss_port hv1 a
xtr_start hv1
xtr_start hv2
ping_more 50
entries hv1 | diff "$DIR/before" - >"$DIR/diff" ||
    fail "without a server the new agent changed entries: $(cat "$DIR/diff")"
shown "map server and agents dead, agents restarted without it: $(wc -l <"$DIR/before") entries stand"
server_start
soon "a is installed" port_has_phase hv1 a installed
soon "b is installed" port_has_phase hv2 b installed
has_adopted() { [ "$(misses hv1 miss_entries)" -ge 2 ] && [ "$(cached hv1)" = 2 ]; }
soon "hv1 has asked again for what it has" has_adopted
soon "a miss port is back" has_miss_port hv1 a
ping_lost_at_most 0 "all of that under a ping"
entries hv1 | diff "$DIR/before" - >"$DIR/diff" ||
    fail "the restart changed entries: $(cat "$DIR/diff")"
soon "hv1 is clean" xtr_is_clean hv1

# What was adopted is watched.
ping_start a 192.168.7.2 0.02
vm_attach b hv3 red
ping_lost_at_most 5 "b moves after that"

# What was not there any more when the agent came back is swept.
soon "a reaches c" ping_once a 192.168.7.3
xtr_stop hv1 KILL
xtr hv3 detach c >/dev/null
must "hv1 lost what it had without its agent" knows hv1 192.168.7.3
rm -f "$DIR/hv1/map" # then the kernel is all that is left to adopt
xtr_start hv1
soon "what has left meanwhile is swept" not knows hv1 192.168.7.3
must "what has not was swept, too" knows hv1 192.168.7.2
ping_well a 192.168.7.2
shown "what has left while the agent was dead is swept, and nothing else"

# A map server without its database knows nobody: that is no reason to forget what was resolved,
# for an agent that is restarted neither.
is_doubting() { xtr_json hv1 '.problems[]' status | grep -q 'new database'; }
has_saved() { [ "$(xtr_json hv1 '.saved_revision == .revision' status)" = true ]; }
ping_start a 192.168.7.2
soon "hv1 saves what it has" has_saved
server_stop KILL
rm -rf "$DIR/ms"
server_start
ping_more 50
xtr_stop hv1 KILL
xtr_start hv1
soon "hv1 tells of the new map" is_doubting
ping_more 50
ctl network add red --fill resolve >/dev/null
soon "a is in the new map" lives_at red 192.168.7.1 hv1
soon "b is in the new map" lives_at red 192.168.7.2 hv3
ping_more 50
ping_lost_at_most 0 "a wiped map server, and its network made again"
ping_start a 192.168.7.2 0.02
vm_attach b hv2 red
ping_lost_at_most 5 "b moves in the new map"
