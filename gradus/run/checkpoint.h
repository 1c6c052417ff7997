// The checkpoint container: a folder step-000040/ with state.json, named tensors (*.safetensors) and texts
// (config.json, tokenizer.json), so that one with model.safetensors is a Hugging Face model folder, too. It appears as
// a whole or not at all. What goes into it is the business of learners; which rows of the logs belong to it, of
// run_folder.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "gradus/core/safetensors.h"

namespace gradus::run {

struct Checkpoint {
  int64_t step = 0;               // >= 0; names the folder
  std::optional<double> score{};  // higher is better; decides which one is the best
  std::string state = "{}";       // a JSON object of the learner: counters, scalers, curriculum; keys come back sorted
  std::map<std::string, NamedTensors> tensors{};  // by file name: "model.safetensors", "trainer.safetensors"
  std::map<std::string, std::string> files{};     // by file name: "config.json"
  std::map<std::string, int64_t> marks{};         // how far the run's logs went; set by Run
};

// Writes DIRECTORY/step-NNNNNN beside its place, syncs every file, renames it into place, and syncs DIRECTORY (made if
// missing). One of the same step is replaced. Returns the folder.
// Throws invalid_argument (negative step, file name that is a path or of the wrong kind, state that is not a JSON
// object) or io; then the older checkpoints stand. One writer at a time.
std::filesystem::path save_checkpoint(const std::filesystem::path& directory, const Checkpoint& checkpoint);

// Throws not_found, corrupt (naming the file that is missing, short or malformed), unsupported (a newer container), io.
Checkpoint load_checkpoint(const std::filesystem::path& folder);

// The finished checkpoint of the largest step; the one with the highest score, the earliest of equals. Unfinished ones
// are not seen; nothing is changed, so that these may be called on a run that is being trained. Empty when there is
// none.
std::optional<std::filesystem::path> latest_checkpoint(const std::filesystem::path& directory);
std::optional<std::filesystem::path> best_checkpoint(const std::filesystem::path& directory);

// Deletes all but the last `keep_last` (>= 1) and the best, and points the link DIRECTORY/best at the best. For the
// run's writer.
void prune_checkpoints(const std::filesystem::path& directory, int64_t keep_last);

// Puts DIRECTORY in order after a writer that was killed: what is half written or half deleted goes away, and a
// checkpoint whose replacement did not arrive comes back. For the run's writer.
void recover_checkpoints(const std::filesystem::path& directory);

}  // namespace gradus::run
