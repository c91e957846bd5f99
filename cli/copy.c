#include "copy.h"

#include "progress.h"
#include "record.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

void ctl_copy_progress(struct ctl *ctl, const char *phase, uint64_t done, uint64_t total,
                       uint64_t begun_ms)
{
    uint64_t ms = em_now_ms() - begun_ms;
    char *done_text = ctl_size_text(done);
    char *total_text = ctl_size_text(total);
    char *rate = ctl_size_text(done * 1000 / (ms ? ms : 1));
    ctl_progress(ctl, phase, "%s: %s of %s (%.0f %%), %s/s", phase, done_text, total_text,
                 total ? 100.0 * (double)done / (double)total : 0.0, rate);
    free(done_text);
    free(total_text);
    free(rate);
}

char *ctl_copy_text(uint64_t size, uint64_t ms)
{
    char *size_text = ctl_size_text(size);
    char *time_text = ctl_duration_text(ms);
    char *text = em_asprintf("%s in %s", size_text, time_text);
    free(size_text);
    free(time_text);
    return text;
}
