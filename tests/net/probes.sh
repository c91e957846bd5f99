#!/bin/sh
# Who is probed: nodes with ports in a network that asks for it, and nobody else.  What comes
# to the probe port and is no probe gets no answer.
#
#      hv1            hv2            hv3
#     a (red)        b (red)        c (blue)
#     d (blue)
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
# shellcheck source=../support/net/places.sh
. "$(dirname "$0")/../support/net/places.sh"
set -eu

n_probed() { xtr_json "$1" .n_probed status; }
probes_are() { [ "$(n_probed "$1")" = "$2" ]; }

scene_open
server_open
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red >/dev/null
ctl network add blue >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm c hv3 02:00:00:00:00:03 192.168.8.3
vm d hv1 02:00:00:00:00:04 192.168.8.4
capture_start all hv1 udp port 4783
vm_attach a hv1 red
vm_attach b hv2 red
vm_attach c hv3 blue
vm_attach d hv1 blue
xtrs_agree hv1 hv2 hv3
ping_well a 192.168.7.2
ping_well d 192.168.8.3
sleep 2 # that nothing comes can only be seen by waiting
must "somebody is probed" not capture_sees all UDP
must "hv1 probes somebody" probes_are hv1 0
shown "no network asks: no packet"

ctl network set red --probe 300ms >/dev/null
probes_are_up hv1 hv2
probes_are_up hv2 hv1
soon "hv1 probes hv2" capture_sees all '10.0.0.1.[0-9]+ > 10.0.0.2.4783: UDP, length 20'
soon "hv2 answers with as much" capture_sees all '10.0.0.2.4783 > 10.0.0.1.[0-9]+: UDP, length 20'
must "hv3 is probed, or probes" not capture_sees all '10\.0\.0\.3'
must "hv1 probes another number of nodes" probes_are hv1 1
must "hv3 probes somebody" probes_are hv3 0
shown "red asks: the nodes of red probe each other, with 20 bytes each way"

# What is no probe stays without an answer; the port goes on answering probes.
for what in '' x "$(head -c 20 /dev/zero | tr '\0' e)" "$(head -c 1400 /dev/zero | tr '\0' e)"; do
    # shellcheck disable=SC2016 # for the inner shell
    on hv3 bash -c 'printf %s "$1" >/dev/udp/10.0.0.1/4783' - "$what"
done
soon "rubbish arrives" capture_sees all '10.0.0.3.[0-9]+ > 10.0.0.1.4783: UDP, length 1400'
must "rubbish is answered" not capture_sees all '10.0.0.1.4783 > 10.0.0.3'
soon "hv1 complains" grep -q '10.0.0.3 sent something to the probe port' "$DIR/hv1.log"
must "hv2 is not up any more" probe_is hv1 hv2 up
shown "rubbish gets no answer"

ctl network set red --probe 0 >/dev/null
soon "hv1 probes nobody" probes_are hv1 0
soon "hv2 probes nobody" probes_are hv2 0
n=$(capture_count all UDP)
sleep 2
must "probes go on" [ "$(capture_count all UDP)" -le $((n + 2)) ] # what was on its way
shown "red asks no more: no packet"

# The prober of a node that has no port left in the network is forgotten.
ctl network set red --probe 300ms >/dev/null
probes_are_up hv1 hv2
xtr hv2 detach b >/dev/null
soon "hv1 probes nobody" probes_are hv1 0
capture_stop all
