// One rank alone, whose batches have shards.
#pragma once

#include "gradus/comm/thread_transport.h"
#include "gradus/run/ranks.h"

namespace gradus::run {

inline Ranks solo(const ParallelConfig& config) {
  return Ranks(std::make_unique<comm::Group>(comm::ThreadWorld(1).transport(0)), config);
}

}  // namespace gradus::run
