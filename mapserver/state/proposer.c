/* Each command once, though its map server may have sent it to several leaders.
 *
 * A map server sends a command again when it cannot know whether a leader that was lost has
 * logged it; it sends all that are open, in order.  So a command is new if it is the next one
 * of its incarnation, or the first of a later one, and everything else has been here or will
 * come again.  The rows lie among those of session.c; each is written once in a transaction. */
#include "state/command.h"
#include "state/key.h"

#define MARK     2  /* begins no node-id */
#define KEY_SIZE 9  /* mark, replica */
#define ROW_SIZE 16 /* incarnation, last seq */

static struct ms_blob row_key(uint8_t key[KEY_SIZE], uint64_t replica)
{
    key[0] = MARK;
    ms_write_u64(key + 1, replica);
    return ms_blob(key, KEY_SIZE);
}

static void load(struct ms_txn *txn, struct ms_blob key, uint64_t *ret_incarnation,
                 uint64_t *ret_seq)
{
    struct ms_blob row;
    *ret_incarnation = *ret_seq = 0;
    if (ms_txn_get(txn, MS_DB_SESSION, key, &row) || row.size != ROW_SIZE)
        return;
    *ret_incarnation = ms_read_u64(row.data);
    *ret_seq = ms_read_u64(row.data + 8);
}

static struct ms_progress *progress_of(struct ms_txn *txn, struct ms_proposers *proposers,
                                       uint64_t replica)
{
    uint8_t bytes[KEY_SIZE];
    for (size_t i = 0; i < proposers->n; i++)
        if (proposers->rows[i].replica == replica)
            return &proposers->rows[i];
    if (proposers->n == MS_PROPOSERS)
        ms_proposers_store(txn, proposers);
    struct ms_progress *row = &proposers->rows[proposers->n++];
    *row = (struct ms_progress){.replica = replica};
    load(txn, row_key(bytes, replica), &row->incarnation, &row->seq);
    return row;
}

bool ms_proposer_is_new(struct ms_txn *txn, struct ms_proposers *proposers,
                        const Eidmap__Proposer *proposer)
{
    struct ms_progress *row = progress_of(txn, proposers, proposer->replica);
    bool is_next = proposer->incarnation == row->incarnation && proposer->seq == row->seq + 1;
    bool is_first = proposer->incarnation > row->incarnation && proposer->seq == 1;
    if (!is_next && !is_first)
        return false;
    row->incarnation = proposer->incarnation;
    row->seq = proposer->seq;
    row->is_changed = true;
    return true;
}

void ms_proposers_store(struct ms_txn *txn, struct ms_proposers *proposers)
{
    for (size_t i = 0; i < proposers->n; i++) {
        const struct ms_progress *progress = &proposers->rows[i];
        uint8_t bytes[KEY_SIZE], row[ROW_SIZE];
        if (!progress->is_changed)
            continue;
        ms_write_u64(row, progress->incarnation);
        ms_write_u64(row + 8, progress->seq);
        ms_txn_put(txn, MS_DB_SESSION, row_key(bytes, progress->replica),
                   ms_blob(row, sizeof(row)));
    }
    proposers->n = 0;
}

int ms_apply_proposer(struct ms_store *store, uint64_t replica, uint64_t *ret_incarnation,
                      uint64_t *ret_seq)
{
    uint8_t bytes[KEY_SIZE];
    struct ms_reader *reader;
    int r = ms_reader_new(store, &reader);
    if (r)
        return r;
    r = ms_reader_begin(reader);
    if (r == 0) {
        load(&reader->txn, row_key(bytes, replica), ret_incarnation, ret_seq);
        ms_reader_end(reader);
    }
    ms_reader_free(reader);
    return r;
}
