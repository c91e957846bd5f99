# Hypervisors with an Open vSwitch of their own, with the userspace (netdev) datapath, for the scene
# of lib.sh.
#
#            eth0 ─ br-phy (10.0.0.N, fd00::N)        tunnels leave by the bridge that has the
#                     ¦ as ovs-vswitchd routes         address they send from
#                   br-int ─ t-NAME ─ a "VM"
#
# Each host's database, sockets and logs are in $DIR/HOST.ovs.
# shellcheck shell=dash source=lib.sh

OVS_SCHEMA=/usr/share/openvswitch/vswitch.ovsschema

ovs_require() {
    command -v ovs-vswitchd >/dev/null || skip "needs openvswitch-switch"
    command -v ethtool >/dev/null || skip "needs ethtool"
    [ -c /dev/net/tun ] || skip "needs /dev/net/tun"
}

# HV ARGUMENTS...
vsctl() {
    local hv=$1
    shift
    ovs-vsctl --db="unix:$DIR/$hv.ovs/db.sock" --timeout=20 "$@"
}

# HV COMMAND ARGUMENTS...: an ovs-appctl command of its ovs-vswitchd.
vswitch() {
    local hv=$1
    shift
    ovs-appctl --target="$DIR/$hv.ovs/vswitchd.ctl" "$@"
}

# HV ARGUMENTS...: flows and ports of its br-int, as ovs-ofctl shows them.
ofctl() {
    local hv=$1 command=$2
    shift 2
    ovs-ofctl -O OpenFlow15 "$command" "unix:$DIR/$hv.ovs/br-int.mgmt" "$@"
}

ovsdb_start() {
    OVS_RUNDIR=$DIR/$1.ovs daemon_start "ovsdb-$1" "$1" ovsdb-server "$DIR/$1.ovs/conf.db" \
        --remote="punix:$DIR/$1.ovs/db.sock" --unixctl="$DIR/$1.ovs/server.ctl" \
        -vsyslog:off -vconsole:warn
    soon "ovsdb-server answers at $1" ovsdb_answers "$1"
}

ovsdb_answers() { vsctl "$1" --no-wait show >/dev/null 2>&1; }

ovsdb_stop() { daemon_stop "ovsdb-$1" KILL; }

vswitchd_start() {
    OVS_RUNDIR=$DIR/$1.ovs daemon_start "vswitchd-$1" "$1" ovs-vswitchd \
        "unix:$DIR/$1.ovs/db.sock" --disable-system --unixctl="$DIR/$1.ovs/vswitchd.ctl" \
        -vsyslog:off -vconsole:err
    soon "ovs-vswitchd answers at $1" vswitchd_answers "$1"
}

vswitchd_answers() { vswitch "$1" version >/dev/null 2>&1; }

vswitchd_stop() { daemon_stop "vswitchd-$1" KILL; }

# NAME: an Open vSwitch for a host that is there.
ovs_open() {
    mkdir "$DIR/$1.ovs"
    ovsdb-tool create "$DIR/$1.ovs/conf.db" $OVS_SCHEMA
    ovsdb_start "$1"
    vsctl "$1" --no-wait init
    vswitchd_start "$1"
}

# A device hands over frames whose checksum its peer was to compute, and nobody does in userspace.
no_offload() { on "$1" ethtool -K "$2" tx off >/dev/null; }

# HV N: eth0 goes into br-phy, and its addresses with it.
ovs_underlay() {
    local hv=$1
    vsctl "$hv" add-br br-phy -- set Bridge br-phy datapath_type=netdev \
        other_config:hwaddr="$(ip -n "$T$hv" -j link show eth0 | jq -r '.[0].address')" \
        -- add-port br-phy eth0
    ip -n "$T$hv" address flush dev eth0
    ip -n "$T$hv" link set eth0 up
    ip -n "$T$hv" address add "10.0.0.$2/$BITS" dev br-phy
    ip -n "$T$hv" address add "fd00::$2/64" dev br-phy nodad
    ip -n "$T$hv" link set br-phy up
    no_offload net "p-$hv"
}

# NAME N [LINES]: as xtr_open, for a hypervisor with an Open vSwitch; OVS_PLANE is its data plane.
# Who sends to it by TCP must not leave checksums out: the map server's host, say.
ovs_xtr_open() {
    "$MAPCTL" --pki "$DIR/pki" pki node "$1" >/dev/null
    underlay_host "$1" "$2"
    ovs_open "$1"
    ovs_underlay "$1" "$2"
    ovs_configure "$@"
    xtr_start "$1"
}

ovs_configure() {
    xtr_configure "$1" "$2" "dataplane: ${OVS_PLANE:-ovs}
ovs:
  db: unix:$DIR/$1.ovs/db.sock
  run_dir: $DIR/$1.ovs
  datapath_type: netdev
  ports: true
${3:-}"
}

# VM HV [KEY=VALUE...]: plugs the VM's tap into br-int as the port VM, with these external_ids; one
# that is there goes out and in again at once.
ovs_plug() {
    local name=$1 hv=$2 mac pair
    shift 2
    mac=$(awk '$1 == "--mac" { print $2 }' "$DIR/$name.vm")
    no_offload "$name" eth0
    for pair; do
        shift
        set -- "$@" "external_ids:${pair%%=*}=\"${pair#*=}\""
    done
    vsctl "$hv" --if-exists del-port "t-$name" -- add-port br-int "t-$name" \
        -- set Interface "t-$name" external_ids:iface-id="$name" \
        "external_ids:attached-mac=\"$mac\"" "$@"
}

ovs_unplug() { vsctl "$2" del-port br-int "t-$1"; }

# HV VM KEY: the value in external_ids of its tap; nothing if there is none.
external_id() { vsctl "$1" --if-exists get Interface "t-$2" "external_ids:$3" | tr -d '"'; }

is_marked() { [ "$(external_id "$1" "$2" eidmap-installed)" = true ]; }
