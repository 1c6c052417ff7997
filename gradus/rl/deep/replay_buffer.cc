#include "gradus/rl/deep/replay_buffer.h"

#include <algorithm>

#include "gradus/core/error.h"
#include "gradus/rl/agent_state.h"

namespace gradus::rl {

namespace {

std::span<float> row(Tensor& t, int64_t i) {
  return {t.data<float>() + i * t.dim(1), static_cast<size_t>(t.dim(1))};
}
std::span<const float> row(const Tensor& t, int64_t i) {
  return {t.data<float>() + i * t.dim(1), static_cast<size_t>(t.dim(1))};
}

}  // namespace

ReplayBuffer::ReplayBuffer(const Config& c) {
  GRADUS_CHECK(c.capacity >= 1);
  const int64_t bytes_each = static_cast<int64_t>(sizeof(float)) * (2 * c.observation_size + c.action_size + 1) + 2;
  const double gb = static_cast<double>(c.capacity) * static_cast<double>(bytes_each) * 1e-9;
  std::byte* next = nullptr;
  if (c.directory.empty()) {
    const double left_gb = static_cast<double>(available_memory()) * 1e-9;
    const auto n = static_cast<double>(c.side_by_side);
    if (n * gb > left_gb) {
      fail(ErrorCode::exhausted,
           "replay.buffer_size is {}: that many transitions take {:.1f} GB of memory{}, but {:.1f} GB are left; lower "
           "it{}, or set replay.directory, where they go into a file",
           c.capacity, n * gb, c.side_by_side > 1 ? fmt::format(" for {} seeds", c.side_by_side) : "", left_gb,
           c.side_by_side > 1 ? " or seeds" : "");
    }
  } else {
    require(gb < 1e9, "replay.buffer_size is {}: that many transitions take {:.1f} GB", c.capacity, gb);
    file_ = FileMemory(c.directory, c.capacity * bytes_each);
    next = file_.data();
  }
  const auto make = [&](Shape shape, DType dtype = DType::f32) {
    if (next == nullptr) return Tensor::empty(shape, dtype);
    Tensor t = Tensor::over(next, shape, dtype);
    next += t.bytes();
    return t;
  };
  s_ = make({c.capacity, c.observation_size});
  a_ = make({c.capacity, c.action_size});
  r_ = make({c.capacity});
  s2_ = make({c.capacity, c.observation_size});
  terminated_ = make({c.capacity}, DType::u8);
  steps_ = make({c.capacity}, DType::u8);
}

void ReplayBuffer::add(const Transition& t) {
  const int64_t i = added_++ % capacity();
  std::ranges::copy(t.s, row(s_, i).begin());
  std::ranges::copy(t.a, row(a_, i).begin());
  r_.data<float>()[i] = t.r;
  std::ranges::copy(t.s2, row(s2_, i).begin());
  terminated_.data<uint8_t>()[i] = t.terminated;
  steps_.data<uint8_t>()[i] = static_cast<uint8_t>(t.steps);
}

Transition ReplayBuffer::operator[](int64_t i) const {
  return {.s = row(s_, i),
          .a = row(a_, i),
          .r = r_.data<float>()[i],
          .s2 = row(s2_, i),
          .terminated = terminated_.data<uint8_t>()[i] != 0,
          .steps = steps_.data<uint8_t>()[i]};
}

NamedTensors ReplayBuffer::state() const {
  const int64_t n = size();
  const int64_t added[] = {added_};
  return {{"replay.s", s_.rows(0, n)},
          {"replay.a", a_.rows(0, n)},
          {"replay.r", r_.rows(0, n)},
          {"replay.s2", s2_.rows(0, n)},
          {"replay.terminated", terminated_.rows(0, n)},
          {"replay.steps", steps_.rows(0, n)},
          {"replay.added", Tensor::from<int64_t>(added, {1})}};
}

void ReplayBuffer::restore(const NamedTensors& state) {
  const int64_t added = find_in(state, "replay.added", {1}, DType::i64).data<int64_t>()[0];
  if (added < 0) fail(ErrorCode::corrupt, "replay.added is {}, but must not be negative", added);
  const int64_t n = std::min(added, capacity());
  const auto take = [&](const char* name, Tensor& to, const Shape& shape) {
    Tensor rows = to.rows(0, n);
    rows.copy_from(find_in(state, name, shape, to.dtype()));
  };
  take("replay.s", s_, {n, s_.dim(1)});
  take("replay.a", a_, {n, a_.dim(1)});
  take("replay.r", r_, {n});
  take("replay.s2", s2_, {n, s2_.dim(1)});
  take("replay.terminated", terminated_, {n});
  take("replay.steps", steps_, {n});
  added_ = added;
}

Minibatch::Minibatch(int64_t size, int64_t n_inputs)
    : s(Tensor::empty({size, n_inputs})),
      s2(Tensor::empty({size, n_inputs})),
      a(static_cast<size_t>(size)),
      r(static_cast<size_t>(size)),
      terminated(static_cast<size_t>(size)) {}

void Minibatch::draw(const ReplayBuffer& buffer, const NetworkInputs& inputs, Rng& rng) {
  for (size_t k = 0; k < r.size(); ++k) {
    const Transition t = buffer[rng.below(buffer.size())];
    inputs.fill(t.s, row(s, static_cast<int64_t>(k)));
    inputs.fill(t.s2, row(s2, static_cast<int64_t>(k)));
    a[k] = static_cast<int32_t>(t.a[0]);
    r[k] = t.r;
    terminated[k] = t.terminated;
  }
}

}  // namespace gradus::rl
