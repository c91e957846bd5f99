/* From argv to a command's row.  Options that every command takes may stand anywhere; a
 * command's own stand behind its name.  getopt_long() does the parsing, its complaints are
 * ours, so that every error is one line. */
#include "command.h"

#include "help.h"
#include "progress.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPTIONS   40
#define MAX_WORD      32
#define DEFAULT_MS    5000
#define LONG_BASE     256 /* getopt values of long options, above every letter */
#define MAX_TIMEOUT_S 86400

const struct ctl_option ctl_global_options[] = {
    {"server", 's', "SERVER", "map server, or several (see below)"},
    {"output", 'o', "FORMAT", "table or json"},
    {"timeout", 't', "SECONDS", "for an answer (5)"},
    {"pki", 0, "DIR", "directory with certificates"},
    {"ca", 0, "FILE", "certificate of the CA"},
    {"cert", 0, "FILE", "own certificate"},
    {"key", 0, "FILE", "its key"},
    {"help", 'h', NULL, "explain"},
    {"version", 'V', NULL, "print the version"},
    {NULL},
};

const struct ctl_family ctl_families[] = {
    {"pki", "Makes the certificates that a cluster needs", ctl_pki_commands},
    {"status", "Shows how a map server and its cluster are", ctl_status_commands},
    {"member", "Looks at the map servers of the cluster and changes them", ctl_member_commands},
    {"backup", "Copies the map into a file", ctl_backup_commands},
    {"restore", "Puts such a copy into a new cluster", ctl_restore_commands},
    {"network", "Looks at networks and changes them", ctl_network_commands},
    {"node", "Looks at the hosts that run an xTR and changes them", ctl_node_commands},
    {"port", "Looks at ports and changes them", ctl_port_commands},
    {"resolve", "Asks where an endpoint is", ctl_resolve_commands},
    {"watch", "Prints changes of the map", ctl_watch_commands},
    {"trace", "Says why two endpoints cannot talk", ctl_trace_commands},
    {"xtr", "Talks to the xTR on this host", ctl_xtr_commands},
    {NULL},
};

static void print_line(FILE *file, const char *prefix, const char *format, va_list args)
{
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        return;
    for (char *c = text; *c; c++)
        if (iscntrl((unsigned char)*c))
            *c = '?';
    fprintf(file, "%s%s\n", prefix, text);
    free(text);
}

enum ctl_exit ctl_fail(struct ctl *ctl, enum ctl_exit code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ctl_progress_clear(ctl);
    fflush(ctl->out);
    print_line(ctl->err, "mapctl: ", format, args);
    va_end(args);
    return code;
}

void ctl_say(struct ctl *ctl, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ctl_progress_clear(ctl);
    if (!ctl->is_json)
        print_line(ctl->out, "", format, args);
    va_end(args);
}

const char *ctl_option_next(const struct ctl *ctl, const char *name, size_t *pos)
{
    while (*pos < ctl->n_given) {
        const struct ctl_given *given = &ctl->given[(*pos)++];
        if (strcmp(given->option->name, name) == 0)
            return given->value;
    }
    return NULL;
}

const char *ctl_option(const struct ctl *ctl, const char *name)
{
    const char *last = NULL;
    size_t pos = 0;
    for (const char *value; (value = ctl_option_next(ctl, name, &pos));)
        last = value;
    return last;
}

bool ctl_has_options(const struct ctl *ctl)
{
    const size_t n_global = sizeof(ctl_global_options) / sizeof(ctl_global_options[0]);
    for (size_t i = 0; i < ctl->n_given; i++) {
        const struct ctl_option *option = ctl->given[i].option;
        if (option < ctl_global_options || option >= ctl_global_options + n_global)
            return true;
    }
    return false;
}

static bool parse_uint(const char *text, uint64_t *ret_value)
{
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end)
        return false;
    *ret_value = value;
    return true;
}

bool ctl_option_uint(struct ctl *ctl, const char *name, uint64_t min, uint64_t max, uint64_t *value)
{
    const char *text = ctl_option(ctl, name);
    uint64_t given;
    if (!text)
        return true;
    if (parse_uint(text, &given) && given >= min && given <= max) {
        *value = given;
        return true;
    }
    ctl_fail(ctl, CTL_USAGE, "--%s %s: expected a number from %llu to %llu", name, text,
             (unsigned long long)min, (unsigned long long)max);
    return false;
}

/* Edits that turn 'a' into 'b': insert, remove, replace (Levenshtein). */
static size_t distance(const char *a, const char *b)
{
    size_t row[MAX_WORD + 1];
    size_t len_b = strlen(b);
    assert(len_b <= MAX_WORD);
    for (size_t j = 0; j <= len_b; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            size_t shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < shift ? replace : shift;
        }
    }
    return row[len_b];
}

const char *ctl_nearest(const char *word, const char *const *names)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 2; /* farther is another word, not a slip */
    if (strlen(word) > MAX_WORD)
        return NULL;
    for (; *names; names++) {
        size_t d = distance(word, *names);
        if (d < best_distance) {
            best = *names;
            best_distance = d;
        }
    }
    return best;
}

static enum ctl_exit unknown(struct ctl *ctl, const char *word, const char *const *names)
{
    const char *nearest = ctl_nearest(word, names);
    const char *family = ctl->family ? ctl->family->name : "";
    const char *space = ctl->family ? " " : "";
    if (nearest)
        return ctl_fail(ctl, CTL_USAGE, "%s%s%s: no such command; did you mean \"%s%s%s\"?", family,
                        space, word, family, space, nearest);
    return ctl_fail(ctl, CTL_USAGE, "%s%s%s: no such command; \"mapctl%s%s --help\" lists them",
                    family, space, word, space, family);
}

static enum ctl_exit find_family(struct ctl *ctl, const char *word)
{
    const char *names[sizeof(ctl_families) / sizeof(ctl_families[0])] = {NULL};
    for (size_t i = 0; ctl_families[i].name; i++) {
        names[i] = ctl_families[i].name;
        if (strcmp(names[i], word) == 0) {
            ctl->family = &ctl_families[i];
            return CTL_DONE;
        }
    }
    return unknown(ctl, word, names);
}

static enum ctl_exit find_command(struct ctl *ctl, const char *word)
{
    const char *names[MAX_OPTIONS] = {NULL};
    const struct ctl_command *commands = ctl->family->commands;
    for (size_t i = 0; commands[i].name; i++) {
        assert(i < MAX_OPTIONS - 1);
        names[i] = commands[i].name;
        if (strcmp(names[i], word) == 0) {
            ctl->command = &commands[i];
            return CTL_DONE;
        }
    }
    return unknown(ctl, word, names);
}

/* All options that may stand here, in getopt's form. */
struct parser {
    const struct ctl_option *options[MAX_OPTIONS];
    size_t n_options;
    struct option longs[MAX_OPTIONS + 1];
    char letters[2 * MAX_OPTIONS + 3];
};

static void parser_add(struct parser *parser, const struct ctl_option *options)
{
    for (; options && options->name; options++) {
        size_t i = parser->n_options++;
        assert(i < MAX_OPTIONS);
        parser->options[i] = options;
        parser->longs[i] =
            (struct option){options->name, options->arg != NULL, NULL, LONG_BASE + (int)i};
        if (options->letter) {
            char letter[3] = {options->letter, options->arg ? ':' : '\0', '\0'};
            strcat(parser->letters, letter);
        }
    }
}

static const struct ctl_option *parser_find(const struct parser *parser, int value)
{
    if (value >= LONG_BASE)
        return parser->options[value - LONG_BASE];
    for (size_t i = 0; i < parser->n_options; i++)
        if (parser->options[i]->letter == value)
            return parser->options[i];
    return NULL;
}

static bool give(struct ctl *ctl, const struct ctl_option *option, const char *value)
{
    if (ctl->n_given == CTL_MAX_GIVEN) {
        ctl_fail(ctl, CTL_USAGE, "more than %d options", CTL_MAX_GIVEN);
        return false;
    }
    ctl->given[ctl->n_given++] = (struct ctl_given){option, value ? value : ""};
    return true;
}

/* argv[0] is passed over.  Without a command it stops at the first word, whose place in
 * argv is *ret_next; with one, the words move to the end. */
static bool parse_options(struct ctl *ctl, int argc, char **argv, int *ret_next)
{
    struct parser parser = {.letters = ":"};
    if (!ctl->command)
        strcpy(parser.letters, "+:");
    parser_add(&parser, ctl_global_options);
    if (ctl->command)
        parser_add(&parser, ctl->command->options);
    optind = 0; /* glibc: begin anew */
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, parser.letters, parser.longs, NULL)) != -1;) {
        const struct ctl_option *option = parser_find(&parser, c);
        if (option) {
            if (!give(ctl, option, optarg))
                return false;
            continue;
        }
        ctl_fail(ctl, CTL_USAGE,
                 c == ':' ? "%s needs a value; --help explains"
                          : "%s: no such option; --help lists them",
                 argv[optind - 1]);
        return false;
    }
    *ret_next = optind;
    return true;
}

static bool apply_timeout(struct ctl *ctl)
{
    uint64_t seconds = DEFAULT_MS / 1000;
    if (!ctl_option_uint(ctl, "timeout", 1, MAX_TIMEOUT_S, &seconds))
        return false;
    ctl->target.timeout_ms = (uint32_t)seconds * 1000;
    return true;
}

static bool apply_globals(struct ctl *ctl)
{
    const char *format = ctl_option(ctl, "output");
    if (format && strcmp(format, "table") != 0 && strcmp(format, "json") != 0) {
        ctl_fail(ctl, CTL_USAGE, "--output %s: expected \"table\" or \"json\"", format);
        return false;
    }
    ctl->is_json = format && strcmp(format, "json") == 0;
    ctl->target.servers = ctl_option(ctl, "server");
    ctl->target.pki = ctl_option(ctl, "pki");
    ctl->target.ca = ctl_option(ctl, "ca");
    ctl->target.cert = ctl_option(ctl, "cert");
    ctl->target.key = ctl_option(ctl, "key");
    ctl->target.xtr = ctl_option(ctl, "xtr");
    return apply_timeout(ctl);
}

static enum ctl_exit check_words(struct ctl *ctl)
{
    const struct ctl_command *command = ctl->command;
    const char *space = command->name[0] ? " " : "";
    if (ctl->n_words < command->min_words)
        return ctl_fail(ctl, CTL_USAGE, "%s%s%s: too few words; expected %s", ctl->family->name,
                        space, command->name, command->args);
    if (ctl->n_words > command->max_words)
        return ctl_fail(ctl, CTL_USAGE, "%s%s%s: unexpected \"%s\"; expected %s", ctl->family->name,
                        space, command->name, ctl->words[command->max_words],
                        command->args[0] ? command->args : "no more words");
    return CTL_DONE;
}

static bool wants_help(const struct ctl *ctl)
{
    return ctl_option(ctl, "help") || ctl_option(ctl, "version");
}

/* Passes over options to the next word, which must be there unless help is wanted. */
static bool next_word(struct ctl *ctl, int *argc, char ***argv)
{
    int next;
    if (!parse_options(ctl, *argc, *argv, &next))
        return false;
    *argc -= next;
    *argv += next;
    if (*argc > 0 || wants_help(ctl))
        return true;
    if (ctl->family)
        ctl_fail(ctl, CTL_USAGE, "%s: which of its commands? \"mapctl %s --help\" lists them",
                 ctl->family->name, ctl->family->name);
    else
        ctl_fail(ctl, CTL_USAGE, "no command given; \"mapctl --help\" lists them");
    return false;
}

/* Finds the command and parses all that follows; 'argc' is 0 when help was asked before. */
static enum ctl_exit parse(struct ctl *ctl, int argc, char **argv)
{
    int next;
    if (!next_word(ctl, &argc, &argv))
        return CTL_USAGE;
    if (argc == 0 || wants_help(ctl))
        return CTL_DONE;
    if (find_family(ctl, argv[0]))
        return CTL_USAGE;
    if (ctl->family->commands[0].name[0] == '\0') {
        ctl->command = &ctl->family->commands[0];
    } else {
        if (!next_word(ctl, &argc, &argv))
            return CTL_USAGE;
        if (argc == 0 || wants_help(ctl))
            return CTL_DONE;
        if (find_command(ctl, argv[0]))
            return CTL_USAGE;
    }
    if (!parse_options(ctl, argc, argv, &next))
        return CTL_USAGE;
    ctl->words = argv + next;
    ctl->n_words = (size_t)(argc - next);
    return CTL_DONE;
}

enum ctl_exit ctl_main(int argc, char **argv, FILE *out, FILE *err)
{
    struct ctl ctl = {.out = out, .err = err};
    enum ctl_exit code = parse(&ctl, argc, argv);
    if (code)
        return code;
    if (ctl_option(&ctl, "version")) {
        fputs("mapctl " EM_VERSION "\n", out);
        return CTL_DONE;
    }
    if (ctl_option(&ctl, "help")) {
        ctl_help(&ctl);
        return CTL_DONE;
    }
    if (!apply_globals(&ctl))
        return CTL_USAGE;
    code = check_words(&ctl);
    return code ? code : ctl.command->run(&ctl);
}
