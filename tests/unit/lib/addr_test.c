#include "eidmap/addr.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static char why[EM_ADDR_WHY];
static char name_buf[EM_EID_TEXT];

static struct em_eid eid_of(const char *text)
{
    struct em_eid eid = {0};
    cr_assert_eq(em_eid_parse(text, &eid, name_buf, why), 0, "%s: %s", text, why);
    return eid;
}

static void expect_form(const char *text, const char *form)
{
    char out[EM_EID_TEXT];
    struct em_eid eid = eid_of(text);
    cr_assert_str_eq(em_eid_format(&eid, out), form, "%s became %s", text, out);
}

static void expect_refused(const char *text, const char *sentence_part)
{
    struct em_eid eid = {.kind = EM_EID_NAME};
    why[0] = 0;
    cr_assert_eq(em_eid_parse(text, &eid, name_buf, why), -EINVAL, "%s was taken", text);
    cr_assert_not_null(strstr(why, sentence_part), "%s: %s", text, why);
    cr_assert_eq(eid.kind, EM_EID_NAME, "the result was touched");
}

static int check(const char *text)
{
    struct em_eid eid = eid_of(text);
    return em_eid_check(&eid, why);
}

Test(addr, mac_has_one_text_form)
{
    expect_form("02:00:00:AB:cd:01", "02:00:00:ab:cd:01");
    expect_form("02-00-00-ab-CD-01", "02:00:00:ab:cd:01");
}

Test(addr, mac_of_a_wrong_shape_is_refused)
{
    const char *wrong[] = {"",
                           "02:00:00:00:00",
                           "02:00:00:00:00:0",
                           "02:00:00:00:00:01:",
                           "02:00:00:00:00:0g",
                           "02:00-00:00:00:01",
                           "02:00:00:00:00-01",
                           "0200.0000.0001",
                           "02:00:00:00: 0:01",
                           " 02:00:00:00:00:01",
                           "02:00:00:00:00:011"};
    uint8_t mac[EM_MAC_SIZE] = {9};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_assert_eq(em_mac_parse(wrong[i], mac, why), -EINVAL, "%s was taken", wrong[i]);
        cr_assert_not_null(strstr(why, "expected a MAC address"));
    }
    cr_assert_eq(mac[0], 9, "the result was touched");
}

Test(addr, ipv6_is_printed_as_rfc_5952_says)
{
    expect_form("2001:DB8:0:0:0:0:0:1", "2001:db8::1");
    expect_form("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1");
    expect_form("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1");
    expect_form("0:0:0:0:0:0:0:0", "::");
    expect_form("::ffff:10.0.0.1", "::ffff:10.0.0.1");
    expect_form("::0102:0304", "::102:304");
}

Test(addr, wrong_addresses_are_refused_with_what_was_expected)
{
    const char *wrong[] = {"10.0.0", "10.0.0.256", "10.0.0.01", "10.0.0.1.",
                           "1:2:3",  ":::",        "10",        "2001:db8::1::2"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        expect_refused(wrong[i], "expected an IPv4 or IPv6 address such as 10.0.0.1");
    expect_refused("10.0.0", ", got \"10.0.0\"");
    expect_refused("fe80::1%eth0", "got \"fe80::1%eth0\"");
}

Test(addr, quoted_input_is_short_and_printable)
{
    char text[300];
    memset(text, 'x', sizeof(text));
    text[3] = '\n';
    text[sizeof(text) - 1] = 0;
    struct em_ip ip;
    cr_assert_eq(em_ip_parse(text, &ip, why), -EINVAL);
    cr_assert_not_null(strstr(why, "\"xxx?xxx"));
    cr_assert_not_null(strstr(why, "xxx...\""));
    cr_assert_eq(em_ip_parse(text, &ip, NULL), -EINVAL, "a sentence is not needed");
}

Test(addr, prefix_of_full_length_is_a_host)
{
    cr_assert_eq(eid_of("10.0.0.1/32").kind, EM_EID_IPV4);
    cr_assert_eq(eid_of("2001:db8::1/128").kind, EM_EID_IPV6);
    cr_assert_eq(eid_of("10.0.0.0/31").kind, EM_EID_IPV4_PREFIX);
    expect_form("10.0.0.0/8", "10.0.0.0/8");
    expect_form("2001:DB8::/33", "2001:db8::/33");
    expect_form("0.0.0.0/0", "0.0.0.0/0");
}

Test(addr, prefix_with_host_bits_is_refused_with_the_right_one)
{
    expect_refused("10.0.0.1/8", "expected 10.0.0.0/8 (host bits are zero), got \"10.0.0.1/8\"");
    expect_refused("2001:db8::1/33", "expected 2001:db8::/33");
}

Test(addr, prefix_length_is_a_plain_number_within_the_width)
{
    const char *wrong[] = {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08",        "10.0.0.0/+8",
                           "10.0.0.0/8 ", "::/129",    "10.0.0.0/4294967304"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        expect_refused(wrong[i], "expected a prefix such as");
}

Test(addr, service_names_protocol_address_and_port)
{
    struct em_eid eid = eid_of("tcp/10.0.0.1:443");
    cr_assert_eq(eid.kind, EM_EID_SERVICE);
    cr_assert_eq(eid.protocol, 6);
    cr_assert_eq(eid.l4_port, 443);
    expect_form("tcp/10.0.0.1:443", "tcp/10.0.0.1:443");
    expect_form("17/[2001:DB8::1]:53", "udp/[2001:db8::1]:53");
    expect_form("33/10.0.0.1:1", "33/10.0.0.1:1");
}

Test(addr, service_without_one_of_its_parts_is_refused)
{
    const char *wrong[] = {"tcp/10.0.0.1",         "tcp/10.0.0.1:0",       "tcp/10.0.0.1:65536",
                           "tpc/10.0.0.1:443",     "/10.0.0.1:443",        "0/10.0.0.1:443",
                           "256/10.0.0.1:443",     "tcp/[10.0.0.1]:443",   "tcp/2001:db8::1",
                           "tcp/[2001:db8::1]443", "tcp/[2001:db8::1:443", "tcp/[::1]"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        expect_refused(wrong[i], "expected a service such as");
}

Test(addr, name_is_lowered_and_loses_its_final_dot)
{
    expect_form("VM1.Example.NET.", "vm1.example.net");
    expect_form("_sip._tcp.example", "_sip._tcp.example");
    cr_assert_eq(eid_of("vm1").kind, EM_EID_NAME);
}

Test(addr, name_that_dns_cannot_hold_is_refused)
{
    char text[EM_NAME_SIZE + 3];
    const char *wrong[] = {"", "a..b", "-a", "a-", "a.-b", "a-.b", "a b", "a\tb", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        expect_refused(wrong[i], "a DNS name");
    memset(text, 'a', sizeof(text));
    text[64] = 0;
    expect_refused(text, "a DNS name");
    text[63] = 0;
    cr_assert_eq(eid_of(text).size, 63);
    memset(text, 'a', sizeof(text));
    for (size_t i = 50; i < EM_NAME_SIZE; i += 50)
        text[i] = '.';
    text[EM_NAME_SIZE + 1] = 0;
    expect_refused(text, "a DNS name");
    expect_refused("02-00-00-00-00-01.", "a DNS name");
    text[EM_NAME_SIZE] = 0;
    cr_assert_eq(eid_of(text).size, EM_NAME_SIZE);
}

Test(addr, uuid_port_id_is_sixteen_bytes_whatever_its_case)
{
    struct em_port_id low, up;
    char text[EM_PORT_ID_TEXT];
    cr_assert_eq(em_port_id_parse("6ba7b810-9dad-11d1-80b4-00c04fd430c8", &low, why), 0);
    cr_assert_eq(em_port_id_parse("6BA7B810-9DAD-11D1-80B4-00C04FD430C8", &up, why), 0);
    cr_assert_eq(low.size, 17);
    cr_assert_eq(memcmp(&low, &up, sizeof(low)), 0);
    cr_assert_eq(low.bytes[0], 0);
    cr_assert_eq(low.bytes[16], 0xc8);
    cr_assert_str_eq(em_port_id_format(up.bytes, up.size, text),
                     "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    cr_assert_eq(em_port_id_check(low.bytes, low.size, why), 0);
}

Test(addr, near_uuid_is_text)
{
    struct em_port_id id;
    cr_assert_eq(em_port_id_parse("6ba7b810-9dad-11d1-80b4_00c04fd430c8", &id, why), 0);
    cr_assert_eq(id.size, 36);
    expect_form("port:vnet0", "port:vnet0");
    cr_assert_eq(eid_of("port:vnet0").kind, EM_EID_PORT_ID);
}

Test(addr, port_id_from_outside_must_be_canonical)
{
    const char *uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    uint8_t bytes[64] = {0};
    cr_assert_eq(em_port_id_check((const uint8_t *)uuid, 36, why), -EINVAL);
    cr_assert_not_null(strstr(why, "UUID"));
    cr_assert_eq(em_port_id_check(bytes, 0, why), -EINVAL);
    cr_assert_eq(em_port_id_check(bytes, 16, why), -EINVAL);
    cr_assert_eq(em_port_id_check(bytes, 18, why), -EINVAL);
    memset(bytes, 'a', sizeof(bytes));
    cr_assert_eq(em_port_id_check(bytes, 63, why), 0);
    cr_assert_eq(em_port_id_check(bytes, 64, why), -EINVAL);
    bytes[5] = ' ';
    cr_assert_eq(em_port_id_check(bytes, 63, why), -EINVAL);
}

Test(addr, port_id_text_of_a_wrong_size_or_with_blanks_is_refused)
{
    char text[80];
    struct em_port_id id;
    memset(text, 'p', sizeof(text));
    text[64] = 0;
    cr_assert_eq(em_port_id_parse(text, &id, why), -EINVAL);
    text[63] = 0;
    cr_assert_eq(em_port_id_parse(text, &id, why), 0);
    cr_assert_eq(em_port_id_parse("", &id, why), -EINVAL);
    cr_assert_eq(em_port_id_parse("a b", &id, why), -EINVAL);
}

Test(addr, hostile_bytes_print_as_question_marks)
{
    char text[EM_EID_TEXT];
    cr_assert_str_eq(em_port_id_format((const uint8_t *)"a\n\x1b[", 4, text), "a??[");
    struct em_eid eid = {.kind = EM_EID_NAME, .size = 3, .name = "a\rb"};
    cr_assert_str_eq(em_eid_format(&eid, text), "a?b");
}

Test(addr, endpoint_has_a_default_port)
{
    struct em_ip ip;
    uint16_t port;
    const char *without[] = {"10.0.0.1", "2001:db8::1", "[2001:db8::1]"};
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(em_endpoint_parse(without[i], 4342, &ip, &port, why), 0, "%s", without[i]);
        cr_assert_eq(port, 4342);
    }
    cr_assert_eq(em_endpoint_parse("[2001:db8::1]:99", 4342, &ip, &port, why), 0);
    cr_assert_eq(port, 99);
    cr_assert_eq(ip.size, 16);
    cr_assert_eq(em_endpoint_parse("127.0.0.1:0", 4342, &ip, &port, why), 0);
    cr_assert_eq(port, 0, "a listener may ask for any port");
}

Test(addr, endpoint_of_a_wrong_shape_is_refused)
{
    const char *wrong[] = {
        "",     ":1",           "host:1", "10.0.0.1:",    "10.0.0.1:65536", "[::1]:",
        "[::1", "[10.0.0.1]:1", "[::1]x", "10.0.0.1:1:1", "10.0.0.1:-1",    "10.0.0.1:01"};
    struct em_ip ip;
    uint16_t port = 7;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_eq(em_endpoint_parse(wrong[i], 1, &ip, &port, why), -EINVAL, "%s", wrong[i]);
    cr_assert_eq(port, 7);
    cr_assert_not_null(strstr(why, "expected ADDRESS:PORT"));
}

Test(addr, ident_is_one_short_word)
{
    char text[65];
    memset(text, 'n', sizeof(text));
    text[64] = 0;
    cr_assert_eq(em_ident_check(text, why), -EINVAL);
    text[63] = 0;
    cr_assert_eq(em_ident_check(text, why), 0);
    cr_assert_eq(em_ident_check("hv-1.rack_2", why), 0);
    const char *wrong[] = {"", "-a", ".a", "a/b", "a b", "a\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_eq(em_ident_check(wrong[i], why), -EINVAL, "%s was taken", wrong[i]);
}

Test(addr, port_may_hold_unicast_only)
{
    const char *right[] = {"02:00:00:00:00:01", "10.0.0.1",      "2001:db8::1",
                           "fe80::1",           "0.0.0.0/0",     "::/0",
                           "10.0.0.0/8",        "2001:db8::/32", "vm1.example",
                           "tcp/10.0.0.1:443",  "128.0.0.0/1",   "8000::/1"};
    const char *wrong[] = {"01:00:5e:00:00:01",
                           "ff:ff:ff:ff:ff:ff",
                           "00:00:00:00:00:00",
                           "0.0.0.0",
                           "127.0.0.1",
                           "224.0.0.1",
                           "255.255.255.255",
                           "::",
                           "::1",
                           "ff02::1",
                           "::ffff:10.0.0.1",
                           "127.0.0.0/8",
                           "224.0.0.0/4",
                           "ff00::/8",
                           "tcp/127.0.0.1:1",
                           "port:vnet0"};
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
        cr_assert_eq(check(right[i]), 0, "%s: %s", right[i], why);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_eq(check(wrong[i]), -EINVAL, "%s was taken", wrong[i]);
}

Test(addr, malformed_binary_eids_are_refused)
{
    struct em_eid eids[] = {
        {.kind = EM_EID_NONE},
        {.kind = EM_EID_MAC, .size = 4, .addr = {2}},
        {.kind = EM_EID_IPV4, .size = 16, .addr = {32}},
        {.kind = EM_EID_IPV6, .size = 4, .addr = {10}},
        {.kind = EM_EID_IPV4_PREFIX, .size = 4, .prefix_len = 32, .addr = {10}},
        {.kind = EM_EID_IPV4_PREFIX, .size = 4, .prefix_len = 8, .addr = {10, 1}},
        {.kind = EM_EID_IPV6_PREFIX, .size = 16, .prefix_len = 128, .addr = {32}},
        {.kind = EM_EID_SERVICE, .size = 4, .protocol = 6, .addr = {10}},
        {.kind = EM_EID_SERVICE, .size = 5, .protocol = 6, .l4_port = 1, .addr = {10}},
        {.kind = EM_EID_NAME, .size = 3, .name = "Vm1"},
        {.kind = EM_EID_NAME, .size = 4, .name = "vm1."},
        {.kind = EM_EID_NAME, .size = 8, .name = "10.0.0.1"},
        {.kind = (enum em_eid_kind)99},
    };
    for (size_t i = 0; i < sizeof(eids) / sizeof(eids[0]); i++)
        cr_assert_eq(em_eid_check(&eids[i], why), -EINVAL, "%zu was taken", i);
}

Test(addr, underlay_addresses_are_unicast)
{
    struct em_ip ip;
    const char *texts[] = {"192.0.2.1", "2001:db8::1", "0.0.0.0", "127.0.0.2", "239.1.1.1", "::1"};
    for (size_t i = 0; i < 6; i++) {
        cr_assert_eq(em_ip_parse(texts[i], &ip, why), 0);
        cr_assert_eq(em_ip_is_usable(ip.addr, ip.size), i < 2, "%s", texts[i]);
    }
    cr_assert(!em_ip_is_usable(ip.addr, 0));
}

Test(addr, range_covers_what_its_bits_say)
{
    static const struct {
        const char *range, *eid;
        bool covers;
    } rows[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.0.0.0/8", "10.0.0.0/8", true},
        {"10.0.0.0/8", "10.0.0.0/7", false},
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.1", "10.0.0.0/31", false},
        {"0.0.0.0/0", "10.0.0.1", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"10.0.0.128/25", "10.0.0.127", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"::/0", "02:00:00:00:00:01", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct em_eid range = eid_of(rows[i].range), eid = eid_of(rows[i].eid);
        cr_assert_eq(em_eid_covers(&range, &eid), rows[i].covers, "%s %s", rows[i].range,
                     rows[i].eid);
    }
}

Test(addr, range_of_an_address_has_zero_host_bits)
{
    char text[EM_EID_TEXT];
    struct em_eid eid = eid_of("10.1.2.255");
    const char *forms[] = {"0.0.0.0/0", "10.0.0.0/8", "10.1.2.128/25", "10.1.2.255"};
    const unsigned lens[] = {0, 8, 25, 32};
    for (size_t i = 0; i < 4; i++) {
        struct em_eid range = em_eid_range(&eid, lens[i]);
        cr_assert_str_eq(em_eid_format(&range, text), forms[i]);
        cr_assert_eq(em_eid_prefix_len(&range), lens[i]);
    }
}

Test(addr, common_bits_are_counted_to_the_first_difference)
{
    const uint8_t a[4] = {10, 0, 0, 1}, b[4] = {10, 0, 0, 3}, c[4] = {138, 0, 0, 1};
    cr_assert_eq(em_common_bits(a, a, 4), 32);
    cr_assert_eq(em_common_bits(a, b, 4), 30);
    cr_assert_eq(em_common_bits(a, c, 4), 0);
}

Test(addr, order_is_total_and_by_kind_address_length)
{
    const char *sorted[] = {"02:00:00:00:00:01", "02:00:00:00:00:02", "10.0.0.1",
                            "10.0.0.2",          "2001:db8::1",       "10.0.0.0/8",
                            "10.0.0.0/9",        "tcp/10.0.0.1:80",   "tcp/10.0.0.1:81",
                            "udp/10.0.0.1:80"};
    size_t n = sizeof(sorted) / sizeof(sorted[0]);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            struct em_eid a = eid_of(sorted[i]), b = eid_of(sorted[j]);
            int r = em_eid_compare(&a, &b);
            cr_assert_eq((r > 0) - (r < 0), (i > j) - (i < j), "%s %s", sorted[i], sorted[j]);
        }
    }
    struct em_eid a = {.kind = EM_EID_NAME, .size = 2, .name = "ab"};
    struct em_eid b = {.kind = EM_EID_NAME, .size = 3, .name = "abc"};
    cr_assert_lt(em_eid_compare(&a, &b), 0);
}
