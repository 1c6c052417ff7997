# cmake --install: the program, the headers, the libraries, and what find_package(Gradus) needs.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(gradus_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Gradus)
get_property(room_targets GLOBAL PROPERTY GRADUS_ROOM_TARGETS)

# Inline functions of the headers must round in a user's program as they do in the library, or the linker may keep the other copy.
target_compile_options(gradus_core INTERFACE $<INSTALL_INTERFACE:-ffp-contract=off>)

install(TARGETS gradus ${room_targets} EXPORT GradusTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY gradus DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN "*-inl.h" EXCLUDE)
if(TARGET gradus_cli)
  install(TARGETS gradus_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(EXPORT GradusTargets NAMESPACE Gradus:: DESTINATION ${gradus_package_dir})
configure_package_config_file(cmake/GradusConfig.cmake.in ${PROJECT_BINARY_DIR}/GradusConfig.cmake
  INSTALL_DESTINATION ${gradus_package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/GradusConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/GradusConfig.cmake ${PROJECT_BINARY_DIR}/GradusConfigVersion.cmake
  DESTINATION ${gradus_package_dir})

# A project of its own, built against an install tree. Sanitized libraries would ask the same flags of it, so not there.
if(GRADUS_BUILD_TESTS AND NOT GRADUS_SANITIZE)
  set(install_tree ${PROJECT_BINARY_DIR}/install_tree)
  add_test(NAME install COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix ${install_tree})
  function(gradus_installed_example test folder program)
    add_test(NAME ${test}
      COMMAND ${CMAKE_CTEST_COMMAND} --build-and-test ${PROJECT_SOURCE_DIR}/examples/${folder} ${PROJECT_BINARY_DIR}/${program}
        --build-generator ${CMAKE_GENERATOR}
        --build-options -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DCMAKE_PREFIX_PATH=${install_tree}
        --test-command ${PROJECT_SOURCE_DIR}/tests/tools/run_in_new_folder ./${program} ${ARGN})
    set_tests_properties(${test} PROPERTIES FIXTURES_REQUIRED install_tree)
  endfunction()
  gradus_installed_example(find_package parity parity FOLDER 20000 1)
  gradus_installed_example(find_package.environment environment_cpp hover 2000)
  set_tests_properties(install PROPERTIES FIXTURES_SETUP install_tree)
endif()
