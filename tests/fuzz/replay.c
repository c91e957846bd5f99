/* Feeds files to a fuzz target without libFuzzer: every seed, in every build.
 *
 * Usage: replay_X FILE-OR-DIRECTORY...  A crash names its file in the last line. */
#include "target.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SEED_MAX ((size_t)4 << 20)

static int feed_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(SEED_MAX);
    size_t size = file && data ? fread(data, 1, SEED_MAX, file) : 0;
    int r = file && data && !ferror(file) ? 0 : -1;
    if (r) {
        perror(path);
    } else {
        fprintf(stderr, "%s\n", path);
        /* The exact size, so that a sanitizer sees a read behind the end. */
        uint8_t *exact = size ? realloc(data, size) : data;
        data = exact ? exact : data;
        r = LLVMFuzzerTestOneInput(data, size);
    }
    free(data);
    if (file)
        fclose(file);
    return r;
}

/* Returns how many were fed, or -1. */
static int feed_directory(const char *path)
{
    char name[4096];
    int n = 0;
    DIR *dir = opendir(path);
    if (!dir) {
        perror(path);
        return -1;
    }
    for (struct dirent *entry; n >= 0 && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        n = feed_file(name) ? -1 : n + 1;
    }
    closedir(dir);
    return n;
}

int main(int argc, char **argv)
{
    int n = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        bool is_dir = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);
        int fed = is_dir ? feed_directory(argv[i]) : feed_file(argv[i]) ? -1 : 1;
        if (fed < 0)
            return 1;
        n += fed;
    }
    fprintf(stderr, "%d seeds\n", n);
    return n ? 0 : 1;
}
