# One room = one static library from gradus/NAME, and one test program from tests/NAME.
#   gradus_room(NAME [NEEDS room...] [LIBRARIES target...] [FORCED_ISAS isa...] [WITHOUT file...])
# WITHOUT: files of the folder that are not for this configuration.
# FORCED_ISAS: the room's tests run again with each of these instruction sets, where the machine can pretend to have it.
#
# What most files read is compiled once for all rooms and once for all tests. Every file still includes what it uses:
# -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON builds without.
set(gradus_room_headers <fmt/format.h> <algorithm> <cmath> <cstdint> <filesystem> <functional> <map> <memory> <mutex>
  <optional> <span> <string> <string_view> <utility> <vector>)
set(gradus_test_headers ${gradus_room_headers} <gmock/gmock.h> <gtest/gtest.h> <nlohmann/json.hpp>)

add_library(gradus_flags INTERFACE)
target_compile_definitions(gradus_flags INTERFACE GRADUS_VERSION="${PROJECT_VERSION}")
target_compile_options(gradus_flags INTERFACE -Wall -Wextra -Wshadow -ffp-contract=off -fno-fast-math)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # The least instruction set we run on; kernels go further at run time (Highway's targets start at SSE4 with AES).
  target_compile_options(gradus_flags INTERFACE -march=x86-64-v2 -maes -mpclmul)
  target_compile_definitions(gradus_flags INTERFACE HWY_DISABLED_TARGETS=HWY_SSSE3)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(gradus_flags INTERFACE -fpch-preprocess)  # for ccache
endif()
if(GRADUS_SANITIZE)
  target_compile_options(gradus_flags INTERFACE -fsanitize=${GRADUS_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  target_link_options(gradus_flags INTERFACE -fsanitize=${GRADUS_SANITIZE})
  if(GRADUS_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # It does not see fences. Ours order atomics alone, which cannot race.
    target_compile_options(gradus_flags INTERFACE -Wno-tsan)
  endif()
endif()
if(GRADUS_LIBFUZZER)
  target_compile_options(gradus_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(GRADUS_BUILD_TESTS)
  enable_testing()
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()

# What the tests may force: less than this machine's best, which they run with anyhow.
set(gradus_lesser_isas)
if(EXISTS /proc/cpuinfo)
  file(STRINGS /proc/cpuinfo cpu_flags REGEX "^flags" LIMIT_COUNT 1)
  if(cpu_flags MATCHES " avx512f ")
    list(APPEND gradus_lesser_isas avx2)
  endif()
  if(cpu_flags MATCHES " avx2 ")
    list(APPEND gradus_lesser_isas sse4)
  endif()
endif()

# Compiles `headers` for the target `first`; each later target takes what that one has.
function(gradus_precompile target first)
  if(target STREQUAL first)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  else()
    target_precompile_headers(${target} REUSE_FROM ${first})
  endif()
endfunction()

# A test program. Its own code is optimised little, and watched for bad addresses only, which halves the time that it
# takes to compile: what it calls is in the libraries.
function(gradus_test target)
  add_executable(${target} ${ARGN})
  target_link_libraries(${target} PRIVATE gradus_flags GTest::gmock GTest::gtest_main rapidcheck)
  target_compile_definitions(${target} PRIVATE GRADUS_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  if(GRADUS_SANITIZE MATCHES "undefined")
    target_compile_options(${target} PRIVATE -fno-sanitize=undefined)
  endif()
  gradus_precompile(${target} test_core ${gradus_test_headers})
endfunction()

function(gradus_room name)
  cmake_parse_arguments(ROOM "" "" "NEEDS;LIBRARIES;FORCED_ISAS;WITHOUT" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/gradus/${name}/*.cc)
  list(TRANSFORM ROOM_WITHOUT PREPEND ${PROJECT_SOURCE_DIR}/gradus/${name}/)
  list(REMOVE_ITEM sources ${ROOM_WITHOUT} "")
  if(NOT sources)
    file(WRITE ${PROJECT_BINARY_DIR}/empty_${name}.cc "")
    set(sources ${PROJECT_BINARY_DIR}/empty_${name}.cc)
  endif()
  add_library(gradus_${name} STATIC ${sources})
  target_include_directories(gradus_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include>)
  target_compile_features(gradus_${name} PUBLIC cxx_std_20)
  set_target_properties(gradus_${name} PROPERTIES EXPORT_NAME ${name})
  set_property(GLOBAL APPEND PROPERTY GRADUS_ROOM_TARGETS gradus_${name})
  list(TRANSFORM ROOM_NEEDS PREPEND gradus_)
  target_link_libraries(gradus_${name} PUBLIC ${ROOM_NEEDS} ${ROOM_LIBRARIES} PRIVATE $<BUILD_INTERFACE:gradus_flags>)
  gradus_precompile(gradus_${name} gradus_core ${gradus_room_headers})

  file(GLOB tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${name}/*.cc)
  if(GRADUS_BUILD_TESTS AND tests)
    gradus_test(test_${name} ${tests})
    target_link_libraries(test_${name} PRIVATE gradus_${name})
    add_test(NAME ${name} COMMAND test_${name})
    set_tests_properties(${name} PROPERTIES LABELS unit)
    foreach(isa IN LISTS ROOM_FORCED_ISAS)
      if(isa IN_LIST gradus_lesser_isas)
        add_test(NAME ${name}.${isa} COMMAND test_${name})
        set_tests_properties(${name}.${isa} PROPERTIES LABELS isa ENVIRONMENT GRADUS_ISA=${isa})
      endif()
    endforeach()
  endif()
endfunction()
