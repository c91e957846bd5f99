/* Help has no text of its own about a command: everything comes from the row that also parses
 * and runs it, so it cannot tell of an option that is not there. */
#include "help.h"

#include "base/wrap.h"

#include <string.h>

#define COLUMN 26 /* where explanations begin */

static void print_row(FILE *out, const char *left, const char *text)
{
    size_t at = (size_t)fprintf(out, "  %-*s ", COLUMN - 1, left);
    em_wrap(out, text, at, COLUMN + 2);
}

static void print_option(FILE *out, const struct ctl_option *option)
{
    char left[64];
    char letter[5] = "    ";
    if (option->letter)
        snprintf(letter, sizeof(letter), "-%c, ", option->letter);
    snprintf(left, sizeof(left), "%s--%s%s%s", letter, option->name, option->arg ? " " : "",
             option->arg ? option->arg : "");
    print_row(out, left, option->help);
}

static void print_options(FILE *out, const char *title, const struct ctl_option *options)
{
    if (!options)
        return;
    fprintf(out, "\n%s:\n", title);
    for (; options->name; options++)
        print_option(out, options);
}

static void print_lines(FILE *out, const char *text)
{
    for (const char *line = text; *line;) {
        size_t size = strcspn(line, "\n");
        fprintf(out, "  %.*s\n", (int)size, line);
        line += size + (line[size] == '\n');
    }
}

static void print_command(FILE *out, const struct ctl_family *family,
                          const struct ctl_command *command)
{
    fprintf(out, "mapctl %s%s%s %s\n\n%s.\n", family->name, command->name[0] ? " " : "",
            command->name, command->args, command->summary);
    if (command->detail)
        em_wrap(out, command->detail, 0, 0);
    print_options(out, "Options", command->options);
    fputs("\nExample:\n", out);
    print_lines(out, command->example);
    fputs("\n\"mapctl --help\" lists the options that every command takes.\n", out);
}

static void list_commands(FILE *out, const struct ctl_family *family)
{
    for (const struct ctl_command *c = family->commands; c->name; c++) {
        char left[32];
        snprintf(left, sizeof(left), "%s%s%s", family->name, c->name[0] ? " " : "", c->name);
        print_row(out, left, c->summary);
    }
}

static void print_family(FILE *out, const struct ctl_family *family)
{
    fprintf(out, "mapctl %s COMMAND\n\n%s.\n\nCommands:\n", family->name, family->summary);
    list_commands(out, family);
    fprintf(out, "\nExample:\n");
    print_lines(out, family->commands[0].example);
    fprintf(out, "\n\"mapctl %s COMMAND --help\" explains one.\n", family->name);
}

static void print_all(FILE *out)
{
    fputs("mapctl [-s SERVER] [-o table|json] COMMAND\n\n"
          "Looks at an endpoint map, changes it, and watches it.\n\nCommands:\n",
          out);
    for (const struct ctl_family *f = ctl_families; f->name; f++)
        list_commands(out, f);
    print_options(out, "Options", ctl_global_options);
    fputs("\nSERVER is ADDRESS:PORT or tls://ADDRESS:PORT, unix:PATH, or several with\n"
          "commas between.  ADDRESS is an IPv4 address or [IPv6]; names are not looked\n"
          "up.  Certificates: --pki DIR (ca.crt and the only operator-NAME.crt in it), or\n"
          "all of --ca, --cert and --key.  Environment: EIDMAP_SERVERS, EIDMAP_PKI,\n"
          "EIDMAP_CA, EIDMAP_CERT, EIDMAP_KEY; EIDMAP_XTR, the xTR's socket.\n"
          "\nExit code: 0 done, 1 refused or not found, 2 usage, 3 no server.\n"
          "\nExample:\n  mapctl network add blue --subnet 10.1.0.0/24\n"
          "  mapctl -s 192.0.2.10:4342 --pki ./pki resolve blue 10.1.0.5\n"
          "\n\"mapctl COMMAND --help\" explains a command.\n",
          out);
}

void ctl_help(const struct ctl *ctl)
{
    if (ctl->command)
        print_command(ctl->out, ctl->family, ctl->command);
    else if (ctl->family)
        print_family(ctl->out, ctl->family);
    else
        print_all(ctl->out);
}
