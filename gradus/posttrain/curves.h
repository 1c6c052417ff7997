// The pictures of a run: what it learned, from its own database.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace gradus::posttrain {

// Writes into the run folder, each as a whole or not at all, for the phases that the run has had:
//   curves.svg    k15: mean reward, held-out accuracy and share of long answers, and the answers' length on the right;
//                 pretrain: loss in bits per byte, of the windows trained on and of held-out text
//   warm-up.svg   sft: loss
// `title` names the run: "chain/k15". Reads what was committed, so a process that still writes the run flushes first.
// Returns the files. Throws not_found without a database, io.
std::vector<std::filesystem::path> write_curves(const std::filesystem::path& directory, std::string_view title);

}  // namespace gradus::posttrain
