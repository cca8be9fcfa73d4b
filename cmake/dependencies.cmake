# SPDX-License-Identifier: Apache-2.0
# Everything is found, nothing is downloaded: scripts/setup.sh installs what is missing.
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(Boost 1.74 REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(simdjson REQUIRED)
find_package(dragonbox REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
# The module: distributions ship no package configuration.
find_package(Protobuf MODULE REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(nghttp2 REQUIRED IMPORTED_TARGET libnghttp2>=1.52)
# The load generator and the benchmarks; the server speaks gRPC by nghttp2.
find_package(gRPC REQUIRED)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
find_package(CLI11 REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
if(POLICY CMP0144)
  cmake_policy(SET CMP0144 NEW)  # ONNXRUNTIME_ROOT means what it says
endif()
find_package(ONNXRuntime REQUIRED)

if(ONNXRuntime_IS_BUNDLED)
  # Not in the loader's path: the installed program carries its copy.
  include(GNUInstallDirs)
  cmake_path(GET ONNXRuntime_LIBRARY PARENT_PATH onnxruntime_folder)
  set(CMAKE_BUILD_RPATH ${onnxruntime_folder})
  set(CMAKE_INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}/duly")
  file(GLOB onnxruntime_files ${ONNXRuntime_LIBRARY}*)
  install(FILES ${onnxruntime_files} DESTINATION ${CMAKE_INSTALL_LIBDIR}/duly)
endif()
if(DULY_SANITIZE)
  # The sanitizers' dlopen does not see the program's rpath, but finds what is loaded already.
  target_link_options(onnxruntime::onnxruntime INTERFACE
    "LINKER:--push-state,--no-as-needed,${ONNXRuntime_LIBRARY},--pop-state")
endif()
