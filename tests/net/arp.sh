#!/bin/sh
# ARP and ND for known addresses are answered on the host, and a known MAC goes to its
# own hypervisor alone.  The witness is tcpdump on the underlay.
#
#      hv1            hv2            hv3
#     a  a2            b              c          192.168.7.1 .11 .2 .3, fd07::1 ::11 ::2 ::3
#      tcpdump                      tcpdump      everything / what comes to hv3
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
server_open
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1 fd07::1
vm a2 hv1 02:00:00:00:00:11 192.168.7.11 fd07::11
vm b hv2 02:00:00:00:00:02 192.168.7.2 fd07::2
vm c hv3 02:00:00:00:00:03 192.168.7.3 fd07::3
vm_attach a hv1 red
vm_attach a2 hv1 red
vm_attach b hv2 red
vm_attach c hv3 red
for n in 1 2 3; do soon "hv$n has the whole map" xtr_is_synced hv$n; done

capture_start out hv1 udp port 4789
capture_start third hv3 udp port 4789 and dst host 10.0.0.3
for to in 192.168.7.2 fd07::2; do
    on a ping -n -q -c 5 -i 0.01 -W 2 $to >/dev/null || fail "a does not reach $to"
done
for to in 192.168.7.11 fd07::11; do
    on a ping -n -q -c 2 -i 0.01 -W 2 $to >/dev/null || fail "a does not reach $to on its own host"
done
on a ip neigh show | grep -q '^192.168.7.2 .*02:00:00:00:00:02' || fail "a has not asked for b"
soon "the witness on hv1 sees the pings" capture_sees out '192.168.7.2 > 192.168.7.1: .*echo reply.* seq 5'
soon "the witness on hv1 sees the IPv6 pings" capture_sees out 'fd07::2 > fd07::1: .*echo reply.* seq 5'
must "ARP crossed the underlay: $(grep ARP "$DIR/cap-out.log")" not capture_sees out ARP
must "ND crossed the underlay: $(grep neighbor "$DIR/cap-out.log")" \
    not capture_sees out "neighbor (solicitation|advertisement)"
shown "ARP and ND for known addresses stay on the host"
must "hv3 hears what is not for it" not capture_sees third echo
shown "a third hypervisor hears nothing of it"

# The same witnesses see what has to be flooded, so their silence above means something.
ping_once a 192.168.7.77 || true
ping_once a fd07::77 || true
for h in out third; do
    soon "$h: ARP for an unknown address is flooded" capture_sees $h 'who-has 192.168.7.77'
    soon "$h: ND for an unknown address is flooded" capture_sees $h 'neighbor solicitation, who has fd07::77'
done
shown "for unknown addresses they are flooded, to every hypervisor of the network"

on a ip neigh replace 192.168.7.88 lladdr 02:00:00:00:00:88 dev eth0
ping_once a 192.168.7.88 || true
ping_once a 192.168.7.2 -s 99 || fail "a does not reach b"
soon "the witness on hv1 sees the last ping" capture_sees out 'echo reply.* length 107'
must "a unicast frame to an unknown MAC was flooded" not capture_sees out 192.168.7.88
shown "unicast to an unknown MAC is not flooded"
capture_stop out
capture_stop third
