# Finds the libraft that deploy/raft built, as the target raft::raft.
#
# It is found by its path and by nothing else: Debian 12's libraft 0.15 has the same names,
# and a header and a library of two builds would disagree about the size of struct raft.

set(EIDMAP_RAFT "$ENV{EIDMAP_RAFT}" CACHE PATH "libraft's folder; empty: where deploy/raft installs it")
set(raft_dir "${EIDMAP_RAFT}")
if(NOT raft_dir)
  execute_process(COMMAND ${CMAKE_CURRENT_LIST_DIR}/raft --print
                  OUTPUT_VARIABLE raft_dir OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
set(raft_header ${raft_dir}/include/raft.h)
set(raft_library ${raft_dir}/lib/libraft.a)

function(refuse_raft why)
  message(FATAL_ERROR "${why}\nRun deploy/raft, which builds libraft 0.22; EIDMAP_RAFT names "
                      "the folder if it is not in the usual one.")
endfunction()

if(NOT EXISTS ${raft_header} OR NOT EXISTS ${raft_library})
  refuse_raft("There is no libraft in '${raft_dir}'.")
endif()
file(STRINGS ${raft_header} found REGEX "^#define (RAFT_VERSION_MINOR 22|RAFT__LEGACY_no)$")
list(LENGTH found n_found)
if(NOT n_found EQUAL 2)
  refuse_raft("${raft_header} is not that of libraft 0.22 with raft_step alone.")
endif()
file(STRINGS ${raft_library} found REGEX "^(raft_apply|__assert_fail)$")
if("raft_apply" IN_LIST found)
  refuse_raft("${raft_library} has an older interface than its header.")
elseif(NOT "__assert_fail" IN_LIST found)
  refuse_raft("${raft_library} was built without its asserts.")
endif()

add_library(raft::raft STATIC IMPORTED)
set_target_properties(raft::raft PROPERTIES
  IMPORTED_LOCATION ${raft_library}
  INTERFACE_INCLUDE_DIRECTORIES ${raft_dir}/include)

set(raft_probe ${CMAKE_BINARY_DIR}/raft_probe.c)
file(WRITE ${raft_probe} "#include <raft.h>
_Static_assert(sizeof(struct raft) == 432, \"another layout\");
int main(void) { return raft_step(0, 0, 0); }
")
try_compile(EIDMAP_RAFT_WORKS ${CMAKE_BINARY_DIR}/raft_probe ${raft_probe}
            LINK_LIBRARIES raft::raft OUTPUT_VARIABLE raft_log)
if(NOT EIDMAP_RAFT_WORKS)
  refuse_raft("The header and the library in '${raft_dir}' do not fit:\n${raft_log}")
endif()
