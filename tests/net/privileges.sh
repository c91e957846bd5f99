#!/bin/sh
# The xTR as its systemd unit starts it: a user of its own with CAP_NET_ADMIN and CAP_NET_RAW
# and nothing else.  It makes networks, attaches, forwards, repairs and cleans up; and whom the
# socket's group lets in may attach, others may not even ask.
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

user=daemon group=games stranger=nobody

caps=-all,+net_admin,+net_raw
unprivileged="setpriv --reuid $user --regid $user --inh-caps $caps --ambient-caps $caps
    --bounding-set $caps --no-new-privs"
as_member="$unprivileged --groups $group"

# GROUP: as the stranger, who is in it.
attach_as() {
    on hv1 setpriv --reuid $stranger --regid "$1" --clear-groups --bounding-set -all \
        --inh-caps -all --no-new-privs "$DIR/bin/mapctl" xtr attach a --network red --dev t-a \
        --mac 02:00:00:00:00:01 --ip 192.168.7.1 --ip fd07::1 -S "$DIR/run/xtr.sock"
}

for name in $user $stranger; do
    getent passwd $name >/dev/null || skip "needs a user $name"
done
getent group $group >/dev/null || skip "needs a group $group"
scene_open
server_open
underlay_host hv1 1
"$MAPCTL" --pki "$DIR/pki" pki node hv1 >/dev/null
xtr_configure hv1 1
sed -i "s|^control:.*|control: {path: $DIR/run/xtr.sock, group: $group}|; s|^state_dir:.*|state_dir: $DIR/state|" \
    "$DIR/hv1.yaml"
mkdir "$DIR/bin" "$DIR/run" "$DIR/state"
cp "$XTR" "$MAPCTL" "$DIR/bin"
chmod 711 "$DIR" "$DIR/pki"
chown $user "$DIR/run" "$DIR/state" "$DIR/pki/node-hv1.key"
ln -s "$DIR/run/xtr.sock" "$DIR/hv1.sock"
xtr_open hv2 2
ctl network add red >/dev/null
vm a hv1 02:00:00:00:00:01 192.168.7.1 fd07::1
vm b hv2 02:00:00:00:00:02 192.168.7.2 fd07::2
vm_attach b hv2 red

# shellcheck disable=SC2086 # a list of words
! on hv1 $unprivileged --clear-groups "$DIR/bin/xtr" --config "$DIR/hv1.yaml" >"$DIR/out" 2>&1 ||
    fail "it gives its socket to a group that it is not in"
grep -q "control.group: $group: .*must be a member of it (SupplementaryGroups=" "$DIR/out" ||
    fail "it does not say what it lacks: $(cat "$DIR/out")"
shown "who may not give the socket to the group says how to"

# shellcheck disable=SC2086
daemon_start hv1 hv1 $as_member "$DIR/bin/xtr" --config "$DIR/hv1.yaml"
soon "the xTR answers" xtr_answers hv1
must "it is root" [ "$(stat -c %U "/proc/$(daemon_pid hv1)")" = $user ]
must "it has other capabilities" grep -q '^CapEff:.*0000000000003000$' "/proc/$(daemon_pid hv1)/status"

must "a stranger may attach" not attach_as nogroup
must "a stranger's attach has left something" [ "$(xtr_json hv1 length ports)" = 0 ]
attach_as $group >/dev/null || fail "a member of the group may not attach"
ping_well a 192.168.7.2
ping_well b fd07::1
xtrs_agree hv1 hv2
shown "without root it attaches and forwards, for whom the socket's group lets in"

on hv1 bridge fdb delete 02:00:00:00:00:02 dev "$(on hv1 bridge fdb show | awk '
    /^02:00:00:00:00:02 .* self/ { print $3; exit }')" self
must "the difference is not seen" not xtr_is_clean hv1
xtr hv1 check --repair >/dev/null || fail "it cannot repair"
ping_well a 192.168.7.2
xtr_stop hv1
# shellcheck disable=SC2086
on hv1 $as_member "$DIR/bin/xtr" --config "$DIR/hv1.yaml" --cleanup >"$DIR/out" 2>&1 ||
    fail "it cannot clean up: $(cat "$DIR/out")"
must "a vxlan device is left" [ -z "$(on hv1 ip -o link show type vxlan)" ]
shown "and repairs, and cleans up"
