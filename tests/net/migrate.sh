#!/bin/sh
# A guest migrates live between hv1 and hv2 under a ping each millisecond from hv3: at most five
# packets are lost, and no answer comes twice, however the guest announces itself.
#
#      hv1          hv2          hv3
#    t-b │  b: its machine  │ t-b   │
#        └───── moves ──────┘       a
#      n │          m │
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
# shellcheck source=../support/net/migration.sh
. "$(dirname "$0")/../support/net/migration.sh"
set -eu

scene_open
server_open
for n in 1 2 3; do xtr_open hv$n $n; done
ctl network add red >/dev/null
vm a hv3 02:00:00:00:00:01 192.168.7.1 fd07::1
vm n hv1 02:00:00:00:00:03 192.168.7.3 fd07::3
vm m hv2 02:00:00:00:00:04 192.168.7.4 fd07::4

machine_open

vm_attach a hv3 red
vm_attach n hv1 red
vm_attach m hv2 red
vm_attach b hv1 red
for ip in $IP4 $IP6; do ping_well a $ip; done

# Before anything happens the target's guests still reach the guest where it runs.
prepare 1
ping_well m $IP4
ping_well a $IP4
sender=10.0.0.3
[ "${FAMILY:-4}" = 4 ] || sender=fd00::3
capture_start copies hv2 "udp port 4789 and src $sender"
ping_once a $IP4
soon "copies reach the target" capture_sees copies "$IP4"
capture_stop copies
shown "copies go to the target, traffic goes on where the guest is"

# It does not come: what was prepared is taken back.
ctl port move b --cancel >/dev/null
must "a cancelled migration left something" is_only_at hv1
soon "hv3 copies no more" not mirrors hv3 a
soon "hv1 copies no more" not mirrors hv1 b
soon "no copy is left" not has_copies hv3
ping_well a $IP4
xtrs_agree hv1 hv3
shown "a migration that failed is cancelled"

# An agent that dies with copies in its kernel takes them out when it is back, and makes them
# again as the map says.
prepare 1
xtr_stop hv3 KILL
xtr_start hv3
soon "hv3 copies again" mirrors hv3 a
has_one_copy ||
    fail "hv3 has a filter of its earlier run"
xtr_stop hv2 KILL
xtr_start hv2
soon "hv2 waits for b again" port_has_phase hv2 b pending
ctl port move b --cancel >/dev/null
shown "agents restart in the middle of a migration"

# By the target's agent alone, without a word to the map before: no copies, a few more lost.
ping_start a $IP4 0.001
go 1 rarp
soon "b is at hv2" is_only_at hv2
ping_stop
shown "without preparation: $lost of $((answered + lost)) pings lost, $(n_twice) twice"
[ "$(n_twice)" = 0 ] || fail "answers came twice"
vm_attach b hv1 red --pending
go 0 rarp
soon "b is at hv1" is_only_at hv1
soon "hv2 gives it up" port_has_phase hv2 b refused

migrate 1 rarp $IP4 a
migrate 0 garp $IP4 a
migrate 1 na $IP6 a
migrate 0 none $IP4 a
migrate 1 rarp $IP4 n
migrate 0 rarp $IP6 m
xtrs_agree hv1 hv2 hv3
for ip in $IP4 $IP6; do ping_well a $ip; done
