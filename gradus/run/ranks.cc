#include "gradus/run/ranks.h"

#include <bit>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>

#include "gradus/comm/monitor.h"

namespace gradus::run {

namespace {

constexpr size_t kPosted = 256;  // buckets in flight; a poster waits beyond them
constexpr int64_t kMaxShards = 4096;

}  // namespace

void ParallelConfig::check(int n_ranks) const {
  require(shards >= 0 && shards <= kMaxShards, "parallel.shards is {}, but must be 0 (one per rank) to {}", shards,
          kMaxShards);
  const bool whole_trees = shards % n_ranks == 0 && std::has_single_bit(static_cast<uint64_t>(shards / n_ranks));
  require(shards == 0 || n_ranks == 1 || whole_trees,
          "parallel.shards {} over {} ranks is no power of two each, so that sums would depend on the ranks; take 8, "
          "and 1, 2, 4 or 8 ranks",
          shards, n_ranks);
  require(zero >= 0 && zero <= 2, "parallel.zero is {}, but must be 0, 1 or 2", zero);
  require(wire == "f32" || wire == "bf16", "parallel.wire is '{}', but must be f32 or bf16", wire);
  require(
      wire == "f32" || shards == 0,
      "parallel.wire bf16 rounds each rank's sum, which parallel.shards {} promises not to depend on; leave one out",
      shards);
  require(bucket_mb > 0 && bucket_mb <= 1e6, "parallel.bucket_mb is {}, but must be positive", bucket_mb);
}

// The communication thread and what it is to do.
struct Ranks::State {
  explicit State(std::unique_ptr<comm::Group> g) : group(std::move(g)) {
    if (group->size() == 1) return;
    monitor.emplace(*group, comm::MonitorOptions{.restarts = group->restarts()});
    thread.emplace("comm", 0, [this](std::stop_token stop) { work(stop); });
  }

  void work(std::stop_token stop) {
    while (auto job = queue.pop(stop)) {
      bool failed = false;
      {
        const std::lock_guard lock(mutex);
        failed = error != nullptr;
      }
      std::exception_ptr thrown;
      if (!failed) {  // after an error the group is closed
        try {
          (*job)(*group);
        } catch (...) {
          thrown = std::current_exception();
        }
      }
      const std::lock_guard lock(mutex);
      if (thrown) error = thrown;
      --in_flight;
      done.notify_all();
    }
  }

  std::unique_ptr<comm::Group> group;
  std::optional<comm::Monitor> monitor;
  std::mutex mutex;
  std::condition_variable done;
  int64_t in_flight = 0;
  std::exception_ptr error;
  runtime::BoundedQueue<std::function<void(comm::Group&)>> queue{kPosted};
  std::optional<runtime::Thread> thread;  // last: it ends first
};

Ranks::Ranks(std::unique_ptr<comm::Group> group, const ParallelConfig& config)
    : config_(config), rank_(group->rank()), size_(group->size()) {
  config.check(size_);
  shards_ = config.shards > 0 ? config.shards : size_;
  state_ = std::make_unique<State>(std::move(group));
}

Ranks::~Ranks() = default;

void Ranks::report_to(const std::filesystem::path& folder) {
  if (state_->monitor) state_->monitor->write_to(folder);
}

std::string Ranks::about() const {
  std::string text = fmt::format("{} {} over {}, {} {}", size_, size_ == 1 ? "rank" : "ranks",
                                 state_->group->transport_name(), shards_, shards_ == 1 ? "shard" : "shards");
  if (config_.zero > 0) text += fmt::format(", ZeRO {}", config_.zero);
  if (config_.wire != "f32") text += fmt::format(", {} on the wire", config_.wire);
  return text;
}

void Ranks::post(std::function<void(comm::Group&)> work) {
  if (size_ == 1) return work(*state_->group);
  {
    const std::lock_guard lock(state_->mutex);
    ++state_->in_flight;
  }
  state_->queue.push(std::move(work));
}

void Ranks::wait() {
  std::unique_lock lock(state_->mutex);
  state_->done.wait(lock, [&] { return state_->in_flight == 0; });
  if (state_->error) std::rethrow_exception(state_->error);
}

void Ranks::abort(const Error& error) noexcept {
  state_->group->abort(error);
}

comm::Group& Ranks::group() {
  wait();
  return *state_->group;
}

void Ranks::merge(std::span<double> values) {
  // Zeros change nothing: the sum is exact. (-0 becomes +0.)
  if (size_ > 1) group().all_reduce(values);
}

bool Ranks::any(bool mine) {
  uint8_t flag = mine ? 1 : 0;
  if (size_ > 1) group().all_reduce(std::span(&flag, 1), comm::ReduceOp::max);
  return flag != 0;
}

std::vector<std::string> Ranks::gather(std::string_view mine) {
  return group().all_gather(mine);
}

std::vector<int64_t> even_parts(int64_t n, int64_t n_parts) {
  return comm::even_bounds(n, static_cast<int>(n_parts));
}

std::vector<int64_t> balanced_parts(std::span<const int64_t> weights, int64_t n_parts) {
  int64_t total = 0;
  for (const int64_t w : weights) total += w;
  std::vector<int64_t> bounds{0};
  int64_t before = 0;  // weight of the items in front of the next bound
  size_t i = 0;
  for (int64_t k = 1; k < n_parts; ++k) {
    // An item that straddles the share goes where more of it lies.
    const int64_t share = total / n_parts * k + total % n_parts * k / n_parts;
    while (i < weights.size() && before + weights[i] / 2 < share) before += weights[i++];
    bounds.push_back(static_cast<int64_t>(i));
  }
  bounds.push_back(static_cast<int64_t>(weights.size()));
  return bounds;
}

}  // namespace gradus::run
