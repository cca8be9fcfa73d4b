# SPDX-License-Identifier: Apache-2.0
# Read by cpack when it packs for another architecture: the packages that have the libraries that the program names.
execute_process(COMMAND ${CPACK_DULY_READELF} --dynamic ${CPACK_DULY_PROGRAM}
  OUTPUT_VARIABLE dynamic COMMAND_ERROR_IS_FATAL ANY)
# A list does not part at the semicolons behind an open bracket.
string(REPLACE "[" "<" dynamic "${dynamic}")
string(REGEX MATCHALL "Shared library: <[^]]+" needed "${dynamic}")
file(STRINGS ${CPACK_DULY_LIBRARIES} libraries)
set(depends)
foreach(name ${needed})
  string(REGEX REPLACE ".*<" "" name ${name})
  set(known ${libraries})
  string(REPLACE "." "[.]" pattern ${name})
  string(REPLACE "+" "[+]" pattern ${pattern})
  list(FILTER known INCLUDE REGEX "^${pattern} ")
  if(known MATCHES "^[^ ]+ ([^ ]+) ([^ ;]+)")
    set(package ${CMAKE_MATCH_1})
    # The distribution's revisions keep what programs see.
    string(REGEX REPLACE "-[^-]*$" "" version ${CMAKE_MATCH_2})
    list(APPEND depends "${package} (>= ${version})")
  elseif(NOT name MATCHES "^ld-linux")
    message(FATAL_ERROR "${name}, which duly needs, is in none of the packages of ${CPACK_DULY_LIBRARIES}")
  endif()
endforeach()
list(REMOVE_DUPLICATES depends)
list(JOIN depends ", " CPACK_DEBIAN_PACKAGE_DEPENDS)
