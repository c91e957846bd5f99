/* Commands as rows: parsed, explained and run from the same table. */
#ifndef CTL_COMMAND_H
#define CTL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct em_call;

enum ctl_exit {
    CTL_DONE = 0,
    CTL_REFUSED = 1, /* or not found */
    CTL_USAGE = 2,
    CTL_NO_SERVER = 3,
};

struct ctl;

/* Rows end with a name of NULL. */
struct ctl_option {
    const char *name; /* long form */
    char letter;      /* short form, or 0 */
    const char *arg;  /* what its value is, for help; NULL: a flag */
    const char *help;
};

struct ctl_command {
    const char *name; /* "" where the family has no second word */
    const char *args; /* "NAME [--vni N]" */
    size_t min_words;
    size_t max_words;                 /* SIZE_MAX: any number */
    const struct ctl_option *options; /* NULL: none of its own */
    enum ctl_exit (*run)(struct ctl *ctl);
    const char *summary; /* a few words */
    const char *detail;  /* sentences, or NULL; help breaks their lines anew */
    const char *example; /* a line, or several */
};

struct ctl_family {
    const char *name;
    const char *summary;
    const struct ctl_command *commands;
};

struct ctl_given {
    const struct ctl_option *option;
    const char *value; /* "" of a flag; lent from argv */
};

#define CTL_MAX_GIVEN 256

/* Where to ask, and as whom; NULL: the default (see target.c).  Lent from argv. */
struct ctl_target {
    const char *servers;
    const char *ca, *cert, *key;
    const char *pki;
    const char *xtr;
    uint32_t timeout_ms;
};

/* Of progress.h. */
struct ctl_progress {
    const char *phase; /* of the last line; static storage */
    uint64_t shown_ms;
    bool is_shown; /* on a terminal */
};

/* One run of mapctl. */
struct ctl {
    FILE *out;
    FILE *err;
    bool is_json;
    struct ctl_target target;
    const struct ctl_family *family;
    const struct ctl_command *command;
    char **words; /* after the command's name */
    size_t n_words;
    struct ctl_given given[CTL_MAX_GIVEN];
    size_t n_given;
    bool is_following; /* goes on until a signal: set before ctl_open() */
    /* Of call.h: */
    struct em_call *call;
    char subject[80]; /* what a refusal is about: "port web-1" */
    enum ctl_exit exit;
    bool is_waiting;
    unsigned n_heard; /* parts of a long answer */
    struct ctl_progress progress;
};

extern const struct ctl_family ctl_families[];
extern const struct ctl_option ctl_global_options[];

extern const struct ctl_command ctl_pki_commands[];
extern const struct ctl_command ctl_status_commands[];
extern const struct ctl_command ctl_member_commands[];
extern const struct ctl_command ctl_backup_commands[];
extern const struct ctl_command ctl_restore_commands[];
extern const struct ctl_command ctl_network_commands[];
extern const struct ctl_command ctl_node_commands[];
extern const struct ctl_command ctl_port_commands[];
extern const struct ctl_command ctl_resolve_commands[];
extern const struct ctl_command ctl_watch_commands[];
extern const struct ctl_command ctl_trace_commands[];
extern const struct ctl_command ctl_xtr_commands[];

/* All of mapctl but the process: what main() calls, and tests. */
enum ctl_exit ctl_main(int argc, char **argv, FILE *out, FILE *err);

/* One line "mapctl: ..." on ctl->err, with control characters shown as '?'; gives 'code'. */
enum ctl_exit ctl_fail(struct ctl *ctl, enum ctl_exit code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One line on ctl->out: what has changed.  Silent when JSON is wanted. */
void ctl_say(struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The last value given to a command's option ("" of a flag), or NULL. */
const char *ctl_option(const struct ctl *ctl, const char *name);

/* Was any of the command's own options given? */
bool ctl_has_options(const struct ctl *ctl);

/* The values in turn; '*pos' begins at 0.  NULL at the end. */
const char *ctl_option_next(const struct ctl *ctl, const char *name, size_t *pos);

/* 'min' .. 'max' into *value, which stays as it is when the option was not given; false
 * after it has complained. */
bool ctl_option_uint(struct ctl *ctl, const char *name, uint64_t min, uint64_t max,
                     uint64_t *value);

/* The word that is most like 'word', or NULL if none is near.  'names' ends with NULL. */
const char *ctl_nearest(const char *word, const char *const *names);

#endif
