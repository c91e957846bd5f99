#!/bin/sh
# The xTR beside Open vSwitch as its systemd unit and xtr-ovs.conf start it: a user of its own with
# three capabilities.  Without the third it says what it may not.
#
#      hv1: br-int: t-a
# shellcheck shell=dash source=../support/net/lib.sh source=../support/net/ovs.sh
. "$(dirname "$0")/../support/net/lib.sh"
. "$(dirname "$0")/../support/net/ovs.sh"
set -eu

# CAPABILITIES: those of the unit, too, and no other.
start_with() {
    daemon_start hv1 hv1 setpriv --reuid daemon --regid games --clear-groups \
        --inh-caps "-all,+net_admin,+net_raw$1" --ambient-caps "-all,+net_admin,+net_raw$1" \
        --bounding-set "-all,+net_admin,+net_raw$1" --no-new-privs \
        "$DIR/bin/xtr" --config "$DIR/hv1.yaml"
}

told() { grep -q "$1" "$DIR/hv1.log"; }

ovs_require
for name in daemon games; do
    getent passwd $name >/dev/null || skip "needs a user $name"
done
scene_open
server_open
no_offload ms eth0
ctl network add red --subnet 192.168.7.0/24 >/dev/null
"$MAPCTL" --pki "$DIR/pki" pki node hv1 >/dev/null
underlay_host hv1 1
ovs_open hv1
ovs_underlay hv1 1
ovs_configure hv1 1
sed -i "s|^control:.*|control: {path: $DIR/run/xtr.sock}|; s|^state_dir:.*|state_dir: $DIR/state|" \
    "$DIR/hv1.yaml"
mkdir "$DIR/bin" "$DIR/run" "$DIR/state"
cp "$XTR" "$DIR/bin"
chmod 711 "$DIR" "$DIR/pki"
chown daemon "$DIR/run" "$DIR/state" "$DIR/pki/node-hv1.key"
ln -s "$DIR/run/xtr.sock" "$DIR/hv1.sock"
vm a hv1 02:00:00:00:00:01 192.168.7.1

start_with ""
soon "it says what it may not" told 'its socket is not open'
code=0
daemon_end hv1 TERM 2>/dev/null || code=$?
must "it has ended" [ $code = 1 ]
shown "without a right to Open vSwitch's sockets it ends and says so"

start_with ,+dac_override
soon "the xTR answers" xtr_answers hv1
ovs_plug a hv1 eidmap-network=red eidmap-ips=192.168.7.1
soon "a is installed" port_has_phase hv1 a installed
soon "and marked" is_marked hv1 a
must "it is on the map" [ "$(where red 192.168.7.1 | cut -d: -f1)" = hv1 ]
shown "with it, and without root, ports are plugged and forwarded"
