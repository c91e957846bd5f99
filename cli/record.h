/* The map's records as text for table cells, and as JSON.
 *
 * JSON has every field of a record, under the protocol's names; enums are their names in
 * lower case, addresses their text. */
#ifndef CTL_RECORD_H
#define CTL_RECORD_H

#include "eidmap.h"
#include "output.h"

/* A value of an enum and its name; rows end with a name of NULL. */
struct ctl_name {
    int value;
    const char *name;
};

extern const struct ctl_name ctl_network_types[];
extern const struct ctl_name ctl_floods[];
extern const struct ctl_name ctl_fills[];
extern const struct ctl_name ctl_encaps[];
extern const struct ctl_name ctl_node_states[];
extern const struct ctl_name ctl_actions[];

/* "?" for a value that is not there. */
const char *ctl_name_of(const struct ctl_name *names, int value);
/* The value, or -1. */
int ctl_name_find(const struct ctl_name *names, const char *name);

/* Table cells: words with spaces between, "-" for none.  free() them. */
char *ctl_eids_text(const struct em_eid *eids, size_t n);
/* "hv1:5001 hv2:5001(p1,w50)": what is not the default stands in brackets. */
char *ctl_locations_text(const struct em_location *locations, size_t n);
/* The nodes alone: "hv1 hv2". */
char *ctl_places_text(const struct em_location *locations, size_t n);
/* The location's node, or "any-local". */
const char *ctl_place_name(const struct em_location *location);
char *ctl_location_text(const struct em_location *location);
char *ctl_rlocs_text(const struct em_rloc *rlocs, size_t n);
char *ctl_labels_text(const struct em_label *labels, size_t n);
char *ctl_words_text(const char *const *words, size_t n);
/* "declared multihomed". */
char *ctl_port_flags_text(const struct em_port *port);
char *ctl_children_text(const struct em_port *port); /* "TAG:PORT TAG:PORT" */
char *ctl_node_state_text(const struct em_node *node);
char *ctl_port_id_text(const struct em_port_id *id);
/* "-" for NULL and "". */
char *ctl_text(const char *text);
char *ctl_uint_text(uint64_t value);
/* "3d 4h", "12m 5s", "0.250s". */
char *ctl_duration_text(uint64_t ms);
/* "1.5 GiB". */
char *ctl_size_text(uint64_t bytes);
/* Local time of day, "15:04:05.123"; returns 'text'. */
#define CTL_CLOCK_TEXT 16
char *ctl_clock_text(char text[CTL_CLOCK_TEXT]);
/* 32 hexadecimal digits. */
char *ctl_hex_text(const uint8_t bytes[16]);

void ctl_json_eid(struct ctl_json *json, const char *key, const struct em_eid *eid);
void ctl_json_eids(struct ctl_json *json, const char *key, const struct em_eid *eids, size_t n);
void ctl_json_rlocs(struct ctl_json *json, const char *key, const struct em_rloc *rlocs, size_t n);
void ctl_json_words(struct ctl_json *json, const char *key, const char *const *words, size_t n);
void ctl_json_port_id(struct ctl_json *json, const char *key, const struct em_port_id *id);
void ctl_json_port(struct ctl_json *json, const char *key, const struct em_port *port);
void ctl_json_node(struct ctl_json *json, const char *key, const struct em_node *node);
void ctl_json_network(struct ctl_json *json, const char *key, const struct em_network *network);

#endif
