/* "xtr": the commands that the xTR of this host answers, over its unix socket. */
#include "xtr.h"

#include "target.h"

#define SOCKET_OPTION                                                                              \
    {                                                                                              \
        "xtr", 'S', "PATH", "the xTR's socket (" CTL_DEFAULT_XTR ")"                               \
    }

static const struct ctl_option socket_options[] = {
    SOCKET_OPTION,
    {NULL},
};

static const struct ctl_option attach_options[] = {
    SOCKET_OPTION,
    {"network", 'n', "NAME", "the network it is in"},
    {"mac", 0, "MAC", "may be repeated"},
    {"ip", 0, "ADDRESS", "address or prefix; may be repeated"},
    {"eid", 0, "EID", "any other: a DNS name, tcp/ADDRESS:PORT; may be repeated"},
    {"dev", 'd', "DEVICE", "the tap or veth of the endpoint on this host"},
    {"priority", 0, "N", "of this location: the lowest is used, 255 never (0)"},
    {"weight", 0, "N", "of this location: share among equal priorities (0)"},
    {"multihomed", 0, NULL, "stay beside the port's other locations"},
    {"pending", 0, NULL, "its guest is about to arrive by live migration"},
    {"no-wait", 0, NULL, "do not wait until it is installed"},
    {NULL},
};

static const struct ctl_option check_options[] = {
    SOCKET_OPTION,
    {"repair", 0, NULL, "put right what differs"},
    {NULL},
};

static const struct ctl_option trace_options[] = {
    SOCKET_OPTION,
    {"from", 0, "PORT", "the port on this host that sends"},
    {NULL},
};

static const struct ctl_option detach_options[] = {
    SOCKET_OPTION,
    {"wait", 0, NULL, "until the map has it here no more"},
    {NULL},
};

const struct ctl_command ctl_xtr_commands[] = {
    {"status", "", 0, 0, socket_options, ctl_xtr_run_status, "Show how the xTR is", NULL,
     "mapctl xtr status"},
    {"ports", "", 0, 0, socket_options, ctl_xtr_run_ports, "List the ports on this host", NULL,
     "mapctl xtr ports"},
    {"cache", "[NETWORK]", 0, 1, socket_options, ctl_xtr_run_cache, "List the map-cache",
     "JSON has the networks and nodes, too.\n", "mapctl xtr cache blue"},
    {"nodes", "", 0, 0, socket_options, ctl_xtr_run_nodes,
     "List the other nodes, as the xTR sees them",
     "MAP is the state by the map.  PROBE is \"up\" for a node that answers probes, \"refused\"\n"
     "for one whose kernel answers and whose agent is away, \"silent\" for one that has answered\n"
     "and does not any more, and \"unknown\" for one that never has.\n",
     "mapctl xtr nodes"},
    {"attach", "PORT --network NAME --mac MAC --ip ADDRESS --dev DEVICE", 1, 1, attach_options,
     ctl_xtr_run_attach, "Put a port on this host into the map",
     "Waits until the map has it and the kernel has every entry; -t is for how long.\n"
     "With --pending the device only goes into the network.  The port is taken over when the\n"
     "guest announces itself there (RARP, gratuitous ARP, unsolicited neighbour advertisement),\n"
     "when 'mapctl port move --activate' says so, or by an attach without --pending.\n",
     "mapctl xtr attach web-1 --network blue --mac 52:54:00:00:00:01 \\\n"
     "       --ip 10.1.0.5 --dev tap0"},
    {"detach", "PORT [--wait]", 1, 1, detach_options, ctl_xtr_run_detach,
     "Take a port of this host out of the map",
     "The xTR withdraws it at once, or when there is a map server again; with --wait the\n"
     "command ends when that is done, for as long as -t says, also where the port was\n"
     "detached before.\n",
     "mapctl xtr detach web-1 --wait"},
    {"check", "[--repair]", 0, 0, check_options, ctl_xtr_run_check,
     "Compare the map-cache with the kernel",
     "Prints every entry that differs; exit code 1 if there is one that was not repaired.\n"
     "The agent does so by itself, and repairs, as often as its option 'reconcile' says.\n",
     "mapctl xtr check --repair"},
    {"accept", "[NETWORK]", 0, 1, socket_options, ctl_xtr_run_accept,
     "Take a map that shows much less than was known",
     "After a map server has shown much less than it had before, the xTR keeps what it knew,\n"
     "in case that the server was wiped; 'mapctl xtr status' tells it.  This lets it go, in one\n"
     "network or everywhere.  Where the server has a new database, all of that is taken.\n",
     "mapctl xtr accept blue"},
    {"trace", "NETWORK EID [--from PORT]", 2, 2, trace_options, ctl_xtr_run_trace,
     "Say what a packet to an EID meets on this host",
     "Step by step: the map-cache, what a map server says of the same entry, why a location is\n"
     "chosen, the kernel's entries, the way to the other host.  An EID is a MAC, an address or\n"
     "port:ID.  Exit code 1 if a step is wrong.\n",
     "mapctl xtr trace blue 10.1.0.12 --from vm1"},
    {NULL},
};
