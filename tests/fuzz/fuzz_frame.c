/* A guest's frame: what it claims is a unicast station's, and an answer to it can be read. */
#include "target.h"

#include "frame.h"

#include <string.h>

static void answer(const struct xtr_frame *frame)
{
    uint8_t bytes[XTR_FRAME_ANSWER];
    struct xtr_frame again;
    struct em_ip ip;
    size_t size = xtr_frame_answer(bytes, &frame->target, (uint8_t[]){2, 0, 0, 0, 0, 1},
                                   &frame->sender, frame->src_mac);
    FUZZ_CHECK(size <= sizeof bytes && xtr_frame_parse(bytes, size, &again));
    FUZZ_CHECK(xtr_frame_claim(&again, &ip) && ip.size == frame->target.size &&
               !memcmp(ip.addr, frame->target.addr, ip.size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct xtr_frame frame;
    struct em_ip ip;
    if (!xtr_frame_parse(data, size, &frame))
        return 0;
    FUZZ_CHECK(!(frame.src_mac[0] & 1));
    FUZZ_CHECK(frame.sender.size == 0 || frame.sender.size == 4 || frame.sender.size == 16);
    FUZZ_CHECK(!xtr_frame_claim(&frame, &ip) || ip.size == 4 || ip.size == 16);
    if (frame.kind == XTR_FRAME_ARP_REQUEST || frame.kind == XTR_FRAME_ARP_PROBE ||
        frame.kind == XTR_FRAME_ND_SOLICIT || frame.kind == XTR_FRAME_ND_PROBE)
        answer(&frame);
    return 0;
}
