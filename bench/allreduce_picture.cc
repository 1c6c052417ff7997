// `gradus bench allreduce --pictures`: bus bandwidth over bytes, measured; and time over ranks, simulated.
#include <map>
#include <nlohmann/json.hpp>

#include "bench/bench.h"
#include "bench/collectives.h"
#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "gradus/run/chart.h"

namespace gradus::bench {

namespace {

constexpr int kRanks = 2;

const Value& at(const Row& row, std::string_view key) {
  for (const auto& [name, value] : row) {
    if (name == key) return value;
  }
  fail(ErrorCode::not_found, "bench allreduce: a row without {}", key);
}

// One line a name, in the order of appearance.
class Lines {
 public:
  void add(const std::string& name, double x, double y) {
    const auto [found, is_new] = at_.emplace(name, series_.size());
    if (is_new) series_.push_back({.name = name, .markers = true});
    series_[found->second].points.emplace_back(x, y);
  }
  std::vector<run::Series> series() const { return series_; }

 private:
  std::map<std::string, size_t> at_;
  std::vector<run::Series> series_;
};

void add_peers(const std::filesystem::path& file, Lines& lines) {
  const std::string text = read_file(file);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line(text.data() + begin, end - begin);
    begin = end + 1;
    if (line.empty()) continue;
    const nlohmann::json row = parse_json(line, file.string());
    try {
      const auto bytes = row.at("bytes").get<double>();
      for (const auto& [name, key] : {std::pair{"Open MPI", "openmpi_us"}, {"Gloo, tcp", "gloo_us"}}) {
        lines.add(name, bytes,
                  bytes / row.at(key).get<double>() * 1e-3 * bus_factor(comm::Operation::all_reduce, kRanks));
      }
    } catch (const nlohmann::json::exception& e) {
      fail(ErrorCode::corrupt, "{}: not of bench/peers/collectives/run --json: {}", file.string(), e.what());
    }
  }
}

}  // namespace

void allreduce_pictures(const AllreducePictureOptions& options, const Sink& sink) {
  Lines measured;
  for (const std::string transport : {"shm", "tcp", "threads"}) {
    AllreduceOptions one{.transport = transport, .algorithm = "auto", .ranks = kRanks};
    one.bytes = parse_sizes("8..64MiB");
    allreduce(one, [&](const Row& row) {
      sink(row);
      measured.add(transport, static_cast<double>(std::get<int64_t>(at(row, "bytes"))),
                   std::get<double>(at(row, "busbw_gb_s")));
    });
  }
  if (options.peers) add_peers(*options.peers, measured);
  const auto write = [&](const char* name, const run::Chart& chart) {
    write_file_atomically(options.folder / name, run::to_svg(chart));
  };
  write("allreduce-busbw.svg", {.title = "All-reduce between two ranks of one machine",
                                .x = {.label = "bytes of the vector, f32", .log_base = 2},
                                .y = {.label = "bus bandwidth, GB/s", .log_base = 10},
                                .series = measured.series()});

  Lines simulated;
  SimulateOptions wanted = options.simulated;
  wanted.measured.transport = "shm";
  wanted.measured.bytes = {1 << 20};
  wanted.ranks_per_host = 8;
  wanted.ranks = {16, 32, 64, 128, 256, 512, 1024};
  allreduce_simulate(wanted, [&](const Row& row) {
    sink(row);
    if (row[2].first != "algorithm") return;  // the costs
    simulated.add(std::get<std::string>(row[2].second), static_cast<double>(std::get<int64_t>(at(row, "ranks"))),
                  std::get<double>(at(row, "time_us")) * 1e-3);
  });
  write("allreduce-simulated.svg",
        {.title = fmt::format("Simulated: all-reduce of 1 MiB, hosts of 8 ranks, {:g} us and {:g} GB/s between them",
                              wanted.remote_latency_us, wanted.remote_gb_per_s),
         .x = {.label = "ranks", .log_base = 2},
         .y = {.label = "ms", .log_base = 10},
         .series = simulated.series()});
}

}  // namespace gradus::bench
