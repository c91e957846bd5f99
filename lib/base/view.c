/* Agents choose by it, and mapctl explains with it: so both must mean the same. */
#include "eidmap/model.h"

#include <string.h>

enum em_view em_location_view(const struct em_location *location, const char *node_id,
                              const struct em_label *labels, size_t n_labels)
{
    if (location->view_node)
        return strcmp(location->view_node, node_id) ? EM_VIEW_OTHERS : EM_VIEW_NODE;
    if (!location->view_label.key)
        return EM_VIEW_EVERYONE;
    for (size_t i = 0; i < n_labels; i++)
        if (!strcmp(labels[i].key, location->view_label.key) &&
            !strcmp(labels[i].value, location->view_label.value))
            return EM_VIEW_LABEL;
    return EM_VIEW_OTHERS;
}
