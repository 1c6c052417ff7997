// The whole library in one include. `using` brings the names that a program of its own task needs to the top.
#pragma once

#include "gradus/core/error.h"
#include "gradus/core/rng.h"
#include "gradus/core/tensor.h"
#include "gradus/core/thread_pool.h"
#include "gradus/env/catalogue.h"
#include "gradus/env/check_env.h"
#include "gradus/env/vec_env.h"
#include "gradus/lm/model.h"
#include "gradus/lm/sampler.h"
#include "gradus/posttrain/task.h"
#include "gradus/posttrain/training.h"
#include "gradus/rl/deep/deep_agent.h"
#include "gradus/rl/train.h"
#include "gradus/rl/training_stats.h"
#include "gradus/run/run_folder.h"

namespace gradus {

using lm::byte_tokenizer;
using lm::character_tokenizer;
using posttrain::Problem;
using posttrain::Reward;
using posttrain::Task;
using run::Run;

}  // namespace gradus
