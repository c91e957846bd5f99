#!/bin/sh
# The story of standby.sh over an IPv6 underlay.
# shellcheck shell=dash source=standby.sh
FAMILY=6
. "$(dirname "$0")/standby.sh"
