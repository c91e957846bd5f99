# A port "v" that is at several hypervisors at once, and what their agents see of each other.
# Sourced after lib.sh; the network is red.
# shellcheck shell=dash

# HV [OPTIONS]: v behind this one, in a namespace v-HV; with MAC and addresses as everywhere.
place_open() {
    local hv=$1
    shift
    vm "v-$hv" "$hv" 02:00:00:00:00:05 192.168.7.5 fd07::5
    xtr "$hv" attach v --network red --dev "t-v-$hv" --mac 02:00:00:00:00:05 \
        --ip 192.168.7.5 --ip fd07::5 --multihomed "$@" >/dev/null
}

# HV: frames that have come to v there.
place_frames() { on "v-$1" cat /sys/class/net/eth0/statistics/rx_packets; }

place_has() { [ "$(place_frames "$1")" -ge "$2" ]; }

# HV: traffic to v goes there now.
place_is_used() {
    soon "v at $1 gets the traffic" place_has "$1" $(($(place_frames "$1") + 10))
}

# NODE STATE, by the map.
node_has_state() { [ "$(ctl_json .state node show "$1")" = "$2" ]; }

# HV NODE STATE, by the probes of HV.
probe_is() { [ "$(xtr_json "$1" ".[] | select(.id == \"$2\") | .probe" nodes)" = "$3" ]; }

# HV NODE...: all of them answer its probes.
probes_are_up() {
    local hv=$1 node
    shift
    for node; do soon "$node answers the probes of $hv" probe_is "$hv" "$node" up; done
}
