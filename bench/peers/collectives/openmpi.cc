// MPI_Allreduce of fp32 sums in place. mpirun -np 2 openmpi [--rounds N] BYTES...
#include <mpi.h>

#include "measure.h"

namespace {

struct Peer {
  std::vector<float>* vector = nullptr;

  void prepare(std::vector<float>& x) { vector = &x; }
  void sum() {
    MPI_Allreduce(MPI_IN_PLACE, vector->data(), static_cast<int>(vector->size()), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  }
  void barrier() { MPI_Barrier(MPI_COMM_WORLD); }
  void max(std::vector<double>& x) {
    MPI_Allreduce(MPI_IN_PLACE, x.data(), static_cast<int>(x.size()), MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  }
};

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0, size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  Peer peer;
  measure(peer, "openmpi", rank, size, parse_arguments(argc, argv));
  MPI_Finalize();
}
