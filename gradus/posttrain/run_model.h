// The model that a run trains: a new one, one that is given, or one that is given with low-rank adapters, which alone
// learn; and the same as a checkpoint has it.
#pragma once

#include <string>
#include <string_view>

#include "gradus/lm/model.h"
#include "gradus/posttrain/train_config.h"
#include "gradus/posttrain/training.h"
#include "gradus/run/checkpoint.h"

namespace gradus::posttrain {

// At the beginning of a run; `tokenizer` is that of a new model. Adapters are new, or those of the folder that is
// given, when these are as `config` has them. Throws what lm::load throws, and invalid_argument when the adapters are
// others, or there are some and `config` asks for none.
lm::Model make_model(const TrainConfig& config, lm::Tokenizer tokenizer);

// Of the weights that adapters leave as they are, or of a teacher: TrainState::base_norm. Another number means other
// weights.
double base_norm(const lm::Model& model);
// Throws invalid_argument, naming the model, when it is another number.
void require_base_norm(const lm::Model& model, double expected, std::string_view name);

// To go on from `checkpoint`; `origin` names it in errors. Of a run with adapters the base is that of its beginning,
// wherever config.model leads now. Throws corrupt; invalid_argument when the base has changed.
lm::Model model_of(const run::Checkpoint& checkpoint, const TrainConfig& config, lm::Tokenizer tokenizer,
                   const TrainState& state, const std::string& origin);

}  // namespace gradus::posttrain
