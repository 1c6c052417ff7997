// Of a build without MPI.
#include "gradus/comm/mpi_transport.h"

namespace gradus::comm {

namespace {

[[noreturn]] void refuse() {
  fail(ErrorCode::unsupported,
       "mpi: Gradus was built without MPI; install libopenmpi-dev and build again, or take --transport tcp");
}

}  // namespace

bool has_mpi() {
  return false;
}
std::unique_ptr<Transport> mpi_transport(std::chrono::milliseconds) {
  refuse();
}
std::vector<std::string> mpi_all_gather(const std::string&) {
  refuse();
}

}  // namespace gradus::comm
