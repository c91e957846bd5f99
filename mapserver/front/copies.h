/* Copies of the whole map, made to be fetched in pieces: by operators as a backup, by other
 * servers that are too far behind; and the way back, from a backup into a new cluster. */
#ifndef MS_COPIES_H
#define MS_COPIES_H

struct ms_copies;
struct ms_front;

/* Removes what an earlier run has left. */
struct ms_copies *ms_copies_new(struct ms_front *front, const char *dir);

/* After the workers have stopped: ends what is under way.  NULL is fine here and there. */
void ms_copies_stop(struct ms_copies *copies);

/* After the workers have taken the answers that were left. */
void ms_copies_free(struct ms_copies *copies);

/* Main loop, some times a second: copies that nobody fetches any more go. */
void ms_copies_tick(struct ms_copies *copies);

#endif
