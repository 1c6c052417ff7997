// How a training that failed is started again: from its last checkpoint when there is one.
#pragma once

#include <string>
#include <vector>

namespace gradus::run {

// The words to start again what `words` started ("train", "chain/k15", "--out", "runs/a"):
//   - train with --out DIR that has a checkpoint: resume DIR, with --json and --quiet as they were;
//   - train with --out DIR that has none: the same words, and what is in DIR is put aside as DIR.failed-N;
//   - anything else: the same words.
// Throws io when a folder cannot be put aside.
std::vector<std::string> words_to_restart(const std::vector<std::string>& words);

}  // namespace gradus::run
