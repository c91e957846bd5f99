/* Which limits are near, on which kernel. */
#include "dataplane/limits.h"

#include <criterion/criterion.h>
#include <string.h>

static struct dp_version version(const char *release)
{
    return dp_version_parse(release);
}

Test(limits, version_is_read_from_a_release)
{
    struct dp_version debian = version("6.1.0-23-amd64"), rc = version("6.16-rc3");

    cr_assert(debian.major == 6 && debian.minor == 1);
    cr_assert(rc.major == 6 && rc.minor == 16);
    cr_assert_eq(version("4.19.302").minor, 19);
    cr_assert_eq(version("plan9").major, 0);
    cr_assert_eq(version("6").major, 0);
    cr_assert_eq(version("").major, 0);
}

Test(limits, large_vxlan_device_is_told_before_linux_6_16)
{
    char text[DP_LIMIT_TEXT];

    cr_assert_null(dp_limit_vxlan(version("6.1.0"), "emx7", 16000, text));
    cr_assert_not_null(dp_limit_vxlan(version("6.1.0"), "emx7", 16001, text));
    cr_assert(strstr(text, "emx7 has 16001 entries") && strstr(text, "6.16 or newer"), "%s", text);
    cr_assert_not_null(dp_limit_vxlan(version("5.10.0"), "emx7", 20000, text));
    cr_assert_not_null(dp_limit_vxlan(version("6.15.9"), "emx7", 20000, text));
    cr_assert_null(dp_limit_vxlan(version("6.16.0"), "emx7", 1000000, text));
    cr_assert_null(dp_limit_vxlan(version("7.0"), "emx7", 1000000, text));
    cr_assert_null(dp_limit_vxlan(version("unknown"), "emx7", 1000000, text), "no guess");
}

static struct dp_neigh_table table(uint32_t n_entries, uint32_t n_ours, uint32_t n_rlocs)
{
    return (struct dp_neigh_table){
        .n_entries = n_entries, .n_ours = n_ours, .n_rlocs = n_rlocs, .thresh = 1024};
}

static bool is_near(const char *release, struct dp_neigh_table neigh)
{
    char text[DP_LIMIT_TEXT];
    return dp_limit_neigh(version(release), &neigh, text);
}

Test(limits, our_neighbours_do_not_count_since_linux_5)
{
    cr_assert_not(is_near("6.1.0", table(100100, 100000, 2)));
    cr_assert_not(is_near("5.0.0", table(100100, 100000, 2)));
    cr_assert(is_near("4.19.0", table(100100, 100000, 2)));
    cr_assert(is_near("4.19.0", table(900, 900, 2)));
}

Test(limits, neighbours_of_others_and_of_the_underlay_count)
{
    cr_assert_not(is_near("6.1.0", table(100 + 819, 100, 2)));
    cr_assert(is_near("6.1.0", table(100 + 820, 100, 2)), "within a fifth");
    cr_assert(is_near("6.1.0", table(0, 0, 900)), "each node on the link takes one");
    cr_assert_not(is_near("6.1.0", table(100, 5000, 2)), "removed since they were counted");
    struct dp_neigh_table unknown = table(100000, 0, 2);
    unknown.thresh = 0;
    cr_assert_not(is_near("6.1.0", unknown));
    struct dp_neigh_table refused = table(100, 100, 2);
    refused.n_refused = 1;
    cr_assert(is_near("6.1.0", refused), "others' entries that we do not see");
}

Test(limits, sentence_names_the_setting)
{
    struct dp_neigh_table full = table(1500, 0, 2);
    char text[DP_LIMIT_TEXT];

    cr_assert_not_null(dp_limit_neigh(version("6.1.0"), &full, text));
    cr_assert(strstr(text, "net.ipv4.neigh.default.gc_thresh3=4096"), "%s", text);
    cr_assert(strstr(text, "1024 entries beside permanent ones") && !strstr(text, "refused"));
    full.is_v6 = true;
    full.n_refused = 3;
    cr_assert_not_null(dp_limit_neigh(version("4.19.0"), &full, text));
    cr_assert(strstr(text, "net.ipv6.neigh.default.gc_thresh3") && strstr(text, "refused"));
    cr_assert_not(strstr(text, "permanent"), "%s", text);
}

Test(limits, longest_sentence_fits)
{
    struct dp_neigh_table most = {true, UINT32_MAX, 0, 0, UINT32_MAX / 2, 1};
    char text[DP_LIMIT_TEXT];

    cr_assert_not_null(dp_limit_neigh(version("6.1.0"), &most, text));
    cr_assert(strstr(text, "with sysctl"), "%s", text);
    cr_assert_not_null(dp_limit_vxlan(version("5.10.0"), "emxffffffff", UINT32_MAX, text));
    cr_assert(strstr(text, "split the network"), "%s", text);
}
