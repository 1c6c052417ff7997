#include "apps/gradus/job.h"

#include "apps/gradus/output.h"
#include "gradus/comm/connect.h"
#include "gradus/comm/environment.h"
#include "gradus/core/error.h"

namespace gradus::app {

std::unique_ptr<comm::Group> join_job(const std::string& transport) {
  const comm::Environment environment = comm::read_environment();
  if (environment.size == 1) return nullptr;
  require(transport == "auto" || environment.transport.empty() || environment.transport == transport,
          "job: {} is to be the transport, but GRADUS_TRANSPORT is {}; name one of them", transport,
          environment.transport);
  return comm::connect(environment, {}, {.transport = transport, .warn = [](const std::string& line) {
                                           print_error("warning: " + line);
                                         }});
}

std::string as_the_first_rank(comm::Group* group, const std::string& mine) {
  return group == nullptr ? mine : group->all_gather(mine).front();
}

}  // namespace gradus::app
