// The drafter of a model that has heads, with what it needs: its guesser, and what rows cost on this machine.
#pragma once

#include <algorithm>
#include <cstdint>

#include "gradus/lm/cost_curve.h"
#include "gradus/lm/medusa/drafter.h"
#include "gradus/lm/model.h"

namespace gradus::lm {

class ModelDrafter {
 public:
  static constexpr int64_t kMostRows = 64;  // of a step whose cost is measured

  // Measures the cost of rows, for trees that it sizes. `config.cost` is not read. The model outlives the object.
  explicit ModelDrafter(Model& model, DraftingConfig config = {})
      : cost_(measure_cost_curve(model, std::clamp<int64_t>(model.config().max_positions / 2, 1, kMostRows))),
        guesser_(*model.heads(), model.draft_vocabulary()),
        drafter_(&guesser_, model.heads()->config().heads, with_cost(std::move(config))) {}
  ModelDrafter(const ModelDrafter&) = delete;
  ModelDrafter& operator=(const ModelDrafter&) = delete;

  // For the model's weights as they are now.
  Drafter& drafter() {
    guesser_.refresh();
    return drafter_;
  }

 private:
  DraftingConfig with_cost(DraftingConfig config) const {
    config.cost = [this](int64_t rows) { return cost_.ms(rows); };
    config.learns_cost = true;
    return config;
  }

  CostCurve cost_;
  MedusaGuesser guesser_;
  MedusaDrafter drafter_;
};

}  // namespace gradus::lm
