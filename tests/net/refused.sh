#!/bin/sh
# An agent is dead and its data plane lives: its node's kernel refuses the probes, and that is
# a sign of life.  Nothing is cut and nothing moves, until the lease runs out; then a standby
# is used, and a port without one stays.  An agent that hangs says nothing, so its standby is
# used at once.
#
#      hv1 ── probes ──> hv2 (its xTR is killed)      hv3 (priority 1)
#       a  ── ping ────>  v (active), s (alone)        v (standby)
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
# shellcheck source=../support/net/places.sh
. "$(dirname "$0")/../support/net/places.sh"
set -eu

scene_open
server_open 'lease: {duration: 10s}'
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red --probe 300ms >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm s hv2 02:00:00:00:00:06 192.168.7.6
vm_attach a hv1 red
vm_attach s hv2 red
place_open hv2
place_open hv3 --priority 1
xtrs_agree hv1 hv2 hv3
probes_are_up hv1 hv2 hv3
ping_well a 192.168.7.5
ping_well a 192.168.7.6

# Killed, and started again before the lease runs out: nobody notices.
ping_start a 192.168.7.5
place_is_used hv2
xtr_stop hv2 KILL
soon "hv1 sees hv2 refuse" probe_is hv1 hv2 refused
n=$(place_frames hv3)
ping_more 100
xtr_start hv2
probes_are_up hv1 hv2
must "hv1 has sent to hv3" not place_has hv3 $((n + 10))
ping_lost_at_most 0 "agent killed and started again, with a standby"
xtrs_agree hv1 hv2 hv3

# Killed for good: until the lease runs out, nothing; then the map decides.
ping_start a 192.168.7.5
xtr_stop hv2 KILL
soon "hv1 sees hv2 refuse" probe_is hv1 hv2 refused
must "hv2 is reachable by the map" node_has_state hv2 reachable
place_is_used hv2
soon "the lease runs out" node_has_state hv2 unreachable
place_is_used hv3
must "the refusals of hv2 count" probe_is hv1 hv2 refused
ping_lost_at_most 0 "agent killed for good, with a standby"
ping_well a 192.168.7.6
shown "a port without another place stays"
xtr_start hv2
soon "hv2 is reachable again" node_has_state hv2 reachable
probes_are_up hv1 hv2
xtrs_agree hv1 hv2 hv3

# It hangs: its threads answer nothing, and its kernel has a socket for the probes.
ping_start a 192.168.7.5
place_is_used hv2
daemon_signal hv2 STOP
soon "hv1 sees hv2 silent" probe_is hv1 hv2 silent
place_is_used hv3
ping_once a 192.168.7.6 || fail "a port without another place was cut"
daemon_signal hv2 CONT
probes_are_up hv1 hv2
place_is_used hv2
ping_lost_at_most 0 "an agent stopped and continued, with a standby"
