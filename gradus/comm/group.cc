#include "gradus/comm/group.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "gradus/kernels/convert.h"

namespace gradus::comm {

namespace {

uint64_t hash_of(std::span<const int64_t> bounds) {
  uint64_t hash = 0;
  for (const int64_t b : bounds) hash = (hash ^ static_cast<uint64_t>(b)) * 0x9e3779b97f4a7c15u + (hash >> 32);
  return hash;
}

bool reduces(Operation operation) {
  return operation == Operation::all_reduce || operation == Operation::reduce_scatter;
}

}  // namespace

Group::Group(std::unique_ptr<Transport> transport, GroupOptions options)
    : transport_(std::move(transport)), options_(std::move(options)), selection_(*transport_, options_.host_of) {
  require(options_.host_of.empty() || static_cast<int>(options_.host_of.size()) == size(),
          "group: hosts are named for {} ranks, but there are {}", options_.host_of.size(), size());
  transport_->set_timeout(options_.timeout);
}

Group::~Group() = default;

void Group::all_reduce(Buffer x, ReduceOp op, Site site) {
  run({.operation = Operation::all_reduce, .op = op}, x, site);
}

void Group::reduce_scatter(Buffer x, ReduceOp op, std::span<const int64_t> bounds, Site site) {
  run({.operation = Operation::reduce_scatter, .op = op, .bounds = bounds}, x, site);
}

void Group::all_gather(Buffer x, std::span<const int64_t> bounds, Site site) {
  run({.operation = Operation::all_gather, .bounds = bounds}, x, site);
}

std::vector<std::string> Group::all_gather(std::string_view mine, Site site) {
  std::vector<int64_t> bounds(static_cast<size_t>(size()) + 1, 0);
  bounds[static_cast<size_t>(rank()) + 1] = static_cast<int64_t>(mine.size());
  all_gather(std::span(bounds).subspan(1), {}, site);  // the lengths
  std::partial_sum(bounds.begin(), bounds.end(), bounds.begin());
  std::vector<uint8_t> bytes(static_cast<size_t>(bounds.back()));
  std::ranges::copy(mine, bytes.begin() + bounds[static_cast<size_t>(rank())]);
  all_gather(std::span(bytes), bounds, site);
  std::vector<std::string> strings;
  for (size_t r = 0; r + 1 < bounds.size(); ++r) {
    strings.emplace_back(bytes.begin() + bounds[r], bytes.begin() + bounds[r + 1]);
  }
  return strings;
}

void Group::broadcast(Buffer x, int root, Site site) {
  run({.operation = Operation::broadcast, .root = root}, x, site);
}

void Group::gather(Buffer x, int root, std::span<const int64_t> bounds, Site site) {
  run({.operation = Operation::gather, .root = root, .bounds = bounds}, x, site);
}

void Group::all_to_all(Buffer x, Buffer y, Site site) {
  require(x.count == y.count && x.dtype == y.dtype && x.count % size() == 0,
          "all_to_all: x has {} {} and y {} {}, but both must be one multiple of the {} ranks", x.count,
          gradus::name(x.dtype), y.count, gradus::name(y.dtype), size());
  run({.operation = Operation::all_to_all, .y = y.data}, x, site);
}

void Group::barrier(Site site) {
  run({.operation = Operation::barrier}, Buffer(nullptr, 0, DType::u8), site);
}

void Group::begin_own(Operation operation, int64_t count, Site site) {
  if (closed_) throw *closed_;
  Call call{.sequence = ++sequence_, .operation = operation, .count = count};
  call.set_site(site);
  recorder_.start(call);
  transport_->begin(call);
}

int Group::ranks_on_this_host() const {
  if (options_.host_of.empty()) return size();
  return static_cast<int>(std::ranges::count(options_.host_of, options_.host_of[static_cast<size_t>(rank())]));
}

std::span<const int64_t> Group::slices(std::span<const int64_t> bounds, int64_t count) {
  if (bounds.empty()) {
    if (even_.empty() || even_.back() != count) even_bounds(count, size(), even_);
    return even_;
  }
  require(static_cast<int>(bounds.size()) == size() + 1 && bounds.front() == 0 && bounds.back() == count &&
              std::ranges::is_sorted(bounds),
          "slices: {} bounds up to {} do not cut {} elements for {} ranks", bounds.size(), bounds.back(), count,
          size());
  return bounds;
}

void Group::run(const Request& request, Buffer x, const Site& site) {
  if (closed_) throw *closed_;
  require(request.root >= -1 && request.root < size(), "{}: there is no rank {} among {} to be the root",
          name(request.operation), request.root, size());
  require(x.count >= 0, "{}: {} elements are no vector", name(request.operation), x.count);
  const std::span<const int64_t> bounds = slices(request.bounds, x.count);
  Call call{.sequence = ++sequence_,
            .operation = request.operation,
            .op = request.op,
            .dtype = x.dtype,
            .root = request.root,
            .count = x.count,
            .partition = request.bounds.empty() ? 0 : hash_of(bounds)};
  if (site.file_name() != site_file_) {  // to cut a path takes longer than a short collective
    site_.set_site(site);
    site_file_ = site.file_name();
  }
  std::memcpy(call.file, site_.file, sizeof call.file);
  call.line = site.line();
  recorder_.start(call);
  transport_->begin(call);
  try {
    ElementArithmetic arithmetic(request.op, x.dtype, size());
    Job job{.transport = *transport_,
            .arithmetic = arithmetic,
            .scratch = scratch_,
            .x = x.data,
            .element = size_of(x.dtype),
            .bounds = bounds,
            .y = request.y};
    dispatch(call, job);
  } catch (const Error& e) {
    close(call, e);
  }
  recorder_.end();
}

void Group::dispatch(const Call& call, Job& job) {
  if (size() == 1) {
    if (call.operation == Operation::all_to_all) job.arithmetic.copy(job.x, job.y, job.bytes());
    return;
  }
  const auto forced = options_.forced.find(call.operation);
  const Choice choice = selection_.choose(call, job.bytes(), options_.order,
                                          forced == options_.forced.end() ? std::string_view{} : forced->second);
  recorder_.chose(choice.name());
  if (choice.native != nullptr) {
    transport_->run_native(*choice.native, job);
  } else {
    run_algorithm(*choice.algorithm, call, job);
  }
}

void Group::run_algorithm(const Algorithm& algorithm, const Call& call, Job& job) {
  const bool narrow = call.dtype == DType::bf16 || call.dtype == DType::f16;
  if (!narrow || !algorithm.partial_sums_travel || !reduces(call.operation)) {
    return algorithm.run(job, std::max(0, call.root), options_.host_of);
  }
  // Partial sums of 16-bit floats travel as f32, so that they are rounded once.
  Tensor x = Tensor::over(job.x, {call.count}, call.dtype);
  Tensor wide = Tensor::over(widened_.bytes(static_cast<size_t>(call.count) * sizeof(float)), {call.count});
  kernels::convert(x, wide);
  ElementArithmetic arithmetic(call.op, DType::f32, size());
  Job wide_job{job.transport, arithmetic, job.scratch, reinterpret_cast<std::byte*>(wide.data<float>()),
               sizeof(float), job.bounds};
  algorithm.run(wide_job, 0, options_.host_of);
  kernels::convert(wide, x);
}

void Group::close(const Call& call, const Error& error) {
  transport_->abort(Error(error.code(), fmt::format("{}: rank {} of {} over {}: {}", name(call.operation), rank(),
                                                    size(), transport_name(), error.what())));
  closed_ = transport_->aborted();  // the first one, which may be another rank's
  GRADUS_CHECK(closed_.has_value());
  throw *closed_;
}

}  // namespace gradus::comm
