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
set -eu

node_has_state() { [ "$(ctl_json .state node show "$1")" = "$2" ]; }
probe_is() { [ "$(xtr_json "$1" ".[] | select(.id == \"$2\") | .probe" nodes)" = "$3" ]; }

attach_v() {
    vm "v-$1" "$1" 02:00:00:00:00:05 192.168.7.5
    xtr "$1" attach v --network red --dev "t-v-$1" --mac 02:00:00:00:00:05 \
        --ip 192.168.7.5 --multihomed --priority "$2" >/dev/null
}

heard() { on "v-$1" cat /sys/class/net/eth0/statistics/rx_packets; }
hears_more() { [ "$(heard "$1")" -ge $(($2 + 10)) ]; }
is_used() { soon "v behind $1 gets the traffic" hears_more "$1" "$(heard "$1")"; }

scene_open
server_open 'lease: {duration: 6s}'
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red --probe 300ms >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm s hv2 02:00:00:00:00:06 192.168.7.6
vm_attach a hv1 red
vm_attach s hv2 red
attach_v hv2 0
attach_v hv3 1
xtrs_agree hv1 hv2 hv3
for n in 2 3; do soon "hv$n answers probes" probe_is hv1 hv$n up; done
ping_well a 192.168.7.5
ping_well a 192.168.7.6

# Killed, and started again before the lease runs out: nobody notices.
ping_start a 192.168.7.5
is_used hv2
xtr_stop hv2 KILL
soon "hv1 sees hv2 refuse" probe_is hv1 hv2 refused
n=$(heard hv3)
ping_more 100
xtr_start hv2
soon "hv2 answers probes again" probe_is hv1 hv2 up
must "hv1 has never sent to hv3" [ "$(heard hv3)" -lt $((n + 10)) ]
ping_lost_at_most 0 "agent killed and started again, with a standby"
xtrs_agree hv1 hv2 hv3

# Killed for good: until the lease runs out, nothing; then the map decides.
ping_start a 192.168.7.5
xtr_stop hv2 KILL
soon "hv1 sees hv2 refuse" probe_is hv1 hv2 refused
must "hv2 is reachable by the map" node_has_state hv2 reachable
is_used hv2
soon "the lease runs out" node_has_state hv2 unreachable
is_used hv3
must "the refusals of hv2 count" probe_is hv1 hv2 refused
ping_lost_at_most 0 "agent killed for good, with a standby"
ping_well a 192.168.7.6
shown "a port without another place stays"
xtr_start hv2
soon "hv2 is reachable again" node_has_state hv2 reachable
soon "hv2 answers probes again" probe_is hv1 hv2 up
xtrs_agree hv1 hv2 hv3

# It hangs: its threads answer nothing, and its kernel has a socket for the probes.
ping_start a 192.168.7.5
is_used hv2
daemon_signal hv2 STOP
soon "hv1 sees hv2 silent" probe_is hv1 hv2 silent
is_used hv3
ping_once a 192.168.7.6 || fail "a port without another place was cut"
daemon_signal hv2 CONT
soon "hv2 answers probes again" probe_is hv1 hv2 up
is_used hv2
ping_lost_at_most 0 "an agent stopped and continued, with a standby"
