# Releases a project to its front-end computers. Written by `pomona release --print cmake`.
#
#   include(Pomona.cmake)
#   pomona_release()                     # then: cmake --build build --target pomona-release
#
#   pomona_release([NAME name]           default: the project's
#                  [VERSION version]     default: the project's; dev for a development release
#                  [PLATFORM platform]   where a software has a payload for each platform
#                  [INSTALL path]        where it is unpacked; default: as the version before
#                  [PIN fec...] [PIN_GROUP group...]
#                  [TARGET target])      default: pomona-release
#
# What the project's install() rules say is what is released; they are relative to the unpacked folder. Where to comes from
# the environment of the build: POMONA_SITE, POMONA_TO or POMONA_ROOT, POMONA_CREDENTIAL.

cmake_minimum_required(VERSION 3.16)

function(pomona_release)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;VERSION;PLATFORM;INSTALL;TARGET" "PIN;PIN_GROUP")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "pomona_release: unknown argument ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_NAME)
    set(arg_NAME "${PROJECT_NAME}")
  endif()
  if(NOT arg_VERSION)
    set(arg_VERSION "${PROJECT_VERSION}")
  endif()
  if(NOT arg_TARGET)
    set(arg_TARGET pomona-release)
  endif()
  if(NOT arg_VERSION)
    message(FATAL_ERROR "pomona_release: give VERSION, here or to project()")
  endif()
  set(options "")
  if(arg_VERSION STREQUAL "dev")
    list(APPEND options --dev)
  endif()
  if(arg_PLATFORM)
    list(APPEND options --platform "${arg_PLATFORM}")
  endif()
  if(arg_INSTALL)
    list(APPEND options --install "${arg_INSTALL}")
  endif()
  foreach(fec IN LISTS arg_PIN)
    list(APPEND options --pin "${fec}")
  endforeach()
  foreach(group IN LISTS arg_PIN_GROUP)
    list(APPEND options --pin-group "${group}")
  endforeach()
  find_program(POMONA_EXECUTABLE pomona REQUIRED)
  set(stage "${CMAKE_CURRENT_BINARY_DIR}/${arg_TARGET}.stage")
  add_custom_target(${arg_TARGET}
    COMMAND "${CMAKE_COMMAND}" --build "${CMAKE_BINARY_DIR}" --config $<CONFIG>
    COMMAND "${CMAKE_COMMAND}" -E rm -rf "${stage}"
    COMMAND "${CMAKE_COMMAND}" --install "${CMAKE_BINARY_DIR}" --config $<CONFIG> --prefix "${stage}"
    COMMAND "${POMONA_EXECUTABLE}" release ${options} -- "${arg_NAME}" "${arg_VERSION}" "${stage}"
    USES_TERMINAL VERBATIM)
endfunction()
