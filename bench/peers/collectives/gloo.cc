// Gloo's ring all-reduce of fp32 sums over loopback TCP, between this process and a fork of it.
// gloo [--rounds N] BYTES...
#include <gloo/allreduce.h>
#include <gloo/barrier.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "measure.h"

namespace {

class Peer {
 public:
  Peer(int rank, int size, const std::string& folder) {
    gloo::transport::tcp::attr attributes("127.0.0.1");
    auto device = gloo::transport::tcp::CreateDevice(attributes);
    gloo::rendezvous::FileStore store(folder);
    auto context = std::make_shared<gloo::rendezvous::Context>(rank, size);
    context->connectFullMesh(store, device);
    context_ = context;
  }

  // Buffers are registered once, as a user would who reduces the same gradients in every step.
  void prepare(std::vector<float>& x) {
    sum_.emplace(context_);
    sum_->setOutput(x.data(), x.size());
    sum_->setReduceFunction([](void* c, const void* a, const void* b, size_t n) { gloo::sum<float>(c, a, b, n); });
    sum_->setAlgorithm(gloo::AllreduceOptions::Algorithm::RING);
  }
  void sum() { gloo::allreduce(*sum_); }
  void barrier() {
    gloo::BarrierOptions options(context_);
    gloo::barrier(options);
  }
  void max(std::vector<double>& x) {
    gloo::AllreduceOptions options(context_);
    options.setOutput(x.data(), x.size());
    options.setReduceFunction([](void* c, const void* a, const void* b, size_t n) { gloo::max<double>(c, a, b, n); });
    gloo::allreduce(options);
  }

 private:
  std::shared_ptr<gloo::Context> context_;
  std::optional<gloo::AllreduceOptions> sum_;
};

}  // namespace

int main(int argc, char** argv) {
  constexpr int kSize = 2;
  char folder[] = "/tmp/gloo-XXXXXX";
  if (mkdtemp(folder) == nullptr) return 1;
  const pid_t child = fork();
  const int rank = child == 0 ? 1 : 0;
  {
    Peer peer(rank, kSize, folder);
    measure(peer, "gloo", rank, kSize, parse_arguments(argc, argv));
    peer.barrier();
  }
  if (rank == 1) _exit(0);
  waitpid(child, nullptr, 0);
  std::filesystem::remove_all(folder);
}
