# What the room `run` compiles in besides its sources: the event messages and the commit it is built from.
set(GRADUS_GENERATED ${PROJECT_BINARY_DIR}/generated)
set(GRADUS_EVENTS ${GRADUS_GENERATED}/gradus/run/events.pb)
add_custom_command(
  OUTPUT ${GRADUS_EVENTS}.cc ${GRADUS_EVENTS}.h
  COMMAND ${CMAKE_COMMAND} -E make_directory ${GRADUS_GENERATED}
  COMMAND protobuf::protoc --proto_path=${PROJECT_SOURCE_DIR} --cpp_out=${GRADUS_GENERATED}
          ${PROJECT_SOURCE_DIR}/gradus/run/events.proto
  DEPENDS ${PROJECT_SOURCE_DIR}/gradus/run/events.proto protobuf::protoc
  VERBATIM)
set_source_files_properties(${GRADUS_EVENTS}.cc PROPERTIES COMPILE_OPTIONS -w)
target_sources(gradus_run PRIVATE ${GRADUS_EVENTS}.cc ${GRADUS_EVENTS}.h)
target_include_directories(gradus_run SYSTEM PRIVATE ${GRADUS_GENERATED})

# The commit at configure time; a new one configures again.
set(GRADUS_GIT_COMMIT unknown)
find_package(Git QUIET)
if(Git_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} rev-parse --verify --quiet HEAD WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
                  OUTPUT_VARIABLE head RESULT_VARIABLE no_head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  execute_process(COMMAND ${GIT_EXECUTABLE} rev-parse --git-path logs/HEAD WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
                  OUTPUT_VARIABLE head_log OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT no_head)
    set(GRADUS_GIT_COMMIT ${head})
  endif()
  get_filename_component(head_log "${head_log}" ABSOLUTE BASE_DIR ${PROJECT_SOURCE_DIR})
  if(head_log AND EXISTS ${head_log} AND NOT IS_DIRECTORY ${head_log})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${head_log})
  endif()
endif()
set_source_files_properties(${PROJECT_SOURCE_DIR}/gradus/run/record.cc PROPERTIES
                            COMPILE_DEFINITIONS GRADUS_GIT_COMMIT="${GRADUS_GIT_COMMIT}")
