// Of a build with MPI. Messages of the schedules travel in one communicator, each with its call's tag; signs of life,
// aborts and questions between watchdogs in another.
#include "gradus/comm/mpi_transport.h"

#define OMPI_SKIP_MPICXX  // the bindings of MPI 2 for C++, long gone from the standard
#include <mpi.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <list>
#include <mutex>

#include "gradus/comm/schedule.h"
#include "gradus/comm/shared_state.h"

namespace gradus::comm {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kLongest = size_t{1} << 30;  // bytes of one MPI message, whose count is an int
constexpr int kPolls = 1000;                  // of a request between two looks at aborts and the clock

// What the control communicator carries; the MPI tag.
enum Control : int { kBeat = 1, kAbort, kQuestion, kAnswer, kGoodbye };

struct AbortMessage {
  ErrorCode code{};
  char text[1000] = {};
};

void check(int result, const char* what) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(result, text, &length);
  fail(ErrorCode::io, "mpi: {}: {}", what, std::string_view(text, static_cast<size_t>(length)));
}

// In front of each message. Between two ranks messages keep their order, so that headers and bodies stay together.
struct Header {
  uint64_t tag = 0, bytes = 0;
};
enum DataTag : int { kHeader = 1, kBody };

struct Sent {
  std::vector<std::byte> bytes;
  MPI_Request request;
};

class MpiTransport final : public Transport {
 public:
  explicit MpiTransport(std::chrono::milliseconds lost_after) : lost_after_(lost_after) {
    int provided = 0;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
    if (provided < MPI_THREAD_MULTIPLE) {
      MPI_Finalize();
      fail(ErrorCode::unsupported, "mpi: this MPI gives threads no level of MPI_THREAD_MULTIPLE; take --transport tcp");
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    check(MPI_Comm_dup(MPI_COMM_WORLD, &data_), "MPI_Comm_dup");
    check(MPI_Comm_dup(MPI_COMM_WORLD, &control_), "MPI_Comm_dup");
    MPI_Comm_rank(data_, &rank_);
    MPI_Comm_size(data_, &size_);
    calls_.resize(static_cast<size_t>(size_));
    heard_ = Clock::now();
  }

  ~MpiTransport() override {
    // Peers may be gone, and MPI_Finalize would wait for them. This process ends without it, after it has said why, and
    // mpirun ends whoever is left.
    if (abort_.raised()) return;
    if (size_ > 1) send_control((rank_ + 1) % size_, kGoodbye, {});
    for (Sent& s : sent_) MPI_Wait(&s.request, MPI_STATUS_IGNORE);
    MPI_Comm_free(&data_);
    MPI_Comm_free(&control_);
    MPI_Finalize();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view name() const override { return "mpi"; }

  void begin(const Call& call) override {
    const std::lock_guard lock(mutex_);
    call_ = call;
  }

  void exchange(const Outgoing& out, const Incoming& in) override {
    requests_.clear();
    header_request_ = MPI_REQUEST_NULL;
    if (in.from != kNobody) {
      check(MPI_Irecv(&incoming_, sizeof incoming_, MPI_BYTE, in.from, kHeader, data_, &header_request_), "MPI_Irecv");
      std::byte* const to = received_.bytes(in.bytes);
      for_parts(in.bytes, [&](size_t at, int n) {
        check(MPI_Irecv(to + at, n, MPI_BYTE, in.from, kBody, data_, &requests_.emplace_back()), "MPI_Irecv");
      });
    }
    outgoing_ = {call_.tag(), out.bytes};
    if (out.to != kNobody) {
      check(MPI_Isend(&outgoing_, sizeof outgoing_, MPI_BYTE, out.to, kHeader, data_, &requests_.emplace_back()),
            "MPI_Isend");
      for_parts(out.bytes, [&](size_t at, int n) {
        check(MPI_Isend(out.data + at, n, MPI_BYTE, out.to, kBody, data_, &requests_.emplace_back()), "MPI_Isend");
      });
      ++traffic_.messages;
      traffic_.bytes_sent += static_cast<int64_t>(out.bytes);
    }
    if (in.from != kNobody) {
      complete(std::span(&header_request_, 1), in.from);
      if (incoming_.tag != outgoing_.tag || incoming_.bytes != in.bytes) differ_from(in.from);
    }
    complete(requests_, in.from != kNobody ? in.from : out.to);
    if (in.from == kNobody) return;
    traffic_.bytes_received += static_cast<int64_t>(in.bytes);
    if (in.bytes > 0) in.sink(received_.bytes(in.bytes), 0, in.bytes);
  }

  std::span<const NativeAlgorithm> native_algorithms() const override {
    static constexpr std::array kAlgorithms = {NativeAlgorithm{"mpi", Operation::all_reduce, false}};
    return kAlgorithms;
  }

  void run_native(const NativeAlgorithm&, Job& job) override {
    requests_.clear();
    const MPI_Datatype type = datatype();
    const MPI_Op op = operation();
    for_parts(job.bytes(), [&](size_t at, int n) {
      check(MPI_Iallreduce(MPI_IN_PLACE, job.x + at, n / static_cast<int>(job.element), type, op, data_,
                           &requests_.emplace_back()),
            "MPI_Iallreduce");
    });
    complete(requests_, (rank_ + 1) % size_);
    if (call_.op == kernels::ReduceOp::mean) job.arithmetic.finish(job.x, job.count());
  }

  void abort(const Error& error) noexcept override {
    if (abort_.raised()) return;
    abort_.raise(error);
    AbortMessage message{.code = error.code()};
    std::strncpy(message.text, error.what(), sizeof message.text - 1);
    for (int r = 0; r < size_; ++r) {
      if (r != rank_) send_control(r, kAbort, std::as_bytes(std::span(&message, 1)));
    }
  }

  std::optional<Error> aborted() const override {
    if (abort_.raised()) return abort_.error();
    return std::nullopt;
  }

  // Signs of life go around a ring: each rank watches its left neighbour for all.
  void watch() override {
    if (size_ == 1) return;
    send_control((rank_ + 1) % size_, kBeat, {});
    listen();
    const int left = (rank_ + size_ - 1) % size_;
    if (Clock::now() - heard_.load() > lost_after_ && !left_neighbour_is_done_) {
      abort(Error(ErrorCode::peer_lost,
                  fmt::format("mpi: rank {} has shown no sign of life for {} ms", left, lost_after_.count())));
    }
  }

  std::optional<Call> call_of(int peer) const override {
    const std::lock_guard lock(mutex_);
    return calls_[static_cast<size_t>(peer)];
  }

 private:
  template <class Part>
  void for_parts(size_t bytes, Part part) {
    size_t at = 0;
    do {
      const size_t n = std::min(kLongest, bytes - at);
      part(at, static_cast<int>(n));
      at += n;
    } while (at < bytes);
  }

  void complete(std::span<MPI_Request> requests, int peer) {
    const auto deadline = Clock::now() + timeout();
    for (int poll = 1;; ++poll) {
      int done = 0;
      check(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
      if (done) return;
      if (poll % kPolls != 0) continue;
      listen();
      if (abort_.raised()) give_up(abort_.error());
      if (Clock::now() > deadline) {
        give_up(Error(ErrorCode::timeout, fmt::format("rank {} did not come to {}", peer, to_string(call_))));
      }
    }
  }

  // Requests stay behind, and MPI with them: the group is closed after this.
  [[noreturn]] void give_up(const Error& error) {
    for (MPI_Request& r : requests_) {
      if (r != MPI_REQUEST_NULL) MPI_Cancel(&r);
    }
    throw error;
  }

  // The rank makes another call; it is asked which.
  [[noreturn]] void differ_from(int peer) {
    const auto until = Clock::now() + std::chrono::seconds(1);
    send_control(peer, kQuestion, {});
    while (!call_of(peer) && !abort_.raised() && Clock::now() < until) listen();
    give_up(Error(ErrorCode::invalid_argument, mismatch(rank_, call_, peer, call_of(peer))));
  }

  // Returns at once; what was sent is kept until it has left.
  void send_control(int to, Control kind, std::span<const std::byte> bytes) noexcept {
    const std::lock_guard lock(sending_);
    std::erase_if(sent_, [](Sent& s) {
      int done = 0;
      MPI_Test(&s.request, &done, MPI_STATUS_IGNORE);
      return done != 0;
    });
    Sent& s = sent_.emplace_back(Sent{{bytes.begin(), bytes.end()}, MPI_REQUEST_NULL});
    MPI_Isend(s.bytes.data(), static_cast<int>(s.bytes.size()), MPI_BYTE, to, kind, control_, &s.request);
  }

  // Takes what came over the control communicator. Any thread.
  void listen() {
    const std::unique_lock lock(listening_, std::try_to_lock);
    if (!lock) return;
    while (true) {
      int there = 0;
      MPI_Status status;
      MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, control_, &there, &status);
      if (!there) return;
      std::array<std::byte, sizeof(AbortMessage)> bytes{};
      MPI_Recv(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, status.MPI_SOURCE, status.MPI_TAG, control_,
               MPI_STATUS_IGNORE);
      take(status.MPI_SOURCE, static_cast<Control>(status.MPI_TAG), bytes.data());
    }
  }

  void take(int from, Control kind, const std::byte* bytes) {
    switch (kind) {
      case kBeat:
        heard_ = Clock::now();
        return;
      case kGoodbye:
        left_neighbour_is_done_ = true;
        return;
      case kQuestion: {
        const Call mine = current();
        return send_control(from, kAnswer, std::as_bytes(std::span(&mine, 1)));
      }
      case kAnswer: {
        Call call;
        std::memcpy(static_cast<void*>(&call), bytes, sizeof call);
        const std::lock_guard lock(mutex_);
        calls_[static_cast<size_t>(from)] = call;
        return;
      }
      case kAbort: {
        AbortMessage message;
        std::memcpy(static_cast<void*>(&message), bytes, sizeof message);
        abort_.raise(Error(message.code, message.text));
        return;
      }
    }
  }

  Call current() const {
    const std::lock_guard lock(mutex_);
    return call_;
  }

  MPI_Datatype datatype() const {
    switch (call_.dtype) {
      case DType::f64:
        return MPI_DOUBLE;
      case DType::f32:
        return MPI_FLOAT;
      case DType::i64:
        return MPI_INT64_T;
      case DType::i32:
        return MPI_INT32_T;
      case DType::u8:
        return MPI_UINT8_T;
      case DType::bf16:
      case DType::f16:
        break;
    }
    fail(ErrorCode::unsupported, "all_reduce: MPI knows no {}; take pairwise, or leave the choice to the table",
         gradus::name(call_.dtype));
  }

  MPI_Op operation() const {
    switch (call_.op) {
      case kernels::ReduceOp::sum:
      case kernels::ReduceOp::mean:
        return MPI_SUM;
      case kernels::ReduceOp::min:
        return MPI_MIN;
      case kernels::ReduceOp::max:
        return MPI_MAX;
      case kernels::ReduceOp::prod:
        return MPI_PROD;
    }
    return MPI_OP_NULL;
  }

  const std::chrono::milliseconds lost_after_;
  MPI_Comm data_ = MPI_COMM_NULL, control_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
  Abort abort_;
  Scratch received_;
  // What MPI may still write to when a call was given up.
  Header incoming_, outgoing_;
  MPI_Request header_request_ = MPI_REQUEST_NULL;
  std::vector<MPI_Request> requests_;
  mutable std::mutex mutex_;  // of call_ and calls_
  Call call_;
  std::vector<std::optional<Call>> calls_;
  std::mutex listening_;
  std::atomic<Clock::time_point> heard_{};
  std::atomic<bool> left_neighbour_is_done_ = false;
  std::mutex sending_;
  std::list<Sent> sent_;
};

}  // namespace

bool has_mpi() {
  return true;
}

std::unique_ptr<Transport> mpi_transport(std::chrono::milliseconds lost_after) {
  int initialised = 0;
  MPI_Initialized(&initialised);
  require(!initialised, "mpi: MPI can be initialised once in a process, and was already");
  return std::make_unique<MpiTransport>(lost_after);
}

std::vector<std::string> mpi_all_gather(const std::string& mine) {
  int size = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const int length = static_cast<int>(mine.size());
  std::vector<int> lengths(static_cast<size_t>(size)), offsets(lengths);
  check(MPI_Allgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, MPI_COMM_WORLD), "MPI_Allgather");
  int total = 0;
  for (size_t r = 0; r < lengths.size(); ++r) {
    offsets[r] = total;
    total += lengths[r];
  }
  std::string all(static_cast<size_t>(total), '\0');
  check(MPI_Allgatherv(mine.data(), length, MPI_BYTE, all.data(), lengths.data(), offsets.data(), MPI_BYTE,
                       MPI_COMM_WORLD),
        "MPI_Allgatherv");
  std::vector<std::string> strings;
  for (size_t r = 0; r < lengths.size(); ++r) {
    strings.push_back(all.substr(static_cast<size_t>(offsets[r]), static_cast<size_t>(lengths[r])));
  }
  return strings;
}

}  // namespace gradus::comm
