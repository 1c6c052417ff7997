# Everything Gradus takes instead of writing (package names: tools/setup). GradusConfig.cmake asks for the same list.
set(GRADUS_DEPENDENCIES Threads fmt nlohmann_json SQLite3 Protobuf OpenMP dnnl tomlplusplus box2d)
foreach(dependency IN LISTS GRADUS_DEPENDENCIES)
  find_package(${dependency} REQUIRED)
endforeach()
find_package(PkgConfig REQUIRED)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
option(GRADUS_MPI "Carry collectives over Open MPI where it is installed" ON)
if(GRADUS_MPI)
  pkg_check_modules(OMPI IMPORTED_TARGET ompi-c)
endif()
find_package(CLI11 REQUIRED)  # the command line only
