#!/bin/sh
# The map server is gone: traffic goes on, an attach queues and is done after its return,
# an agent that starts without a server keeps what stands, and a detach is not forgotten.
#
#      ms (gone)      hv1            hv2
#                      a ── ping ──> b
#                      d             c (attached while there is no server)
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

is_headless() { [ "$(xtr_json "$1" .server status)" = "" ]; }

scene_open
server_open
for n in 1 2; do xtr_open hv$n $n; done
ctl network add red >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm d hv1 02:00:00:00:00:04 192.168.7.4
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm c hv2 02:00:00:00:00:03 192.168.7.3
vm_attach a hv1 red
vm_attach d hv1 red
vm_attach b hv2 red
ping_well a 192.168.7.2

ping_start a 192.168.7.2
server_stop KILL
soon "hv1 notices" is_headless hv1
soon "hv2 notices" is_headless hv2
vm_attach c hv2 red --no-wait
must "the attach does not wait: phase $(port_phase hv2 c)" port_has_phase hv2 c waiting
xtr_json hv2 '.[] | select(.id == "c") | .problem' ports | grep -qi 'server' ||
    fail "hv2 does not say what c waits for"
ping_more 20
shown "traffic goes on, the attach waits and says why"

xtr_stop hv2 KILL
xtr_start hv2
ping_more 20
must "the queued attach did not survive: $(port_phase hv2 c)" port_has_phase hv2 c waiting
xtr hv1 detach d >/dev/null
shown "an agent that starts without a server leaves forwarding alone"

server_start
soon "the queued attach is done" port_has_phase hv2 c installed
ping_lost_at_most 0 "a map server gone and back"
ping_well a 192.168.7.3
soon "what was detached is gone from the map" not ctl resolve red 192.168.7.4
xtrs_agree hv1 hv2
shown "the queued attach is done after the return, the detach too"
