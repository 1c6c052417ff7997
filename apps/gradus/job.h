// The ranks of a job that this process is one of, when `gradus launch`, mpirun, srun or the variables RANK, WORLD_SIZE,
// ... started it.
#pragma once

#include <memory>
#include <string>

#include "gradus/comm/group.h"

namespace gradus::app {

// Null when nobody started several ranks. Waits for the others; what is worth knowing goes to stderr.
//   transport  as in comm::ConnectOptions, where the environment names none
// Throws invalid_argument when the environment names another one, and what comm::read_environment and comm::connect
// throw.
std::unique_ptr<comm::Group> join_job(const std::string& transport = "auto");

// That of the first rank, for what ranks would each decide for themselves. `group` may be null.
std::string as_the_first_rank(comm::Group* group, const std::string& mine);

inline bool is_follower(const comm::Group* group) {
  return group != nullptr && group->rank() != 0;
}

}  // namespace gradus::app
