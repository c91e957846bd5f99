/* Why not LMDB: a durable commit of it is two synced writes, one after the other (pages, then the
 * meta page), and a B-tree is work for what is only appended.  Here a write is one record, one
 * pwrite() and one fdatasync().
 *
 * Each record says all that holds from it on except the entries before its own; so the
 * segments that hold no entry of the log any more can go, oldest first, and nothing needs a
 * checkpoint.  The entries' places are in memory, 24 bytes each.
 *
 * The next segment is made by a thread while this one fills; it is the file of a segment that
 * has gone, where there is one.  Only when that thread is late or fails is it made here.
 *
 * At a start, the first record that is not whole ends the log: it is a write that was never
 * acknowledged.  Were it an older one, a later one would follow somewhere, and that is damage:
 * the start is refused.  (A last record that the disk has spoilt afterwards looks like one
 * that was not finished.  No log can tell.) */
#include "core/log.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/wal.h"
#include "eidmap/error.h"
#include "state/store.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SEGMENT_SIZE ((uint64_t)8 << 20)
#define MIB          ((uint64_t)1 << 20)
#define FREE_PART    16 /* a segment takes at most this part of the free space */
#define N_OLD_MAX    2  /* files that are kept to become the next segments */

struct place {
    uint64_t term;
    uint32_t segment, offset, sum;
    uint32_t type : 3, size : 29;
};

/* What the thread does: removes segments, then makes the next. */
struct job {
    pthread_t thread;
    bool is_running;
    atomic_bool is_done;
    int dir_fd;
    uint32_t drop, n_drop, recycle;
    struct ms_wal_segment segment; /* number 0: makes none */
    int err;
};

struct ms_log {
    char *path;
    int dir_fd; /* locked */
    int err;    /* of the write that failed */
    bool is_loaded;
    uint64_t replica;
    struct ms_wal_record now; /* the last one */
    void *members;
    size_t members_size;
    struct place *places; /* of the entries from 'base' on; while loading, older ones lack */
    size_t skip, n, room; /* places[skip .. skip + n - 1] are in use */
    uint64_t base;
    uint32_t oldest;                     /* number of the oldest file */
    uint32_t *sizes;                     /* of the segments oldest .. current */
    struct ms_wal_segment current, next; /* fd -1: none */
    struct ms_wal_segment read;          /* where ms_log_read() was last */
    uint64_t end;                        /* of the last record in the current one */
    uint64_t prepare_at;                 /* then the next one is made */
    struct job job;
    uint8_t *buf;
    size_t buf_size;
};

/* Codes of the files are -errno, those of the log are eidmap's. */
static int translate(int err)
{
    if (err == -ENOSPC || err == -EDQUOT)
        return EM_E_NO_SPACE;
    return err ? EM_E_STORAGE : 0;
}

static void close_segment(struct ms_wal_segment *segment)
{
    if (segment->fd >= 0)
        close(segment->fd);
    segment->fd = -1;
}

/* ---- entries --------------------------------------------------------------------------- */

static void drop_front(struct ms_log *log, uint64_t first)
{
    size_t n = first > log->base ? (size_t)(first - log->base) : 0;
    n = n < log->n ? n : log->n;
    log->base += n;
    log->n -= n;
    log->skip += n;
    if (log->skip <= log->n)
        return;
    memmove(log->places, log->places + log->skip, log->n * sizeof(*log->places));
    log->skip = 0;
}

static struct place *new_places(struct ms_log *log, size_t n)
{
    if (n == 0)
        return NULL;
    if (log->skip + log->n + n > log->room) {
        log->room = (log->skip + log->n + n) * 2;
        log->places = em_realloc(log->places, log->room * sizeof(*log->places));
    }
    log->n += n;
    return log->places + log->skip + log->n - n;
}

/* What the record says holds now. */
static void follow(struct ms_log *log, const uint8_t *bytes, const struct ms_wal_record *record,
                   uint32_t segment, uint64_t at)
{
    uint64_t own = record->next - record->n_entries;
    uint64_t offset = at + MS_WAL_ENTRIES + record->n_entries * sizeof(struct ms_wal_entry);
    if (record->has_members) {
        free(log->members);
        log->members = em_memdup(bytes + (offset - at), record->members_size);
        log->members_size = record->members_size;
    }
    offset += record->members_size;
    if (own < log->base || own > log->base + log->n) {
        log->skip = log->n = 0;
        log->base = own;
    }
    log->n = own - log->base;
    struct place *places = new_places(log, record->n_entries);
    for (size_t i = 0; i < record->n_entries; i++) {
        struct ms_wal_entry entry = ms_wal_entry_at(bytes, i);
        places[i] = (struct place){
            .term = entry.term,
            .segment = segment,
            .offset = (uint32_t)offset,
            .sum = (uint32_t)entry.sum,
            .type = (unsigned)entry.type & 7,
            .size = (unsigned)entry.size & 0x1fffffff,
        };
        offset += entry.size;
    }
    drop_front(log, record->first);
    log->now = *record;
}

int ms_log_read(struct ms_log *log, uint64_t index, struct ms_payload **ret_payload)
{
    if (index < log->base || index - log->base >= log->n)
        return EM_E_NOT_FOUND;
    const struct place *place = &log->places[log->skip + (index - log->base)];
    if (log->read.fd < 0 || log->read.number != place->segment) {
        close_segment(&log->read);
        int r = ms_wal_open(log->dir_fd, place->segment, &log->read);
        if (r) {
            log->read.fd = -1;
            return translate(r);
        }
    }
    struct ms_payload *payload = ms_payload_new(NULL, place->size);
    int r = ms_wal_pread(log->read.fd, payload->data, place->size, place->offset);
    if (r == 0 && em_crc32c(0, payload->data, place->size) != place->sum)
        r = EM_E_STORAGE;
    if (r)
        ms_payload_unref(payload);
    else
        *ret_payload = payload;
    return translate(r);
}

/* ---- segments -------------------------------------------------------------------------- */

static uint32_t choose_size(int dir_fd)
{
    struct statvfs vfs;
    uint64_t size = SEGMENT_SIZE;
    if (fstatvfs(dir_fd, &vfs) == 0 && vfs.f_bavail * vfs.f_frsize / FREE_PART < size)
        size = vfs.f_bavail * vfs.f_frsize / FREE_PART / MIB * MIB;
    return (uint32_t)(size < MS_WAL_SEGMENT_MIN ? MS_WAL_SEGMENT_MIN : size);
}

static void *run_job(void *aux)
{
    struct job *job = aux;
    char name[MS_WAL_NAME];
    pthread_setname_np(pthread_self(), "log files");
    for (uint32_t i = 0; i < job->n_drop; i++) {
        ms_wal_name(job->drop + i, name);
        unlinkat(job->dir_fd, name, 0); /* else the next start does */
    }
    if (job->segment.number)
        job->err = ms_wal_make(job->dir_fd, job->recycle, &job->segment);
    atomic_store(&job->is_done, true);
    return NULL;
}

static uint32_t n_old(const struct ms_log *log)
{
    uint32_t needed = log->n ? log->places[log->skip].segment : log->current.number;
    return needed - log->oldest;
}

static void take_out(struct ms_log *log, uint32_t n)
{
    log->oldest += n;
    memmove(log->sizes, log->sizes + n,
            (log->current.number - log->oldest + 1) * sizeof(*log->sizes));
}

/* What is to be done, if anything; takes the files out of the books. */
static bool plan_job(struct ms_log *log, bool is_due, uint64_t least, struct job *job)
{
    uint32_t n = n_old(log);
    if (!is_due && n <= N_OLD_MAX)
        return false;
    job->dir_fd = log->dir_fd;
    job->drop = log->oldest;
    job->n_drop = n > N_OLD_MAX ? n - N_OLD_MAX : 0;
    job->recycle = 0;
    job->segment = (struct ms_wal_segment){.fd = -1};
    job->err = 0;
    atomic_store(&job->is_done, false);
    if (is_due) {
        uint32_t size = choose_size(log->dir_fd);
        job->segment.number = log->current.number + 1;
        job->segment.size = size < least ? (uint32_t)least : size;
        job->segment.replica = log->replica;
        while (job->n_drop < n && log->sizes[job->n_drop] < job->segment.size)
            job->n_drop++;
        if (job->n_drop < n)
            job->recycle = log->oldest + job->n_drop;
    }
    take_out(log, job->n_drop + (job->recycle != 0));
    return true;
}

static int take_result(struct ms_log *log)
{
    if (log->job.segment.number && log->job.err == 0)
        log->next = log->job.segment;
    else if (log->job.err) /* perhaps there is room a little later */
        log->prepare_at = log->end + (log->current.size - log->end) / 2;
    return log->job.err;
}

static void end_job(struct ms_log *log)
{
    if (!log->job.is_running)
        return;
    pthread_join(log->job.thread, NULL);
    log->job.is_running = false;
    take_result(log);
}

static void tidy(struct ms_log *log)
{
    if (log->job.is_running && !atomic_load(&log->job.is_done))
        return;
    end_job(log);
    bool is_due = log->next.fd < 0 && log->end >= log->prepare_at;
    if (!plan_job(log, is_due, 0, &log->job))
        return;
    log->job.is_running = pthread_create(&log->job.thread, NULL, run_job, &log->job) == 0;
    if (log->job.is_running)
        return;
    run_job(&log->job);
    take_result(log);
}

static void enter(struct ms_log *log, const struct ms_wal_segment *segment, uint64_t end)
{
    close_segment(&log->current);
    log->current = *segment;
    log->end = end;
    log->prepare_at = log->current.size / 2;
}

/* On to a segment that has room for 'size'. */
static int roll(struct ms_log *log, uint64_t size)
{
    uint64_t least = (MS_WAL_HEAD + size + MIB - 1) / MIB * MIB;
    if (least > MS_WAL_SEGMENT_MAX)
        return -EFBIG;
    end_job(log);
    if (log->next.fd >= 0 && log->next.size < least)
        close_segment(&log->next); /* the new one replaces it */
    if (log->next.fd < 0) {
        plan_job(log, true, least, &log->job);
        run_job(&log->job);
        int r = take_result(log);
        if (r)
            return r;
    }
    uint32_t n = log->next.number - log->oldest;
    log->sizes = em_realloc(log->sizes, (n + 1) * sizeof(*log->sizes));
    log->sizes[n] = log->next.size;
    enter(log, &log->next, MS_WAL_HEAD);
    log->next.fd = -1;
    return 0;
}

uint64_t ms_log_size(const struct ms_log *log)
{
    uint64_t size = log->next.fd >= 0 ? log->next.size : 0;
    for (uint32_t i = 0; i < log->current.number - log->oldest + 1; i++)
        size += log->sizes[i];
    return size;
}

/* ---- write ----------------------------------------------------------------------------- */

/* What holds after this write. */
static int plan(const struct ms_log *log, const struct ms_log_write *write,
                struct ms_wal_record *ret_record)
{
    struct ms_wal_record record = log->now;
    record.seq++;
    record.n_entries = write->n_entries;
    if (write->has_vote) {
        record.term = write->term;
        record.voted_for = write->voted_for;
    }
    if (write->truncate && write->truncate < record.next)
        record.next = write->truncate < record.first ? record.first : write->truncate;
    if (write->n_entries && record.first == record.next)
        record.first = record.next = write->first;
    if (write->n_entries && write->first != record.next)
        return EM_E_STORAGE;
    record.next += write->n_entries;
    if (write->mark) {
        record.has_mark = 1;
        record.mark_index = write->mark->index;
        record.mark_term = write->mark->term;
        record.mark_members_index = write->mark->members_index;
    }
    if (write->forget == UINT64_MAX) {
        record.n_entries = 0;
        record.first = record.next = record.mark_index + 1;
    } else if (write->forget >= record.first) {
        record.first = write->forget < record.next ? write->forget + 1 : record.next;
    }
    if (write->has_generation)
        record.generation = write->generation;
    *ret_record = record;
    return 0;
}

static void measure(const struct ms_log *log, const struct ms_log_write *write, bool is_first,
                    struct ms_wal_record *record)
{
    record->has_members = write->mark || (is_first && record->has_mark);
    record->members_size = !record->has_members ? 0
                           : write->mark        ? write->mark->members_size
                                                : log->members_size;
    ms_wal_measure(record, write->entries);
}

static int append(struct ms_log *log, const struct ms_log_write *write,
                  struct ms_wal_record *record)
{
    measure(log, write, log->end == MS_WAL_HEAD, record);
    if (record->size > log->current.size - log->end) {
        measure(log, write, true, record);
        int r = roll(log, record->size);
        if (r)
            return r;
    }
    if (log->buf_size < record->size) {
        log->buf_size = record->size * 2;
        free(log->buf);
        log->buf = em_malloc(log->buf_size);
    }
    ms_wal_encode(log->buf, log->current.salt, record, write->entries,
                  write->mark ? write->mark->members : log->members);
    int r = ms_wal_pwrite(log->current.fd, log->buf, record->size, log->end);
    if (r == 0 && fdatasync(log->current.fd))
        r = -errno;
    if (r)
        return r;
    follow(log, log->buf, record, log->current.number, log->end);
    log->end += record->size;
    return 0;
}

static int write_record(struct ms_log *log, const struct ms_log_write *write, bool is_start)
{
    struct ms_wal_record record;
    int r = log->err ? log->err : translate(plan(log, write, &record));
    if (r == 0) {
        record.incarnation += is_start;
        r = translate(append(log, write, &record));
    }
    log->err = r;
    if (r == 0)
        tidy(log);
    return r;
}

int ms_log_write(struct ms_log *log, const struct ms_log_write *write)
{
    assert(log->is_loaded);
    return write_record(log, write, false);
}

/* ---- load ------------------------------------------------------------------------------ */

static int refuse(const struct ms_log *log, int err, char **ret_why)
{
    if (err == -ENOSPC || err == -EDQUOT || err == EM_E_NO_SPACE)
        *ret_why = em_asprintf("no room for the log in %s: free disk space", log->path);
    else if (err == -EACCES || err == -EPERM)
        *ret_why =
            em_asprintf("cannot open the directory %s: %s; give it to the user that runs the "
                        "map server",
                        log->path, em_strerror(err));
    else
        *ret_why = em_asprintf("cannot read and write %s: %s", log->path, em_strerror(err));
    return translate(err);
}

static int refuse_damage(const struct ms_log *log, const char *what, uint32_t number, uint64_t at,
                         char **ret_why)
{
    char name[MS_WAL_NAME];
    ms_wal_name(number, name);
    *ret_why = em_asprintf("%s is damaged or not a log of eidmap (%s, %s at byte %" PRIu64
                           "): if other servers of the cluster are well, remove this one from it, "
                           "move its data directory away and add it again",
                           log->path, what, name, at);
    return EM_E_STORAGE;
}

/* What was found, segment by segment. */
struct scan {
    struct ms_log *log;
    struct ms_wal_segment segment; /* that is read */
    uint8_t *bytes;                /* of it, from its beginning */
    size_t bytes_size;
    uint64_t at;
    bool has_begun;      /* some record was found */
    uint64_t start, end; /* of the last one, in the log's current segment */
    uint64_t n_torn;     /* bytes of one that was not finished behind it */
    const char *damage;
};

static bool is_sane(const uint8_t *bytes, const struct ms_wal_record *record)
{
    for (size_t i = 0; i < record->n_entries; i++) {
        uint64_t type = ms_wal_entry_at(bytes, i).type;
        if (type != RAFT_COMMAND && type != RAFT_BARRIER && type != RAFT_CHANGE)
            return false;
    }
    return record->first <= record->next && record->n_entries <= record->next &&
           record->next < UINT64_MAX / 2 && record->mark_index < UINT64_MAX / 2 &&
           record->has_mark <= 1 && record->has_members <= record->has_mark &&
           (record->has_members || record->members_size == 0);
}

static const char *take_record(struct scan *scan, const struct ms_wal_record *record)
{
    struct ms_log *log = scan->log;
    const uint8_t *bytes = scan->bytes + scan->at;
    if (!is_sane(bytes, record))
        return "a record makes no sense";
    if ((scan->has_begun || scan->segment.number == 1) && record->seq != log->now.seq + 1)
        return "records are missing";
    if (scan->at == MS_WAL_HEAD && record->has_mark && !record->has_members)
        return "the members are missing";
    if (!scan->has_begun)
        log->base = record->next - record->n_entries;
    scan->has_begun = true;
    follow(log, bytes, record, scan->segment.number, scan->at);
    scan->start = scan->at;
    scan->end = scan->at + record->size;
    return NULL;
}

static int read_segment(struct scan *scan)
{
    if (scan->bytes_size < scan->segment.size) {
        free(scan->bytes);
        scan->bytes_size = scan->segment.size;
        scan->bytes = em_malloc(scan->bytes_size);
    }
    return ms_wal_pread(scan->segment.fd, scan->bytes, scan->segment.size, 0);
}

/* The records of one segment, and what is behind them. */
static int scan_records(struct scan *scan)
{
    struct ms_wal_record record;
    const struct ms_wal_segment *segment = &scan->segment;
    const uint64_t *seq = &scan->log->now.seq;
    uint64_t at = MS_WAL_HEAD;
    int r = read_segment(scan);
    if (r)
        return r;
    for (scan->at = at; ms_wal_decode(scan->bytes + at, segment->size - at, segment->salt, &record);
         scan->at = at += record.size) {
        scan->damage = take_record(scan, &record);
        if (scan->damage)
            return EM_E_STORAGE;
    }
    if (ms_wal_is_followed(scan->bytes + at, segment->size - at, segment->salt, *seq))
        scan->damage = "a record does not fit its sum, and later ones follow";
    if (ms_wal_is_begun(scan->bytes + at, segment->size - at, *seq + 1))
        scan->n_torn = segment->size - at;
    return scan->damage ? EM_E_STORAGE : 0;
}

/* Where there are records the log goes on, and one segment may be ready behind. */
static int scan_segment(struct scan *scan, uint32_t number)
{
    struct ms_log *log = scan->log;
    struct ms_wal_segment *segment = &scan->segment;
    *segment = (struct ms_wal_segment){.fd = -1, .number = number};
    scan->at = 0;
    int r = ms_wal_open(log->dir_fd, number, segment);
    if (r == EM_E_MALFORMED)
        scan->damage = "it has not the head of a segment";
    else if (r == 0 && number > log->oldest && segment->replica != log->replica)
        scan->damage = "it belongs to another server";
    else if (r == 0 && log->next.fd >= 0)
        scan->damage = "a segment before it is empty";
    if (r || scan->damage) {
        close_segment(segment);
        return r ? r : EM_E_STORAGE;
    }
    log->replica = segment->replica;
    scan->at = MS_WAL_HEAD;
    r = scan_records(scan);
    if (r || (number == log->oldest && number > 1 && !scan->has_begun)) {
        close_segment(segment);
        if (r == 0)
            scan->damage = "it has no record";
        return r ? r : EM_E_STORAGE;
    }
    if (number > log->oldest && scan->at == MS_WAL_HEAD) {
        log->next = *segment;
        return 0;
    }
    log->sizes[number - log->oldest] = segment->size;
    enter(log, segment, scan->at);
    return 0;
}

/* A record that a write has left in memory only, when the program was killed or fdatasync()
 * failed, would be taken for durable: it is written again. */
static int rewrite_last(struct scan *scan)
{
    int fd = scan->log->current.fd;
    int r = 0;
    if (scan->has_begun) {
        r = ms_wal_pread(fd, scan->bytes, scan->end - scan->start, scan->start);
        if (r == 0)
            r = ms_wal_pwrite(fd, scan->bytes, scan->end - scan->start, scan->start);
    }
    return r == 0 && (fdatasync(fd) || fsync(scan->log->dir_fd)) ? -errno : r;
}

/* Finds the newest segments that follow each other; older ones are waiting for their removal,
 * or one between them is lost, and entries with it. */
static int list_segments(int dir_fd, uint32_t **ret_numbers, size_t *ret_n, size_t *ret_n_stray)
{
    uint32_t *numbers = NULL;
    size_t n = 0, i;
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir)
        return -errno;
    for (struct dirent *entry; (entry = readdir(dir));) {
        uint32_t number = ms_wal_number(entry->d_name);
        if (number == 0)
            continue;
        numbers = em_realloc(numbers, (n + 1) * sizeof(*numbers));
        for (i = n++; i > 0 && numbers[i - 1] > number; i--)
            numbers[i] = numbers[i - 1];
        numbers[i] = number;
    }
    closedir(dir);
    for (i = n; i > 1 && numbers[i - 2] == numbers[i - 1] - 1; i--)
        ;
    *ret_numbers = numbers;
    *ret_n = n;
    *ret_n_stray = i > 0 ? i - 1 : 0;
    return 0;
}

static void forget_all(struct ms_log *log)
{
    end_job(log);
    close_segment(&log->current);
    close_segment(&log->next);
    close_segment(&log->read);
    free(log->members);
    log->members = NULL;
    log->members_size = 0;
    log->skip = log->n = 0;
    log->base = 1;
    log->now = (struct ms_wal_record){.first = 1, .next = 1};
    log->is_loaded = false;
}

static int scan_all(struct scan *scan, const uint32_t *numbers, size_t n)
{
    struct ms_log *log = scan->log;
    int r = 0;
    log->oldest = n ? numbers[0] : 0;
    log->sizes = em_realloc(log->sizes, (n + 1) * sizeof(*log->sizes));
    if (n == 0)
        scan->damage = "there is none";
    for (size_t i = 0; r == 0 && i < n; i++)
        r = scan_segment(scan, numbers[i]);
    if (r == 0 && log->base != log->now.first)
        scan->damage = "a segment with entries is missing before it";
    else if (r == 0 && log->n > 0 && log->base > log->now.mark_index + 1)
        scan->damage = "entries are missing before the first";
    return r == 0 && scan->damage ? EM_E_STORAGE : r;
}

static int scan_disk(struct ms_log *log, char **ret_why)
{
    struct scan scan = {.log = log};
    uint32_t *numbers = NULL;
    size_t n = 0, n_stray = 0;
    int r = list_segments(log->dir_fd, &numbers, &n, &n_stray);
    if (r == 0)
        r = scan_all(&scan, numbers + n_stray, n - n_stray);
    if (r == 0)
        r = rewrite_last(&scan);
    for (size_t i = 0; r == 0 && i < n_stray; i++) {
        char name[MS_WAL_NAME];
        ms_wal_name(numbers[i], name);
        unlinkat(log->dir_fd, name, 0);
    }
    if (r == 0 && scan.n_torn)
        em_info("%s: the last write had not been finished", log->path);
    if (scan.damage)
        r = refuse_damage(log, scan.damage, scan.segment.number, scan.at, ret_why);
    else if (r)
        r = refuse(log, r, ret_why);
    free(scan.bytes);
    free(numbers);
    return r;
}

static int give_state(struct ms_log *log, struct ms_log_state *state)
{
    const struct ms_wal_record *now = &log->now;
    *state = (struct ms_log_state){
        .replica = log->replica,
        .incarnation = now->incarnation,
        .term = now->term,
        .voted_for = now->voted_for,
        .generation = now->generation,
        .has_mark = now->has_mark,
        .mark = {now->mark_index, now->mark_term, now->mark_members_index, NULL, 0},
        .first = log->n ? log->base : now->mark_index + 1,
        .entries = em_calloc(log->n + 1, sizeof(*state->entries)),
    };
    if (now->has_mark) {
        state->mark.members = em_memdup(log->members, log->members_size);
        state->mark.members_size = log->members_size;
    }
    for (size_t i = 0; i < log->n; i++) {
        const struct place *place = &log->places[log->skip + i];
        struct ms_entry *entry = &state->entries[state->n_entries++];
        *entry =
            (struct ms_entry){place->term, (enum raft_entry_type)place->type, NULL, place->size};
        int r = place->type == RAFT_CHANGE ? ms_log_read(log, log->base + i, &entry->payload) : 0;
        if (r)
            return r;
    }
    return 0;
}

int ms_log_load(struct ms_log *log, struct ms_log_state *ret_state, char **ret_why)
{
    static const struct ms_log_write nothing;
    *ret_state = (struct ms_log_state){0};
    int r = log->err;
    if (r == 0) {
        forget_all(log);
        r = scan_disk(log, ret_why);
        if (r)
            return r;
        r = write_record(log, &nothing, true);
    }
    if (r == 0)
        r = give_state(log, ret_state);
    if (r) {
        ms_log_state_fini(ret_state);
        return refuse(log, r, ret_why);
    }
    log->is_loaded = true;
    return 0;
}

void ms_log_state_fini(struct ms_log_state *state)
{
    for (size_t i = 0; i < state->n_entries; i++)
        ms_payload_unref(state->entries[i].payload);
    free(state->entries);
    free((void *)state->mark.members);
    *state = (struct ms_log_state){0};
}

/* ---- open ------------------------------------------------------------------------------ */

static int open_dir(struct ms_log *log, const char *dir, char **ret_why)
{
    int r = mkdir(log->path, 0700) && errno != EEXIST ? -errno : ms_env_sync_dir(dir);
    if (r == 0)
        log->dir_fd = open(log->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r == 0 && (log->dir_fd < 0 || faccessat(log->dir_fd, ".", R_OK | W_OK | X_OK, AT_EACCESS)))
        r = -errno;
    if (r)
        return refuse(log, r, ret_why);
    if (flock(log->dir_fd, LOCK_EX | LOCK_NB)) {
        *ret_why =
            em_asprintf("another map server uses %s; stop it, or set another data directory", dir);
        return -EBUSY;
    }
    if (faccessat(log->dir_fd, MS_WAL_LMDB, F_OK, 0) == 0) {
        *ret_why = em_asprintf("%s was written by a development version of eidmap: move the data "
                               "directory away and begin with a new one, or with a backup",
                               log->path);
        return EM_E_STORAGE;
    }
    return 0;
}

/* The first segment is a small one, to be there at once. */
static int begin(struct ms_log *log)
{
    struct ms_wal_segment segment = {.number = 1, .size = MS_WAL_SEGMENT_MIN};
    while (segment.replica == 0)
        if (getrandom(&segment.replica, sizeof(segment.replica), 0) != sizeof(segment.replica))
            return -EIO;
    int r = ms_wal_make(log->dir_fd, 0, &segment);
    close_segment(&segment);
    return r;
}

int ms_log_open(const char *dir, struct ms_log **ret_log, bool *ret_is_new, char **ret_why)
{
    struct ms_log *log = em_calloc(1, sizeof(*log));
    uint32_t *numbers = NULL;
    size_t n = 0, n_stray;
    log->path = em_asprintf("%s/log", dir);
    log->dir_fd = log->current.fd = log->next.fd = log->read.fd = -1;
    int r = open_dir(log, dir, ret_why);
    if (r == 0) {
        r = list_segments(log->dir_fd, &numbers, &n, &n_stray);
        free(numbers);
        if (r == 0 && n == 0)
            r = begin(log);
        if (r)
            r = refuse(log, r, ret_why);
    }
    if (r) {
        ms_log_close(log);
        return r;
    }
    *ret_is_new = n == 0;
    *ret_log = log;
    return 0;
}

void ms_log_close(struct ms_log *log)
{
    if (!log)
        return;
    forget_all(log);
    if (log->dir_fd >= 0)
        close(log->dir_fd);
    free(log->places);
    free(log->sizes);
    free(log->buf);
    free(log->path);
    free(log);
}
