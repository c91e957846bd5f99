#!/bin/sh
# The story of standby.sh over an IPv6 underlay.
# shellcheck shell=dash source=standby.sh
export FAMILY=6 VM_MTU=1430
. "$(dirname "$0")/standby.sh"
