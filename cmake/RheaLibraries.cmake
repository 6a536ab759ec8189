# SPDX-License-Identifier: MIT
# One static library for each folder of src/, linked as tools/layers.txt says. Sources are all *.cpp below the
# folder; *_test.cpp beside them become the test program <folder>_test.

file(STRINGS ${CMAKE_SOURCE_DIR}/tools/layers.txt RHEA_LAYER_LINES REGEX "^[a-z]")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tools/layers.txt)

# The libraries of Debian that a folder links with, as CMake targets. libcurl and capstone are loaded when they are wanted
# (sys/shared_library.h): only their headers are needed here.
set(RHEA_EXTERNAL_display ZLIB::ZLIB)
set(RHEA_EXTERNAL_sys Threads::Threads ${URING_LIBRARY} ${CMAKE_DL_LIBS})
set(RHEA_EXTERNAL_block ZLIB::ZLIB ${ZSTD_LIBRARY})
set(RHEA_EXTERNAL_host_x64 ${ZYDIS_LIBRARY})
set(RHEA_EXTERNAL_machine ${FDT_LIBRARY} ZLIB::ZLIB)
set(RHEA_EXTERNAL_loader ${FDT_LIBRARY} ZLIB::ZLIB)

function(rhea_add_folder folder allowed)
  string(REPLACE "/" "_" name ${folder})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*.cpp)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$|/(cli|img|helper|tool)/main\\.cpp$")
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  if(NOT sources)
    return()
  endif()
  add_library(rhea_${name} STATIC ${sources})
  target_include_directories(rhea_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(rhea_${name} PUBLIC rhea_flags ${RHEA_EXTERNAL_${name}})
  separate_arguments(allowed)
  foreach(lower IN LISTS allowed)
    string(REPLACE "/" "_" lower_name ${lower})
    target_link_libraries(rhea_${name} PUBLIC $<TARGET_NAME_IF_EXISTS:rhea_${lower_name}>)
  endforeach()
  if(tests AND RHEA_TESTS)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE rhea_${name} GTest::gtest GTest::gtest_main)
    add_test(NAME unit.${name} COMMAND ${name}_test)
    set_tests_properties(unit.${name} PROPERTIES LABELS unit TIMEOUT 300)
  endif()
endfunction()

foreach(line IN LISTS RHEA_LAYER_LINES)
  if(line MATCHES "^([a-z0-9/]+):[ ]*(.*)$")
    rhea_add_folder(${CMAKE_MATCH_1} "${CMAKE_MATCH_2}")
  endif()
endforeach()

# {fmt} by its headers; util/format.cpp has the rest of it.
target_compile_definitions(rhea_util PUBLIC $<TARGET_PROPERTY:fmt::fmt,INTERFACE_COMPILE_DEFINITIONS>)
target_include_directories(rhea_util SYSTEM PUBLIC $<TARGET_PROPERTY:fmt::fmt,INTERFACE_INCLUDE_DIRECTORIES>)
