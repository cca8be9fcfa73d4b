# SPDX-License-Identifier: Apache-2.0
# What else is installed for a system service, and the Debian package: `make deb`.
set(debian ${PROJECT_SOURCE_DIR}/deploy/debian)
install(FILES ${PROJECT_SOURCE_DIR}/deploy/systemd/duly.service DESTINATION lib/systemd/system COMPONENT service EXCLUDE_FROM_ALL)
install(FILES ${debian}/default DESTINATION /etc/default RENAME duly COMPONENT service EXCLUDE_FROM_ALL)
install(FILES ${debian}/duly.yaml DESTINATION /etc/duly COMPONENT service EXCLUDE_FROM_ALL)
install(DIRECTORY DESTINATION /var/lib/duly/models COMPONENT service EXCLUDE_FROM_ALL)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/devices DESTINATION ${CMAKE_INSTALL_DATADIR}/duly)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME duly)
set(CPACK_PACKAGE_CONTACT "Duly <duly@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
# `make install` leaves /etc and /var alone; the package has them.
set(CPACK_INSTALL_CMAKE_PROJECTS "${PROJECT_BINARY_DIR};duly;ALL;/;${PROJECT_BINARY_DIR};duly;service;/")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "inference server for small machines that keeps deadlines
Serves many neural networks on one machine over the Open Inference Protocol
(HTTP and gRPC), and decides before it runs a request whether its promise can be
kept. With a load generator, a simulator and planning tools.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${debian}/postinst ${debian}/prerm ${debian}/postrm ${PROJECT_BINARY_DIR}/conffiles)
file(WRITE ${PROJECT_BINARY_DIR}/conffiles "/etc/default/duly\n/etc/duly/duly.yaml\n")
if(NOT ONNXRuntime_IS_BUNDLED)
  # Loaded by its name when a model needs it, so that dpkg-shlibdeps does not see it.
  file(REAL_PATH ${ONNXRuntime_LIBRARY} onnxruntime_file)
  execute_process(COMMAND dpkg-query --search ${onnxruntime_file} OUTPUT_VARIABLE onnxruntime_package ERROR_QUIET)
  string(REGEX REPLACE ":.*" "" CPACK_DEBIAN_PACKAGE_DEPENDS "${onnxruntime_package}")
endif()
if(CMAKE_CROSSCOMPILING)
  # dpkg-shlibdeps knows the libraries of this machine only.
  set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE arm64)
  set(CPACK_PROJECT_CONFIG_FILE ${PROJECT_SOURCE_DIR}/cmake/cross_depends.cmake)
  set(CPACK_DULY_READELF ${CMAKE_READELF})
  set(CPACK_DULY_PROGRAM ${PROJECT_BINARY_DIR}/duly)
  set(CPACK_DULY_LIBRARIES ${CMAKE_SYSROOT}/libraries.txt)
else()
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
endif()
include(CPack)
