#!/bin/sh
# rehome.sh on an underlay of IPv6.
# shellcheck shell=dash source=rehome.sh
export FAMILY=6
. "$(dirname "$0")/rehome.sh"
