#include "gradus/posttrain/own_answers.h"

#include <algorithm>

#include "gradus/lm/sampler.h"

namespace gradus::posttrain {

std::vector<OwnAnswer> own_answers(lm::Model& model, std::span<const std::vector<int32_t>> windows, double temperature,
                                   uint64_t seed, int64_t first) {
  std::vector<OwnAnswer> answers;
  if (windows.empty()) return answers;
  const size_t window = windows.front().size(), prompt = std::max<size_t>(1, window / 4);
  std::vector<lm::SampleRequest> requests;
  for (const std::vector<int32_t>& w : windows) {
    GRADUS_CHECK(w.size() == window && window > prompt);
    requests.push_back({std::span(w).first(prompt), static_cast<uint64_t>(first) + requests.size()});
  }
  const int64_t longest = std::min(static_cast<int64_t>(window), model.config().max_positions);
  lm::Sampler sampler(model,
                      {.max_tokens = longest - static_cast<int64_t>(prompt), .temperature = temperature, .seed = seed});
  const std::vector<lm::Sample> samples = sampler.generate(requests);
  for (size_t i = 0; i < samples.size(); ++i) {
    OwnAnswer& a = answers.emplace_back(OwnAnswer{.tokens = {requests[i].prompt.begin(), requests[i].prompt.end()},
                                                  .prompt_tokens = static_cast<int64_t>(prompt)});
    a.tokens.insert(a.tokens.end(), samples[i].tokens.begin(), samples[i].tokens.end());
  }
  return answers;
}

}  // namespace gradus::posttrain
