#!/bin/sh
# An underlay that cannot be used stops xtr at its start, with a sentence that says what
# to change; and so does a configuration that is wrong.
#
#      hv1 (10.0.0.1), no map server
# shellcheck shell=dash source=../support/net/lib.sh
. "$(dirname "$0")/../support/net/lib.sh"
set -eu

scene_open
"$MAPCTL" --pki "$DIR/pki" pki node hv1 >/dev/null
underlay_host hv1 1

# WHAT PATTERN [COMMAND...]: xtr ends by itself, not with 0, and says it.
refuses() {
    local what=$1 pattern=$2 code=0
    shift 2
    on hv1 timeout 20 "$@" "$XTR" --config "$DIR/hv1.yaml" >"$DIR/out" 2>&1 || code=$?
    case $code in
    0 | 124 | 13[0-9]) fail "$what: xtr ended with $code: $(cat "$DIR/out")" ;;
    esac
    grep -qE "$pattern" "$DIR/out" || fail "$what: no /$pattern/ in: $(cat "$DIR/out")"
    [ "$(wc -l <"$DIR/out")" -le 3 ] || fail "$what: more than a sentence: $(cat "$DIR/out")"
    shown "$what: $(tail -n 1 "$DIR/out")"
}

xtr_configure hv1 1
sed -i 's/^rloc:.*/rloc: ["10.9.9.9"]/' "$DIR/hv1.yaml"
refuses "an RLOC that no interface has" '10\.9\.9\.9'

xtr_configure hv1 1
daemon_start cap-taken hv1 perl -MSocket -e '
    socket(S, PF_INET, SOCK_DGRAM, 0) and bind(S, sockaddr_in(4789, INADDR_ANY)) or die $!;
    $| = 1; print "bound\n"; sleep 600;'
soon "the port is taken" grep -q bound "$DIR/cap-taken.log"
refuses "a UDP port that is taken" '4789'
daemon_end cap-taken KILL || true

xtr_configure hv1 1
refuses "no permission" 'CAP_NET_ADMIN|permi' \
    setpriv --bounding-set -all --inh-caps -all

xtr_configure hv1 1
sed -i 's/^rloc:/rlok:/' "$DIR/hv1.yaml"
refuses "a key that is not known" "hv1.yaml:4:1: .*rlok"

# The control: the same configuration, unspoilt, runs.
xtr_configure hv1 1
xtr_start hv1
shown "unspoilt, it runs"
