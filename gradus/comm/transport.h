// How bytes travel between the ranks of a group: one primitive, `exchange`, from which every schedule (ring, doubling,
// pairwise, ...) is made. Threads, shared memory, TCP, MPI and the simulator's virtual clock are transports; so are
// decorators that trace, delay or break another one. What the bytes mean is no matter of this file.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>

#include "gradus/core/dtype.h"
#include "gradus/core/error.h"
#include "gradus/kernels/combine.h"

namespace gradus::comm {

enum class Operation : uint8_t { none, barrier, broadcast, gather, all_gather, reduce_scatter, all_reduce, all_to_all };
inline constexpr size_t kOperations = 8;
std::string_view name(Operation operation);
Operation parse_operation(std::string_view name);  // throws invalid_argument when there is none of this name

// One collective call as a rank made it. Ranks whose calls of one sequence number differ in anything but the call site
// have lost each other. Plain bytes: it lies in shared memory and travels in messages.
struct Call {
  uint64_t sequence = 0;  // calls of the group, from 1
  Operation operation = Operation::none;
  kernels::ReduceOp op = kernels::ReduceOp::sum;
  DType dtype = DType::u8;
  int32_t root = -1;
  int64_t count = 0;       // elements of the whole vector
  uint64_t partition = 0;  // hash of how it is cut into slices
  uint32_t line = 0;       // of the call site
  char file[44] = {};      // its file's name, cut from the left

  void set_site(const std::source_location& site);
  bool matches(const Call& other) const;
  // 64 bits of all that must agree; differs with near certainty when it does not. Never 0.
  uint64_t tag() const;
};
std::string to_string(const Call& call);  // "all_reduce of 1024 f32 (sum), call 17 at gradus/run/train_step.cc:12"

// Takes an incoming message piece by piece, in order; each piece lies where the transport has it and is gone
// afterwards.
class Sink {
 public:
  using Function = void (*)(const void* context, const std::byte* piece, size_t offset, size_t bytes);
  Sink() = default;
  template <class F>
  Sink(const F& f)  // f outlives the sink
      requires(!std::same_as<F, Sink>)
      : function_([](const void* c, const std::byte* p, size_t o, size_t n) { (*static_cast<const F*>(c))(p, o, n); }),
        context_(&f) {}
  void operator()(const std::byte* piece, size_t offset, size_t bytes) const {
    function_(context_, piece, offset, bytes);
  }

 private:
  Function function_ = nullptr;
  const void* context_ = nullptr;
};

inline constexpr int kNobody = -1;

struct Outgoing {
  int to = kNobody;
  const std::byte* data = nullptr;
  size_t bytes = 0;
};
struct Incoming {
  int from = kNobody;
  size_t bytes = 0;
  Sink sink{};           // gets pieces of whole 64 bytes, the last but one
  bool reduced = false;  // the sink computes rather than copies: the simulator's cost
};

struct Traffic {
  int64_t messages = 0, bytes_sent = 0, bytes_received = 0;
  int64_t header_bytes_sent = 0;  // beside those of the messages themselves
};

struct Job;

// A whole collective as the transport itself can do it: two-shot in shared memory, MPI_Allreduce, ncclAllReduce.
struct NativeAlgorithm {
  std::string_view name;
  Operation operation = Operation::none;
  bool canonical = false;        // sums have the order of kernels::combine over ranks
  size_t most_bytes = SIZE_MAX;  // of the whole vector
};

// Of one rank. One thread at a time calls everything but abort(), aborted() and watch().
class Transport {
 public:
  virtual ~Transport() = default;
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string_view name() const = 0;  // "threads", "shm", "tcp", "mpi", "nccl", "simulated"

  // The next collective: its messages carry call.tag(). A message of another tag means that the peer made another call:
  // exchange then throws invalid_argument that names both.
  virtual void begin(const Call& call) = 0;

  // Sends one message and receives one, at once: neither waits for the other. Returns when the outgoing bytes may
  // change and all incoming pieces were taken. Either part may be absent (kNobody), never both; peers are other ranks.
  // Between two ranks messages keep their order. Throws timeout when a wait took too long, peer_lost when a peer is
  // gone, and what abort() was given.
  virtual void exchange(const Outgoing& out, const Incoming& in) = 0;

  virtual std::span<const NativeAlgorithm> native_algorithms() const { return {}; }
  // The current call by one of them; the same one on every rank. Fails as exchange does.
  virtual void run_native(const NativeAlgorithm& algorithm, Job& job);

  // No wait takes longer.
  void set_timeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }

  // Ends every wait, here and on all peers, now and from now on: they throw `error`. The first one stays. Any thread;
  // never throws, never waits.
  virtual void abort(const Error& error) noexcept = 0;
  virtual std::optional<Error> aborted() const = 0;  // any thread

  // Once in a while, from a thread of its own: shows the peers that this rank lives, and aborts when one of them does
  // not.
  virtual void watch() = 0;

  // What rank `peer` is doing, as far as this one can know.
  virtual std::optional<Call> call_of(int peer) const = 0;

  const Traffic& traffic() const { return traffic_; }

 protected:
  std::chrono::milliseconds timeout() const { return timeout_; }
  Traffic traffic_;

 private:
  std::chrono::milliseconds timeout_{600'000};
};

}  // namespace gradus::comm
