# Everything Gradus takes instead of writing (package names: tools/setup). GradusConfig.cmake asks for the same list.
set(GRADUS_DEPENDENCIES Threads fmt nlohmann_json SQLite3 Protobuf OpenMP dnnl tomlplusplus box2d)
foreach(dependency IN LISTS GRADUS_DEPENDENCIES)
  find_package(${dependency} REQUIRED)
endforeach()
find_package(PkgConfig REQUIRED)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
find_package(CLI11 REQUIRED)  # the command line only
