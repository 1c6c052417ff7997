# Collectives over MPI, where there is one with a launcher: processes that mpirun starts.
find_program(GRADUS_MPIRUN mpirun)
if(OMPI_FOUND AND GRADUS_MPIRUN)
  add_executable(mpi_check tests/comm/mpi/mpi_check.cc)
  target_link_libraries(mpi_check PRIVATE gradus_flags gradus_comm)
  # As root, as containers are; more ranks than processors.
  set(mpirun ${CMAKE_COMMAND} -E env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ${GRADUS_MPIRUN} --oversubscribe)
  foreach(ranks 2 3 4)
    add_test(NAME comm.mpi.${ranks} COMMAND ${mpirun} -np ${ranks} $<TARGET_FILE:mpi_check>)
  endforeach()
  add_test(NAME comm.mpi.mismatch COMMAND ${mpirun} -np 3 $<TARGET_FILE:mpi_check> mismatch)
  set_tests_properties(comm.mpi.mismatch PROPERTIES PASS_REGULAR_EXPRESSION "both calls are named" FAIL_REGULAR_EXPRESSION "a call is not named;no error")
endif()
