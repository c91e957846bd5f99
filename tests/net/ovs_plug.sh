#!/bin/sh
# What is plugged into Open vSwitch is on the map, without anybody who says so to the agent.
#
#      hv1                     hv2, dataplane: null
#     br-int: t-a t-b         br-int: t-c         192.168.7.1 and so on
# shellcheck shell=dash source=../support/net/lib.sh source=../support/net/ovs.sh
. "$(dirname "$0")/../support/net/lib.sh"
. "$(dirname "$0")/../support/net/ovs.sh"
set -eu

has_flow() { ofctl "$1" dump-flows --names --no-stats | grep -q "in_port=\"\?t-$2\"\?[ ,]"; }

at() { [ "$(where red "$2" 2>/dev/null | cut -d: -f1)" = "$1" ]; }
nowhere() { ! where red "$1" 2>/dev/null | grep -q hv; }
has_port() { xtr_json "$1" '.[].id' ports | grep -qx "$2"; }
has_problem() { xtr_json "$1" '.problems[]' status | grep -q "$2"; }
told() { grep -q "$2" "$DIR/$1.log"; }

ovs_require
scene_open
server_open
no_offload ms eth0
ctl network add red --subnet 192.168.7.0/24 >/dev/null
for n in 1 2; do
    plane=ovs
    [ $n = 1 ] || plane=null
    OVS_PLANE=$plane ovs_xtr_open hv$n $n
done
must "hv1 has made the bridge" [ "$(vsctl hv1 get Bridge br-int external_ids:eidmap)" = hv1 ]
soon "hv2 says that it has none" has_problem hv2 'has no bridge br-int'
vsctl hv2 add-br br-int -- set Bridge br-int datapath_type=netdev
soon "and when it has one, no more" not has_problem hv2 'has no bridge'

vm a hv1 02:00:00:00:00:01 192.168.7.1
ovs_plug a hv1 eidmap-network=red eidmap-ips=192.168.7.1
soon "a is on the map" at hv1 192.168.7.1
soon "a is installed" port_has_phase hv1 a installed
soon "that is marked on its interface" is_marked hv1 a
must "its flows stand then" has_flow hv1 a
must "with the time" [ "$(external_id hv1 a eidmap-installed-ts)" -gt 1600000000000 ]
must "its source is said" [ "$(xtr_json hv1 '.[] | select(.id == "a") | .source' ports)" = ovs ]
shown "an interface with iface-id, network and addresses is a port"

# As Nova does it: somebody registers the port, the hypervisor plugs no more than its id and MAC.
vm b hv1 02:00:00:00:00:02 192.168.7.2
ovs_plug b hv1
soon "without a record the problem is said" has_problem hv1 'port b on t-b: no network'
ctl port register b --network red --mac 02:00:00:00:00:02 --ip 192.168.7.2 >/dev/null
soon "b is on the map when it has been registered" at hv1 192.168.7.2
soon "b is marked" is_marked hv1 b
must "and the problem is over" not has_problem hv1 'port b'
has_eid() { xtr_json "$1" ".[] | select(.id == \"$2\") | .eids" ports | grep -qF "$3"; }
ctl port register b --network red --mac 02:00:00:00:00:02 --ip 192.168.7.2 --ip 192.168.7.22 \
    >/dev/null
soon "a change of the record changes the port" has_eid hv1 b 192.168.7.22
must "without a new attach" not told hv1 'port b: detached'
shown "what the interface does not say is taken from the port's record"

vm c hv2 02:00:00:00:00:03 192.168.7.3
ctl port register c --network red --mac 02:00:00:00:00:03 --ip 192.168.7.3 >/dev/null
ovs_plug c hv2 eidmap-ips="192.168.7.3 192.168.7.33"
soon "an address that the operator has not declared is refused" port_has_phase hv2 c refused
must "and not marked" not is_marked hv2 c
vsctl hv2 set Interface t-c external_ids:eidmap-ips=192.168.7.3
soon "without it, it is installed" port_has_phase hv2 c installed
soon "and marked" is_marked hv2 c
shown "a port that is refused is not marked as installed"

# The tap of an older VM was left behind: t-b again, under another name.
ip -n "${T}hv1" link add t-b2 type veth peer name b2
ip -n "${T}hv1" link set t-b2 up
vsctl hv1 add-port br-int t-b2 -- set Interface t-b2 external_ids:iface-id=b \
    external_ids:iface-id-ver=2 'external_ids:attached-mac="02:00:00:00:00:02"'
device_of() { xtr_json "$1" ".[] | select(.id == \"$2\") | .device" ports; }
is_on() { [ "$(device_of "$1" "$2")" = "$3" ]; }
soon "the newer interface is the port" is_on hv1 b t-b2
soon "the older is not marked any more" not is_marked hv1 b
soon "the log says so" told hv1 't-b2 .* came later, and t-b .* is passed over'
vsctl hv1 del-port t-b2
soon "when it goes the older one counts again" is_on hv1 b t-b
soon "and is marked" is_marked hv1 b
shown "of two interfaces with one iface-id the newer counts"

# Out and in again, before anybody has seen it gone.
n_installed() { grep -c 'port a: installed' "$DIR/hv1.log"; }
is_installed_again() { [ "$(n_installed)" -gt "$n_before" ]; }
n_before=$(n_installed)
ovs_plug a hv1 eidmap-network=red eidmap-ips=192.168.7.1
soon "it is installed again" is_installed_again
soon "a is marked, now that it is" is_marked hv1 a
must "and its flows are those of the new port" has_flow hv1 a
must "without being detached" not told hv1 'port a: detached'
shown "what is plugged anew is installed anew"

# Somebody attaches what is a port already: it is his, and stays when it is unplugged.
vm e hv1 02:00:00:00:00:05 192.168.7.5
ovs_plug e hv1 eidmap-network=red eidmap-ips=192.168.7.5
soon "e is installed" is_marked hv1 e
vm_attach e hv1 red
source_of() { xtr_json "$1" ".[] | select(.id == \"$2\") | .source" ports; }
must "e is the socket's" [ "$(source_of hv1 e)" = socket ]
vm d hv1 02:00:00:00:00:04 192.168.7.4
ovs_unplug e hv1
ovs_plug d hv1
soon "what came later has been seen" has_problem hv1 'port d on t-d'
ovs_unplug d hv1
must "e is still attached" has_port hv1 e
xtr hv1 detach e >/dev/null
shown "what somebody attaches is his"

# The database goes and comes back, changed.
ovsdb_stop hv1
soon "that is a problem" has_problem hv1 "database does not answer"
must "a stays" port_has_phase hv1 a installed
ovsdb_start hv1
soon "the problem is over" not has_problem hv1 "database does not answer"
must "a is still there" port_has_phase hv1 a installed
must "and was never detached" not told hv1 'port a: detached'
soon "a is marked" is_marked hv1 a
shown "a restart of ovsdb-server changes nothing"

# A port that has gone while the agent was away is withdrawn when it is back.
xtr_stop hv1 KILL
ovs_unplug b hv1
xtr_start hv1
soon "b has gone" not has_port hv1 b
soon "a is installed as before" port_has_phase hv1 a installed
must "a was not attached anew" not told hv1 'port a: detached'
shown "the agent finds what was plugged and unplugged without it"

# a goes to hv2, and its old tap stays in hv1: no evidence, nor when the agent starts anew.
ip -n "${T}hv2" link add t-a2 type veth peer name a2
ip -n "${T}hv2" link set t-a2 up
vsctl hv2 add-port br-int t-a2 -- set Interface t-a2 external_ids:iface-id=a \
    'external_ids:attached-mac="02:00:00:00:00:01"' external_ids:eidmap-network=red \
    external_ids:eidmap-ips=192.168.7.1
soon "a is on hv2 now" at hv2 192.168.7.1
soon "hv1 knows that" port_has_phase hv1 a refused
soon "and its interface is not marked" not is_marked hv1 a
vsctl hv1 set Interface t-a external_ids:eidmap-ips=192.168.7.11
ovs_plug d hv1 eidmap-network=red eidmap-ips=192.168.7.4
soon "what came later has been seen" port_has_phase hv1 d installed
must "a change of the old interface takes nothing back" port_has_phase hv1 a refused
must "a is on hv2" at hv2 192.168.7.1
xtr_stop hv1
xtr_start hv1
soon "hv1 still knows" port_has_phase hv1 a refused
must "a is on hv2" at hv2 192.168.7.1
shown "a tap that was left behind does not bring the port back"

# d migrates live: its interface at hv2 is there before the guest.
vm d2 hv2 02:00:00:00:00:04 192.168.7.4
ovs_plug d2 hv2 iface-id=d eidmap-network=red eidmap-ips=192.168.7.4 eidmap-pending=true
soon "d is pending at hv2" port_has_phase hv2 d pending
must "d is at hv1 as before" at hv1 192.168.7.4
must "the new interface is not marked" not is_marked hv2 d2
on d2 sysctl -qw net.ipv4.conf.eth0.arp_notify=1
# Gratuitous ARP, as Linux says it when a device comes up; it may come before the agent listens.
announces_until() {
    ip -n "${T}d2" link set eth0 down
    ip -n "${T}d2" link set eth0 up
    "$@"
}
soon "when the guest announces itself it is there" announces_until at hv2 192.168.7.4
soon "and marked" is_marked hv2 d2
soon "hv1 knows" port_has_phase hv1 d refused
vsctl hv2 set Interface t-d2 'external_ids:eidmap-ips="192.168.7.4 192.168.7.44"'
soon "an address more does not make it pending again" at hv2 192.168.7.44
must "it is installed" port_has_phase hv2 d installed
shown "a live migration ends when the guest is heard"

ovs_unplug a hv1
soon "it goes" not has_port hv1 a
must "a is on hv2" at hv2 192.168.7.1
vsctl hv2 del-port t-a2
soon "and from the map when it is unplugged there" nowhere 192.168.7.1
shown "what is unplugged is withdrawn"
