#!/bin/sh
# The map server is lost, and a new one is given a backup of yesterday.  The agents come by
# themselves: what the backup has is taken, what it was too old for is kept until it is there.
#
#      ms (restored)  hv1            hv2
#                      a ── ping ──> b (not in the backup)
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

has_problem() { xtr_json "$1" '.problems[]' status | grep -q "$2"; }
has_no_doubts() { [ "$(xtr_json "$1" '.n_kept == 0 and (.problems | length) == 0' status)" = true ]; }
copy_is_there() { ctl network show red >/dev/null 2>&1; }

scene_open
server_open
for n in 1 2; do xtr_open hv$n $n; done
for name in red blue; do ctl network add $name >/dev/null; done
vm a hv1 02:00:00:00:00:01 192.168.7.1
vm b hv2 02:00:00:00:00:02 192.168.7.2
vm c hv2 02:00:00:00:00:03 192.168.7.3
vm_attach a hv1 red
vm_attach c hv2 red
ctl backup "$DIR/backup" >/dev/null 2>&1
vm_attach b hv2 red
ctl port register manual --network red --node hv2 --ip 192.168.7.9 --mac 02:00:00:00:00:09 >/dev/null
ping_well a 192.168.7.2
xtrs_agree hv1 hv2

ping_start a 192.168.7.2
server_stop KILL
rm -rf "$DIR/ms"
# A copy goes into an empty map only, and an agent that comes is a node in it.
cp "$DIR/ms.yaml" "$DIR/ms.all"
sed -i "s|^listen:.*|listen: [\"unix:$DIR/ms.sock\"]|" "$DIR/ms.yaml"
server_start
ctl restore "$DIR/backup" >/dev/null 2>&1
soon "the copy is in place" copy_is_there
server_stop
mv "$DIR/ms.all" "$DIR/ms.yaml"
server_start
for hv in hv1 hv2; do soon "$hv has taken the copy" grep -q 'is taken in place of the one before' "$DIR/$hv.log"; done
soon "b is in the map again" lives_at red 192.168.7.2 hv2
ping_lost_at_most 0 "a map server that was lost and restored"

# What an operator did after the backup is for him to do again, or to let go.
soon "hv1 tells what the copy has not: $(xtr_json hv1 '.problems[]' status)" has_problem hv1 'does not show 1 ports'
for hv in hv1 hv2; do xtr $hv accept red >/dev/null; done
for hv in hv1 hv2; do soon "$hv has no doubts any more" has_no_doubts $hv; done
xtrs_agree hv1 hv2
shown "the agents come by themselves, and keep what the copy was too old for"
