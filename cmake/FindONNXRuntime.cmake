# SPDX-License-Identifier: Apache-2.0
# Finds ONNX Runtime and makes the imported target onnxruntime::onnxruntime. Searched in this order:
#   ONNXRUNTIME_ROOT      CMake or environment variable: include/ and lib/, as in the release archives
#   .deps/onnxruntime     what scripts/setup.sh unpacks where the distribution has no package; opt/onnxruntime of
#                         the sysroot for another machine
#   the system            libonnxruntime-dev
# Sets ONNXRuntime_FOUND, ONNXRuntime_VERSION (of the library), ONNXRuntime_API_VERSION (of the headers),
# ONNXRuntime_INCLUDE_DIR, ONNXRuntime_LIBRARY and ONNXRuntime_IS_BUNDLED (not from the system).
# Users of the target do not link the library: they load it by its name, DULY_ONNXRUNTIME_SONAME, when they need it
# (backend/onnxruntime/runtime_library.h). See dependencies.cmake for the paths by which programs find it.

# The C API is versioned and only grows; this is what Debian 13 ships.
set(ONNXRuntime_MIN_API_VERSION 21)

# Nothing is cached: a changed root or a later setup takes effect with the next configuration.
unset(ONNXRuntime_INCLUDE_DIR)
unset(ONNXRuntime_LIBRARY)
set(ONNXRuntime_IS_BUNDLED FALSE)

if(ONNXRUNTIME_ROOT)
  set(onnxruntime_root ${ONNXRUNTIME_ROOT})
elseif(DEFINED ENV{ONNXRUNTIME_ROOT} AND NOT "$ENV{ONNXRUNTIME_ROOT}" STREQUAL "")
  set(onnxruntime_root $ENV{ONNXRUNTIME_ROOT})
elseif(CMAKE_CROSSCOMPILING AND EXISTS ${CMAKE_SYSROOT}/opt/onnxruntime/lib)
  set(onnxruntime_root ${CMAKE_SYSROOT}/opt/onnxruntime)
elseif(NOT CMAKE_CROSSCOMPILING AND EXISTS ${PROJECT_SOURCE_DIR}/.deps/onnxruntime/lib)
  set(onnxruntime_root ${PROJECT_SOURCE_DIR}/.deps/onnxruntime)
else()
  unset(onnxruntime_root)
endif()

if(DEFINED onnxruntime_root)
  set(ONNXRuntime_IS_BUNDLED TRUE)
  find_path(ONNXRuntime_INCLUDE_DIR onnxruntime_cxx_api.h NO_CACHE NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH
    PATHS ${onnxruntime_root} PATH_SUFFIXES include include/onnxruntime)
  find_library(ONNXRuntime_LIBRARY onnxruntime NO_CACHE NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH
    PATHS ${onnxruntime_root} PATH_SUFFIXES lib lib64 lib/${CMAKE_LIBRARY_ARCHITECTURE})
  set(onnxruntime_help "${onnxruntime_root} should hold include/onnxruntime_cxx_api.h and lib/libonnxruntime.so")
else()
  find_path(ONNXRuntime_INCLUDE_DIR onnxruntime_cxx_api.h NO_CACHE PATH_SUFFIXES onnxruntime)
  find_library(ONNXRuntime_LIBRARY onnxruntime NO_CACHE)
  set(onnxruntime_help
    "Run scripts/setup.sh, or set ONNXRUNTIME_ROOT to the folder of an unpacked release (include/, lib/)")
endif()

if(ONNXRuntime_INCLUDE_DIR)
  file(STRINGS ${ONNXRuntime_INCLUDE_DIR}/onnxruntime_c_api.h ONNXRuntime_API_VERSION
    REGEX "^#define ORT_API_VERSION [0-9]+")
  string(REGEX REPLACE "[^0-9]" "" ONNXRuntime_API_VERSION "${ONNXRuntime_API_VERSION}")
  if(ONNXRuntime_API_VERSION LESS ONNXRuntime_MIN_API_VERSION)
    string(APPEND onnxruntime_help
      ". The headers in ${ONNXRuntime_INCLUDE_DIR} have API version ${ONNXRuntime_API_VERSION}, "
      "${ONNXRuntime_MIN_API_VERSION} is needed")
    unset(ONNXRuntime_INCLUDE_DIR)
  endif()
endif()
if(ONNXRuntime_LIBRARY)
  # libonnxruntime.so.1.31.1: release 1.N serves every API version up to N.
  file(REAL_PATH ${ONNXRuntime_LIBRARY} onnxruntime_file)
  if(onnxruntime_file MATCHES "\\.so\\.(1\\.([0-9]+)(\\.[0-9]+)*)$")
    set(ONNXRuntime_VERSION ${CMAKE_MATCH_1})
    if(CMAKE_MATCH_2 LESS ONNXRuntime_API_VERSION)
      string(APPEND onnxruntime_help
        ". ${onnxruntime_file} is older than its headers (API version ${ONNXRuntime_API_VERSION})")
      unset(ONNXRuntime_LIBRARY)
    endif()
  endif()
endif()
if(ONNXRuntime_LIBRARY)
  execute_process(COMMAND ${CMAKE_READELF} -d ${ONNXRuntime_LIBRARY} OUTPUT_VARIABLE onnxruntime_dynamic)
  if(onnxruntime_dynamic MATCHES "\\(SONAME\\)[^[]*\\[([^]]+)\\]")
    set(ONNXRuntime_SONAME ${CMAKE_MATCH_1})
  else()
    string(APPEND onnxruntime_help ". ${ONNXRuntime_LIBRARY} says no SONAME")
    unset(ONNXRuntime_LIBRARY)
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(ONNXRuntime
  REQUIRED_VARS ONNXRuntime_LIBRARY ONNXRuntime_INCLUDE_DIR
  VERSION_VAR ONNXRuntime_VERSION
  REASON_FAILURE_MESSAGE "${onnxruntime_help}.")

if(ONNXRuntime_FOUND AND NOT TARGET onnxruntime::onnxruntime)
  add_library(onnxruntime::onnxruntime INTERFACE IMPORTED)
  set_target_properties(onnxruntime::onnxruntime PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES ${ONNXRuntime_INCLUDE_DIR}
    INTERFACE_COMPILE_DEFINITIONS "ORT_API_MANUAL_INIT;DULY_ONNXRUNTIME_SONAME=\"${ONNXRuntime_SONAME}\""
    INTERFACE_LINK_LIBRARIES "${CMAKE_DL_LIBS}")
endif()
