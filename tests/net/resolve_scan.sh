#!/bin/sh
# A guest that scans a /8 hurts itself alone, and what no frame goes to is forgotten.
#
#      ms             hv1             hv2             hv3
#   mapserver       a    s             b, b1 ..        c     misses: {idle: 3s} on hv1
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

MANY=7
scene_open
server_open
xtr_open hv1 1 'misses: {idle: 3s, rate: 50}'
for n in 2 3; do xtr_open hv$n $n; done
ctl network add red --fill resolve >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1 fd07::1
vm s hv1 02:00:00:00:00:05 192.168.7.5
vm b hv2 02:00:00:00:00:02 192.168.7.2 fd07::2
vm c hv3 02:00:00:00:00:03 192.168.7.3 fd07::3
vm_attach a hv1 red
vm_attach s hv1 red
vm_attach b hv2 red
vm_attach c hv3 red
for i in $(seq $MANY); do
    vm "b$i" hv2 "02:00:00:00:01:$(printf %02x "$i")" "192.168.7.$((100 + i))"
    vm_attach "b$i" hv2 red
done
soon "hv1 has a miss port" has_miss_port hv1 a

# c is left alone, b is not.
first_ping a 192.168.7.3 >/dev/null || exit 1
ping_start a 192.168.7.2 0.1
must "hv1 does not know c" knows hv1 192.168.7.3
soon "c is forgotten when no frame goes there" not knows hv1 192.168.7.3
must "hv1 has forgotten b, though frames go there" knows hv1 192.168.7.2
must "hv1 counts $(misses hv1 miss_aged) entries as aged" test "$(misses hv1 miss_aged)" = 1
ping_more 40
must "hv1 has forgotten b, though frames go there" knows hv1 192.168.7.2
ping_lost_at_most 0 "c is forgotten after 3 s, b is not, under a ping"
first_ping a 192.168.7.3 >/dev/null || exit 1
shown "and c is found again, its first packet too"

# A /8 by ARP, as fast as the guest can; then MACs, which no negative answer covers but its own.
: "${SCAN:=build/dev/tests/net/net_scan}"
scan() {
    on s "$SCAN" eth0 arp 192.168.7.5 10.0.0.0 300000
    on s "$SCAN" eth0 unicast 10.0.0.0 300000
}
began=$(now_ms)
scan &
scanner=$!
for i in $(seq $MANY); do
    first_ping a "192.168.7.$((100 + i))" >>"$DIR/first" || exit 1
done
kill -0 $scanner 2>/dev/null && while_it="all of them while it went on" || while_it="it ended before"
wait $scanner
seconds=$((($(now_ms) - began) / 1000 + 1))
shown "under a scan the first packet of another guest: p50 $(median <"$DIR/first") ms, at most \
$(sort -n "$DIR/first" | tail -n 1) ms, $MANY of them, $while_it"
asked=$(misses hv1 negative)
shown "of $(misses hv1 misses) misses $asked asked in vain, $(misses hv1 miss_dropped) dropped"
must "the scanner was let ask $asked times in $seconds s" test "$asked" -le $((100 + 50 * (seconds + 1)))
must "nothing of the scan was dropped" test "$(misses hv1 miss_dropped)" -gt 1000
must "the agent holds back" test "$(xtr_json hv1 .server status)" != ""
