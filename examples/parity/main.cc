// A task of your own: is the number of ones in a bit string odd? The model may answer at once, or keep a running
// parity.
//   prompt  0110#      long answer  >0>1>0>0=0      short answer  =0
//   parity [FOLDER [TOKENS [ITERATIONS]]]     a few minutes with the defaults; the run lies in FOLDER, the model in
//   FOLDER/model
#include <gradus/gradus.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

struct Parity : gradus::Task {  // a task is one small class: make a problem, show it, judge an answer
  std::pair<int, int> difficulties() const override { return {4, 12}; }

  Problem make(gradus::Rng& rng, int difficulty) const override {
    Problem p{.difficulty = difficulty};
    for (int i = 0; i < difficulty; ++i) p.text += rng.below(2) == 1 ? '1' : '0';
    p.answer = std::ranges::count(p.text, '1') % 2 == 1 ? "1" : "0";
    return p;
  }

  std::string prompt(const Problem& p) const override { return p.text + "#"; }

  std::string demonstration(const Problem& p, gradus::Rng& rng) const override {
    if (rng.below(2) == 0) return "=" + p.answer;
    std::string steps;
    char parity = '0';
    for (const char bit : p.text) {
      if (bit == '1') parity = parity == '0' ? '1' : '0';
      steps += {'>', parity};
    }
    return steps + "=" + p.answer;
  }

  Reward judge(const Problem& p, std::string_view answer) const override {
    const bool right = answer.substr(std::min(answer.find('='), answer.size())) == "=" + p.answer;
    return {.value = right ? 1.0 : 0.0, .correct = right};
  }
};

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string folder = argc > 1 ? argv[1] : "runs/parity";
    const int64_t tokens = argc > 2 ? std::atoll(argv[2]) : 3'000'000;
    const int64_t iterations = argc > 3 ? std::atoll(argv[3]) : 40;
    const auto say = [](const gradus::posttrain::Progress& p) {
      if (p.phase == "k15")
        std::printf("iteration %2d   reward %.3f\n", static_cast<int>(p.iteration), p.metrics.front().second);
    };

    auto model =
        gradus::lm::Model::create({.layers = 4, .width = 128, .heads = 4}, gradus::character_tokenizer("01#>=$", "$"));
    gradus::Run run(folder, {.seed = 7});
    gradus::posttrain::sft(run, model, Parity{}, {.tokens = tokens});
    gradus::posttrain::k15(run, model, Parity{}, {.iterations = iterations, .prompts = 64, .samples = 16, .tau = 0.5},
                           {.on_step = say});
    gradus::lm::save(model, folder + "/model");  // a Hugging Face folder
    return 0;
  } catch (const gradus::Error& error) {
    std::fprintf(stderr, "parity: %s\n", error.what());
    return 1;
  }
}
