#!/bin/sh
# The map server loses its database and comes back empty: traffic goes on, everybody is told,
# and the loss is taken only when an operator accepts it.  Where he makes the networks again as
# they were, the agents register what they have and all is well without him.  What somebody
# removes by the map, one or all, is obeyed at once.
#
#      ms (wiped)     hv1            hv2            hv3
#                      a ── ping ──> b              c
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

has_problem() { xtr_json "$1" '.problems[]' status | grep -q "$2"; }
has_no_doubts() { [ "$(xtr_json "$1" '.n_kept == 0 and (.problems | length) == 0' status)" = true ]; }
has_saved_all() { [ "$(xtr_json "$1" '.saved_revision == .revision and .revision > 0' status)" = true ]; }
has_remote() { [ "$(xtr_json "$1" .n_remote_ports status)" = "$2" ]; }
keeps() { [ "$(xtr_json "$1" .n_kept status)" = "$2" ]; }

wipe() {
    server_stop KILL
    rm -rf "$DIR/ms"
    server_start
}

scene_open
server_open
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm c hv3 02:00:00:00:00:03 192.168.7.3
vm_attach a hv1 red
vm_attach b hv2 red
vm_attach c hv3 red
ping_well a 192.168.7.2

# The networks come back as they were; one hypervisor does not.
ping_start a 192.168.7.2
soon "hv1 saves what it has" has_saved_all hv1
xtr_stop hv3 KILL
wipe
for hv in hv1 hv2; do soon "$hv tells of the new map" has_problem $hv 'serves another map (a new database) without network red'; done
xtr hv1 accept red >"$DIR/accept.out" 2>&1 && fail "another map was accepted in part"
ping_more 20
shown "a wiped server is doubted: $(xtr_json hv1 '.problems[0]' status)"

xtr_stop hv1 KILL
xtr_start hv1
ping_more 20
soon "hv1 tells of the new map after its restart, too" has_problem hv1 'new database'
shown "an agent that is restarted meanwhile doubts it, too"

ctl network add red >/dev/null
for hv in hv1 hv2; do soon "$hv registers in the new map" lives_at red 192.168.7.${hv#hv} $hv; done
for hv in hv1 hv2; do soon "$hv keeps c and its node" keeps $hv 2; done
soon "hv1 tells that c is missing" has_problem hv1 'network red: map server ms1 (a new database) does not show 1 ports'
must "c is out of reach" ping_once a 192.168.7.3
xtr_stop hv2 KILL
xtr_start hv2
soon "hv2 still keeps c after a restart" keeps hv2 2
soon "b reaches c" ping_once b 192.168.7.3
xtr_start hv3
soon "c is in the new map" lives_at red 192.168.7.3 hv3
for hv in hv1 hv2 hv3; do soon "$hv has no doubts any more" has_no_doubts $hv; done
ping_lost_at_most 0 "a wiped server, and its networks made again"
xtrs_agree hv1 hv2 hv3
shown "all that was kept is in the new map, and no one is told to accept anything"

# Nobody makes them again.
wipe
for hv in hv1 hv2 hv3; do soon "$hv tells of the new map" has_problem $hv 'new database'; done
ping_well a 192.168.7.3
for hv in hv1 hv2 hv3; do xtr $hv accept >/dev/null; done
for hv in hv1 hv2 hv3; do soon "$hv has no remote port" has_remote $hv 0; done
soon "a waits: $(port_phase hv1 a)" port_has_phase hv1 a waiting
must "what was accepted still forwards" not ping_once a 192.168.7.2
must "there is something left to accept" not xtr hv1 accept
shown "what an operator accepts is let go"

# By the feed.
ctl network add red >/dev/null
for p in a:1 b:2 c:3; do soon "$p is in the map" lives_at red 192.168.7.${p#*:} hv${p#*:}; done
soon "a reaches c" ping_once a 192.168.7.3
xtr hv3 detach c >/dev/null
xtr hv2 detach b >/dev/null
soon "hv1 has no remote port" has_remote hv1 0
has_no_doubts hv1 || fail "hv1 doubts what was removed by the feed: $(xtr hv1 status)"
shown "what is removed by the feed is obeyed at once"
