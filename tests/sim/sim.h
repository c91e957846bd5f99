/* A cluster in virtual time: engines with disks in memory, a network, and trouble.
 *
 * One seed is one run: everything random comes from one generator, so that a run can be
 * repeated.  After each step the invariants of Raft are checked (truth.h); after the last one
 * all faults end, and the cluster must come together again. */
#ifndef SIM_H
#define SIM_H

#include "base/buf.h"
#include "base/mem.h"
#include "raft/disk.h"
#include "rng.h"
#include "truth.h"

#define SIM_MAX      12 /* replicas in a run, those that are gone too */
#define SIM_MEMBERS  7  /* of them members at a time */
#define SIM_JOBS     64
#define SIM_ENDED_MS 3000 /* an offer is over when the other says for so long: not installing */

enum sim_mode { SIM_THREE, SIM_FIVE, SIM_GROW, SIM_MODES };

struct sim_config {
    uint64_t seed;
    unsigned steps;
    enum sim_mode mode;
    bool is_nasty; /* the network reorders, repeats and delivers late */
    bool is_verbose;
    unsigned guards_off;
};

struct sim_stats {
    uint64_t steps, committed, elections, crashes, installs, changes, transfers, messages;
    uint64_t compactions, reads, offers;
};

enum sim_event_kind {
    SIM_MESSAGE,     /* to 'to': bytes */
    SIM_FLUSH,       /* the turn of 'to' ends */
    SIM_WAKE,        /* 'to' is not busy any more */
    SIM_START,       /* 'to' is started again */
    SIM_LEADER_LOST, /* to 'to': the process of 'from' is gone */
    SIM_CAPTURE,     /* job 'arg': the sender reads its state */
    SIM_ARRIVE,      /* job 'arg': the receiver has it */
    SIM_OFFER_ENDED, /* job 'arg' */
    SIM_CLIENT,
    SIM_OPERATOR,
    SIM_HOUSEKEEPING, /* somewhere the state goes to the disk, and the log is shortened */
    SIM_TROUBLE,
    SIM_HEAL, /* partition 'arg' ends */
};

struct sim_event {
    uint64_t at_ms, order;
    enum sim_event_kind kind;
    unsigned from, to; /* places of replicas */
    uint64_t life;     /* of the process it is for; of the connection for SIM_MESSAGE */
    uint64_t arg;
    struct ms_payload *bytes;
};

enum sim_life { SIM_UP, SIM_DOWN, SIM_GONE };

struct sim_replica {
    struct sim *sim;
    unsigned place;
    uint64_t id;
    enum sim_life life;
    uint64_t n_lives; /* of processes: tells events of an older one */
    struct disk disk;
    struct ms_engine *engine;
    struct disk_state state; /* in memory; what is durable of it is disk.state */
    bool is_dying;           /* the crash has happened, within a call of the engine */
    bool is_flushing;        /* a SIM_FLUSH is on its way */
    uint64_t write_ms;       /* the disk took so long in this turn */
    uint64_t busy_until_ms;  /* hears nothing before */
    bool is_leader;
    uint64_t leader_term, commit;
    struct sim_event *inbox; /* what came while it was busy */
    size_t n_inbox, room_inbox;
    uint64_t generation; /* the last that was given out */
};

struct sim_link {
    bool is_cut;
    uint64_t life;    /* of the connection */
    uint64_t last_ms; /* when the last message arrives: no later one before it */
};

/* One transfer of the state. */
struct sim_job {
    bool is_open;
    unsigned from, to;
    uint64_t from_life;
    struct disk_state state;
};

struct sim {
    struct sim_config config;
    struct sim_stats stats;
    struct rng rng;
    struct truth truth;
    uint64_t now_ms, n_events;
    struct sim_event *events; /* a heap */
    size_t n, room;
    struct sim_replica replicas[SIM_MAX];
    unsigned n_replicas;
    struct sim_link links[SIM_MAX][SIM_MAX];
    uint64_t partition;
    struct sim_job jobs[SIM_JOBS];
    struct ms_engine_config engine;
    struct em_arena arena;
    bool compacts;                  /* logs are shortened */
    uint64_t client_ms, trouble_ms; /* at most so long until the next */
    uint64_t turn_ms;               /* at most so long from the first event of a turn to its end */
    uint64_t dies_of;               /* one of so many calls of an engine is its last */
    uint64_t end_ms; /* the faults end then, whatever the number of steps; 0: do not */
    uint64_t n_proposed, next_id;
    bool is_calm;   /* no faults any more */
    bool is_quiet;  /* no clients either */
    bool has_gone;  /* one lost its disk and is a member still */
    bool is_failed; /* 'why' says how */
    char why[256];
};

/* Runs one seed; false: 'sim->why'. */
bool sim_run(struct sim *sim, const struct sim_config *config);

void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_log(struct sim *sim, const struct sim_replica *replica, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* queue.c: what happens next */
struct sim_event *sim_at(struct sim *sim, uint64_t at_ms, enum sim_event_kind kind, unsigned to);
bool sim_next(struct sim *sim, uint64_t before_ms, struct sim_event *ret_event);
void sim_queue_fini(struct sim *sim);

/* net.c */
void sim_send(struct sim *sim, unsigned from, unsigned to, const struct raft_message *message,
              uint64_t delay_ms);
void sim_disconnect(struct sim *sim, unsigned place);
void sim_deliver(struct sim *sim, const struct sim_event *event);
void sim_cut_randomly(struct sim *sim);
void sim_heal(struct sim *sim);

/* replica.c: processes */
struct sim_replica *sim_add(struct sim *sim);
void sim_start(struct sim_replica *replica);
void sim_crash(struct sim_replica *replica);
void sim_wipe(struct sim_replica *replica);
void sim_free(struct sim_replica *replica);
/* After each event that it was given; 'r' is what the engine returned. */
void sim_after(struct sim_replica *replica, int r);
void sim_flush(struct sim_replica *replica);
bool sim_is_up(const struct sim_replica *replica);
struct sim_replica *sim_find(struct sim *sim, uint64_t id);

/* offer.c: the state on its way */
void sim_offer(struct sim_replica *replica, uint64_t to);
void sim_capture(struct sim *sim, uint64_t job);
void sim_arrive(struct sim *sim, uint64_t job);
void sim_offer_ended(struct sim *sim, uint64_t job);

/* people.c: clients, operators and bad luck */
struct sim_replica *sim_leader(struct sim *sim);
void sim_client(struct sim *sim);
void sim_operator(struct sim *sim);
void sim_housekeeping(struct sim *sim);
void sim_trouble(struct sim *sim);

#endif
