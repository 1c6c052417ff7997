#include "gradus/comm/shm_segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

namespace gradus::comm {

namespace {

constexpr uint64_t kMagic = 0x316d687364617267;  // "gradshm1"
constexpr uint32_t kVersion = 1;
constexpr size_t kMostSlotBytes = 1 << 20;
struct Header {
  std::atomic<uint64_t> magic;
  uint32_t version;
  int32_t ranks;
  uint64_t bytes, most_slot_bytes, generation;
};
constexpr size_t kHeaderBytes = 4096;

// Bytes of each of n slots that share the budget: whole lines.
size_t slot_bytes(size_t most, size_t n) {
  return std::min(most, kShmBudget / std::max<size_t>(1, n) / kLine * kLine);
}

bool is_slot_size(size_t bytes) {
  return bytes > 0 && bytes <= kMostSlotBytes && bytes % kLine == 0;
}

// From one slot to the next.
size_t stride(size_t data_bytes) {
  return (kLine + data_bytes + kLinePair - 1) / kLinePair * kLinePair;
}

[[noreturn]] void fail_with_errno(std::string_view what) {
  fail(ErrorCode::io, "shm: {}: {}; another transport (threads, tcp) works without it", what, std::strerror(errno));
}

[[noreturn]] void fail_exhausted(int ranks, size_t bytes, std::string_view why) {
  fail(ErrorCode::exhausted,
       "shm: {} ranks need {} bytes of shared memory, but {}; free memory, raise the limit (of the container, or "
       "ulimit -f), or start fewer ranks",
       ranks, bytes, why);
}

std::byte* map(int fd, size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (memory == MAP_FAILED) return nullptr;
  return static_cast<std::byte*>(memory);
}

class OpenFile {
 public:
  explicit OpenFile(int fd) : fd_(fd) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int keep() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace

ShmLayout::ShmLayout(int n_ranks, size_t most_slot_bytes) : ranks(static_cast<size_t>(n_ranks)) {
  channel_bytes = slot_bytes(most_slot_bytes, ranks * (ranks - 1) * kChannelSlots);
  part_bytes = slot_bytes(most_slot_bytes, ranks * (ranks + 1) * kStageSlots);
  channel_slot = stride(channel_bytes);
  stage_slot = stride(ranks * part_bytes);
  result_slot = stride(part_bytes);
  channel = kLinePair + kChannelSlots * channel_slot;
  stage = kStageSlots * (stage_slot + result_slot);
  abort = kHeaderBytes;
  states = abort + sizeof(Abort);
  passed = states + ranks * sizeof(RankState);  // far from what is read in streams, which fetch ahead
  notes = passed + ranks * kLinePair;
  channels = notes + ranks * 2 * sizeof(ShmNote);
  stages = channels + ranks * (ranks - 1) * channel;
  end = stages + ranks * stage;
}

ShmSegment ShmSegment::create(int ranks, const ShmSegmentOptions& options) {
  require(ranks >= 1 && ranks <= kShmMostRanks, "shm: a group of {} ranks was asked for, but 1 to {} are possible",
          ranks, kShmMostRanks);
  require(is_slot_size(options.most_slot_bytes),
          "shm: slots of {} bytes were asked for, but {} to {}, by {}, are possible", options.most_slot_bytes, kLine,
          kMostSlotBytes, kLine);
  const ShmLayout layout(ranks, options.most_slot_bytes);
  const size_t bytes = layout.end;
  rlimit limit{};  // beyond it the kernel would send a signal
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < bytes) {
    fail_exhausted(ranks, bytes, fmt::format("files may have {} bytes", limit.rlim_cur));
  }
  OpenFile file(::memfd_create("gradus-comm", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (file.get() < 0) fail_with_errno("memfd_create failed");
  int status = 0;
  do {
    status = ::fallocate(file.get(), 0, 0, static_cast<off_t>(bytes));
  } while (status != 0 && errno == EINTR);
  if (status != 0) fail_exhausted(ranks, bytes, std::strerror(errno));
  // Nobody can cut it off below a rank that works in it.
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) fail_with_errno("sealing failed");
  std::byte* const memory = map(file.get(), bytes);
  if (memory == nullptr) fail_exhausted(ranks, bytes, std::strerror(errno));
  Header* const header = new (memory) Header{.magic{0},
                                             .version = kVersion,
                                             .ranks = ranks,
                                             .bytes = bytes,
                                             .most_slot_bytes = options.most_slot_bytes,
                                             .generation = options.generation};
  header->magic.store(kMagic, std::memory_order_release);
  return {file.keep(), memory, layout};
}

ShmSegment ShmSegment::attach(int fd) {
  OpenFile file(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (file.get() < 0) fail_with_errno(fmt::format("descriptor {} is not open", fd));
  const auto corrupt = [&](std::string_view why) {
    fail(ErrorCode::corrupt, "shm: descriptor {} is no segment of this program: {}; start all ranks by one launcher",
         fd, why);
  };
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_with_errno(fmt::format("descriptor {}", fd));
  const auto bytes = static_cast<size_t>(std::max<off_t>(0, status.st_size));
  if (bytes < kHeaderBytes) corrupt(fmt::format("it has {} bytes", bytes));
  std::byte* const memory = map(file.get(), bytes);
  if (memory == nullptr) fail_with_errno(fmt::format("mapping descriptor {} failed", fd));
  const Header& header = *reinterpret_cast<const Header*>(memory);
  std::string why;
  if (header.magic.load(std::memory_order_acquire) != kMagic) {
    why = "its first word is another one";
  } else if (header.version != kVersion) {
    why = fmt::format("its version is {} but this one is {}", header.version, kVersion);
  } else if (header.ranks < 1 || header.ranks > kShmMostRanks) {
    why = fmt::format("it is for {} ranks", header.ranks);
  } else if (!is_slot_size(header.most_slot_bytes)) {
    why = fmt::format("its slots have {} bytes", header.most_slot_bytes);
  } else if (const size_t needed = ShmLayout(header.ranks, header.most_slot_bytes).end;
             header.bytes != bytes || needed != bytes) {
    why = fmt::format("it has {} bytes but {} ranks need {}", bytes, header.ranks, needed);
  }
  if (!why.empty()) {
    ::munmap(memory, bytes);
    corrupt(why);
  }
  return {file.keep(), memory, ShmLayout(header.ranks, header.most_slot_bytes)};
}

ShmSegment::ShmSegment(ShmSegment&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), memory_(std::exchange(other.memory_, nullptr)), layout_(other.layout_) {}

ShmSegment& ShmSegment::operator=(ShmSegment&& other) noexcept {
  if (this != &other) {
    release();
    fd_ = std::exchange(other.fd_, -1);
    memory_ = std::exchange(other.memory_, nullptr);
    layout_ = other.layout_;
  }
  return *this;
}

ShmSegment::~ShmSegment() {
  release();
}

void ShmSegment::release() noexcept {
  if (memory_ != nullptr) ::munmap(memory_, layout_.end);
  if (fd_ >= 0) ::close(fd_);
}

uint64_t ShmSegment::generation() const {
  return at<Header>(0).generation;
}

}  // namespace gradus::comm
