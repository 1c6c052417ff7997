// The ranks that train together, and what they do together. Every rank makes the same calls in the same order; a rank
// that does not, dies, or stays away ends the call on all ranks with an error that names it, and closes the group.
//
// Sums of floats have one order: the canonical tree over ranks of kernels::combine, neighbours first. It depends
// neither on the size of the vector, nor on the algorithm that a table chooses for it, nor on timing. `Order::any`
// allows algorithms with an order of their own too (the ring: another one for each slice, the same in every run).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gradus/comm/algorithms.h"
#include "gradus/comm/recorder.h"
#include "gradus/comm/schedule.h"
#include "gradus/comm/transport.h"
#include "gradus/core/tensor.h"

namespace gradus::comm {

using kernels::ReduceOp;

// Elements that a collective works on, in place.
struct Buffer {
  Buffer(void* elements, int64_t n, DType type) : data(static_cast<std::byte*>(elements)), count(n), dtype(type) {}
  Buffer(Tensor& t) : Buffer(t.raw(), t.numel(), t.dtype()) {}
  template <class T>
  Buffer(std::span<T> elements) : Buffer(elements.data(), static_cast<int64_t>(elements.size()), dtype_of<T>::value) {}

  std::byte* data;
  int64_t count;
  DType dtype;
};

struct GroupOptions {
  Order order = Order::canonical;
  std::map<Operation, std::string> forced = {};  // algorithm by name, instead of the table's; it brings its own order
  std::chrono::milliseconds timeout{600'000};    // of each call
  std::vector<int> host_of = {};                 // [P], for hierarchical; empty: one host
  int restarts = 0;                              // how often the job was started again
};

class Group {
 public:
  using Site = std::source_location;

  Group(std::unique_ptr<Transport> transport, GroupOptions options = {});
  ~Group();

  int rank() const { return transport_->rank(); }
  int size() const { return transport_->size(); }

  // Every function below is collective. When one rank finds that a call cannot be completed, all ranks throw its Error,
  // and the group is closed:
  //   invalid_argument   ranks made different calls; the message names both, with their call sites
  //   peer_lost          a rank died or was stopped
  //   timeout            a rank did not come
  // A closed group throws it again. Arguments that no rank can mean (a root that is not there, bounds that do not fit)
  // throw invalid_argument at once and leave the group open.

  // x becomes its reduction over all ranks: the same bits on each.
  void all_reduce(Buffer x, ReduceOp op = ReduceOp::sum, Site site = Site::current());

  // Slice r of x becomes its reduction; what the other slices hold afterwards is undefined.
  //   bounds  [P + 1] where slices begin, ascending from 0 to x.count; empty: slices as even as can be
  void reduce_scatter(Buffer x, ReduceOp op = ReduceOp::sum, std::span<const int64_t> bounds = {},
                      Site site = Site::current());

  // Slice k of x becomes that of rank k.
  void all_gather(Buffer x, std::span<const int64_t> bounds = {}, Site site = Site::current());
  // The strings of all ranks, by rank.
  std::vector<std::string> all_gather(std::string_view mine, Site site = Site::current());

  // x becomes that of the root.
  void broadcast(Buffer x, int root = 0, Site site = Site::current());

  // Slice k of x becomes that of rank k, at the root alone.
  void gather(Buffer x, int root = 0, std::span<const int64_t> bounds = {}, Site site = Site::current());

  // Slice k of y becomes slice r of rank k's x.
  //   x, y  of one size, a multiple of P, that do not overlap
  void all_to_all(Buffer x, Buffer y, Site site = Site::current());

  // Returns when all ranks have called it.
  void barrier(Site site = Site::current());

  // From now on this algorithm, on all ranks alike, for an operation; "" gives the choice back to the table.
  void force(Operation operation, const std::string& algorithm) { options_.forced[operation] = algorithm; }

  // Ends whatever any rank of the group waits for, now and later. Any thread.
  void abort(const Error& error) noexcept { transport_->abort(error); }

  const Selection& selection() const { return selection_; }

  // Collective: begins a call that the caller makes himself, of exchanges over transport(); until the next call.
  void begin_own(Operation operation, int64_t count, Site site = Site::current());

  int restarts() const { return options_.restarts; }
  int ranks_on_this_host() const;  // this one counted
  std::string_view transport_name() const { return transport_->name(); }
  const Traffic& traffic() const { return transport_->traffic(); }
  const Recorder& recorder() const { return recorder_; }
  Transport& transport() { return *transport_; }

 private:
  // What a call does, beside its vector.
  struct Request {
    Operation operation;
    ReduceOp op = ReduceOp::sum;
    int root = -1;
    std::span<const int64_t> bounds{};
    std::byte* y = nullptr;
  };
  void run(const Request& request, Buffer x, const Site& site);
  void dispatch(const Call& call, Job& job);
  void run_algorithm(const Algorithm& algorithm, const Call& call, Job& job);
  std::span<const int64_t> slices(std::span<const int64_t> bounds, int64_t count);
  [[noreturn]] void close(const Call& call, const Error& error);

  std::unique_ptr<Transport> transport_;
  GroupOptions options_;
  Selection selection_;
  Recorder recorder_;
  Scratch scratch_, widened_;
  std::vector<int64_t> even_;  // the bounds of the last even partition
  uint64_t sequence_ = 0;
  Call site_;  // of the last call, as a call shows it
  const char* site_file_ = nullptr;
  std::optional<Error> closed_;  // why, once it is
};

}  // namespace gradus::comm
