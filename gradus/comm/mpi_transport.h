// Ranks that MPI started, with Open MPI to carry their messages: the way to clusters, whose networks it knows. Where
// Gradus was built without it, the functions are still there and say so.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "gradus/comm/transport.h"

namespace gradus::comm {

// Was it there when Gradus was built?
bool has_mpi();

// All ranks of MPI_COMM_WORLD. Once in a process; MPI is initialised, with threads, and finalised with the object.
// all_reduce has the native algorithm "mpi", MPI's own, whose order of sums is its own too.
//   lost_after  so long a rank may show no sign of life before the others give it up
// Throws unsupported where Gradus was built without MPI, or MPI without threads; invalid_argument the second time.
std::unique_ptr<Transport> mpi_transport(std::chrono::milliseconds lost_after = std::chrono::milliseconds(4'000));

// The string of each rank, by rank, over the transport above.
std::vector<std::string> mpi_all_gather(const std::string& mine);

}  // namespace gradus::comm
