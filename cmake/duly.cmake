# SPDX-License-Identifier: Apache-2.0
# One helper per kind of target, so that warnings, include root and tests are the same everywhere.

add_library(duly_options INTERFACE)
target_include_directories(duly_options INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_options(duly_options INTERFACE
  -Wall -Wextra -Wconversion -Wnon-virtual-dtor
  # g++ would also say what files of one unity build hide from each other.
  $<IF:$<CXX_COMPILER_ID:GNU>,-Wshadow=local,-Wshadow>
  $<$<BOOL:${DULY_WERROR}>:-Werror>
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>
  -fPIC
  # Decisions must not differ between compilers and CPUs.
  -ffp-contract=off)
if(DULY_SANITIZE)
  list(JOIN DULY_SANITIZE "," duly_sanitizers)
  target_compile_options(duly_options INTERFACE -fsanitize=${duly_sanitizers} -fno-omit-frame-pointer
                                                -fno-sanitize-recover=all)
  target_link_options(duly_options INTERFACE -fsanitize=${duly_sanitizers})
endif()
if(DULY_FUZZ)
  target_compile_options(duly_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

add_custom_target(benches)
add_custom_target(fuzzers)

# duly_library(NAME SOURCES ... [DEPS ...] [TESTS ...] [TEST_DEPS ...] [TEST_LABELS ...] [BENCHES ...])
# Makes the library duly_NAME from SOURCES (header-only when there is no .cc), a test program
# NAME_test from TESTS and one benchmark program per file of BENCHES. The latter are not part of
# `all`; the target `benches` makes all of them.
function(duly_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;TESTS;TEST_DEPS;TEST_LABELS;BENCHES" ${ARGN})
  set(target duly_${name})
  if(ARG_SOURCES)
    add_library(${target} STATIC ${ARG_SOURCES})
    target_link_libraries(${target} PUBLIC duly_options ${ARG_DEPS})
  else()
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE duly_options ${ARG_DEPS})
  endif()
  if(ARG_TESTS)
    add_executable(${name}_test ${ARG_TESTS})
    target_link_libraries(${name}_test PRIVATE ${target} ${ARG_TEST_DEPS} GTest::gmock GTest::gtest_main)
    gtest_discover_tests(${name}_test DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300 LABELS ${name})
    if(ARG_TEST_LABELS)
      # gtest_discover_tests takes no list as the value of a property.
      set(labels ${CMAKE_CURRENT_BINARY_DIR}/${name}_labels.cmake)
      file(WRITE ${labels}
        "if(${name}_test_TESTS)\n"
        "  set_tests_properties(\${${name}_test_TESTS} PROPERTIES LABELS \"${name};${ARG_TEST_LABELS}\")\n"
        "endif()\n")
      set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${labels})
    endif()
  endif()
  foreach(bench ${ARG_BENCHES})
    get_filename_component(bench_name ${bench} NAME_WE)
    add_executable(${bench_name} EXCLUDE_FROM_ALL ${bench})
    target_link_libraries(${bench_name} PRIVATE ${target} ${ARG_TEST_DEPS} benchmark::benchmark)
    add_dependencies(benches ${bench_name})
  endforeach()
endfunction()

# duly_fuzz(NAME [SOURCES ...] [DEPS ...])
# Makes the program NAME from NAME.cc, which has LLVMFuzzerTestOneInput, and a test that runs it over
# tests/corpus/NAME: with libFuzzer where DULY_FUZZ is set, else over mutations that are always the
# same. The target `fuzzers` makes all of them.
function(duly_fuzz name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  set(corpus ${PROJECT_SOURCE_DIR}/tests/corpus/${name})
  add_executable(${name} ${name}.cc ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS})
  add_dependencies(fuzzers ${name})
  if(DULY_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    set(found ${PROJECT_BINARY_DIR}/corpus/${name})
    file(MAKE_DIRECTORY ${found})
    # Inputs that reach something new are kept in `found` for the next run, failing ones beside it.
    add_test(NAME fuzz.${name}
      COMMAND ${name} -runs=${DULY_FUZZ_RUNS} -seed=1 -timeout=10
              -print_final_stats=1 -artifact_prefix=${found}. ${found} ${corpus})
    set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz)
  else()
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/fuzz_main.cc)
    target_link_libraries(${name} PRIVATE duly_base)
    add_test(NAME fuzz.${name} COMMAND ${name} ${corpus} 200)
    set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 120)
  endif()
endfunction()
