// What a launcher tells a process through environment variables: which rank it is, among how many, and where they meet.
// Understood: our own `gradus launch` and torchrun (RANK, WORLD_SIZE, ...), Open MPI (OMPI_COMM_WORLD_*), MPICH and
// PMIx (PMI_*, PMIX_RANK), Slurm (SLURM_*). Nothing is opened here.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::comm {

struct Environment {
  std::string launcher = {};  // "variables" (RANK), "Open MPI", "PMI", "Slurm"; empty: nobody launched this process
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 0;  // among the ranks of this host; size 0: not known
  std::string master_address = {};     // where rank 0 listens; a name or an address
  int master_port = 0;
  std::string token = {};      // the job's secret; may be empty
  std::string transport = {};  // auto, shm, tcp, mpi; empty: auto
  std::string interface = {};  // as in interfaces.h; empty: the one that leads to rank 0
  int restarts = 0;            // how often the job was started again
  std::optional<std::chrono::milliseconds> timeout = {};
};

// Looks a variable up; null when it is not set. std::getenv is one.
using GetVariable = std::function<const char*(const char* name)>;

// RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE and those of the other launchers that are set; MASTER_ADDR and
// MASTER_PORT, which default to loopback when all ranks are on one host, to the first host of Slurm's list, and to a
// port made from the job's number; GRADUS_JOB_TOKEN, GRADUS_TIMEOUT_S, GRADUS_TRANSPORT, GRADUS_IFACE,
// GRADUS_RESTART.
// Throws invalid_argument, naming the variables and their values, when one is no number, rank >= size, two launchers
// disagree, or a variable is missing that the others need.
Environment read_environment(const GetVariable& get);
Environment read_environment();  // that of the process

// What read_environment() makes an equal environment of, as "NAME=value"; without the token. For launchers.
std::vector<std::string> to_variables(const Environment& environment);

// Is it a variable that read_environment() looks at, and that a launcher must not hand on?
bool is_launcher_variable(std::string_view name);

}  // namespace gradus::comm
