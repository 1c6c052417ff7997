#include "gradus/comm/environment.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "gradus/core/error.h"

namespace gradus::comm {

namespace {

// A variable that is set, and not to nothing.
struct Variable {
  const char* name = nullptr;
  std::string_view value;
  explicit operator bool() const { return name != nullptr; }
};

// The first of several names for one thing that is set.
template <size_t N>
Variable find(const GetVariable& get, const std::array<const char*, N>& names) {
  for (const char* name : names) {
    if (name == nullptr) continue;
    if (const char* value = get(name); value != nullptr && *value != '\0') return {name, value};
  }
  return {};
}

Variable find(const GetVariable& get, const char* name) {
  return find(get, std::array{name});
}

int64_t number(const Variable& v, int64_t least, int64_t most) {
  int64_t n = 0;
  const auto [end, status] = std::from_chars(v.value.data(), v.value.data() + v.value.size(), n);
  require(status == std::errc() && end == v.value.data() + v.value.size() && n >= least && n <= most,
          "environment: {}={} is not a number from {} to {}; start the ranks by `gradus launch`", v.name, v.value,
          least, most);
  return n;
}

// The names that one launcher has for the four numbers.
struct Launcher {
  const char* name;
  std::array<const char*, 2> rank, size, local_rank, local_size;
};

constexpr std::array kLaunchers = {
    Launcher{"variables", {"RANK"}, {"WORLD_SIZE"}, {"LOCAL_RANK"}, {"LOCAL_WORLD_SIZE"}},
    Launcher{"Open MPI",
             {"OMPI_COMM_WORLD_RANK"},
             {"OMPI_COMM_WORLD_SIZE"},
             {"OMPI_COMM_WORLD_LOCAL_RANK"},
             {"OMPI_COMM_WORLD_LOCAL_SIZE"}},
    Launcher{"PMI", {"PMI_RANK"}, {"PMI_SIZE"}, {"MPI_LOCALRANKID"}, {"MPI_LOCALNRANKS"}},
    Launcher{"Slurm",
             {"SLURM_PROCID"},
             {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"},
             {"SLURM_LOCALID"},
             {"SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"}},
};
constexpr int64_t kMostRanks = 1 << 20;

struct Found {
  const Launcher* launcher;
  Variable rank, size;
};

std::optional<Found> find_ranks(const GetVariable& get, const Launcher& l) {
  const Found found{&l, find(get, l.rank), find(get, l.size)};
  if (!found.rank && !found.size) return std::nullopt;
  if (!found.rank || !found.size) {
    const Variable& given = found.rank ? found.rank : found.size;
    // A lone WORLD_SIZE is common in shells that start torchrun; a lone number of MPI or Slurm says nothing either.
    if (!found.rank) return std::nullopt;
    fail(ErrorCode::invalid_argument, "environment: {}={} is set, but {} is not; set both, or neither for one rank",
         given.name, given.value, l.size[0]);
  }
  const int64_t size = number(found.size, 1, kMostRanks), rank = number(found.rank, 0, kMostRanks);
  require(rank < size, "environment: {}={} is no rank of {}={}; ranks count from 0", found.rank.name, rank,
          found.size.name, size);
  return found;
}

// In a batch script, which is no step of its own, SLURM_PROCID is 0 and means nothing.
bool is_batch_script(const GetVariable& get) {
  return find(get, "SLURM_JOB_ID") && !find(get, "SLURM_STEP_ID");
}

std::optional<Found> find_launcher(const GetVariable& get) {
  std::optional<Found> first;
  for (const Launcher& l : kLaunchers) {
    const bool slurm = std::string_view(l.name) == "Slurm";
    // Slurm may have started the launcher of the others and not the ranks: then its numbers are those of hosts.
    if (slurm && (first || is_batch_script(get))) continue;
    const std::optional<Found> found = find_ranks(get, l);
    if (!found) continue;
    if (!first) first = found;
    require(number(first->rank, 0, kMostRanks) == number(found->rank, 0, kMostRanks) &&
                number(first->size, 1, kMostRanks) == number(found->size, 1, kMostRanks),
            "environment: {}={} of {}={} contradicts {}={} of {}={}; unset one pair", first->rank.name,
            first->rank.value, first->size.name, first->size.value, found->rank.name, found->rank.value,
            found->size.name, found->size.value);
  }
  if (first) return first;
  // PMIx alone tells the rank and not the size, which Slurm may know.
  const Variable rank = find(get, "PMIX_RANK"), size = find(get, kLaunchers.back().size);
  if (rank && size && !is_batch_script(get)) {
    require(number(rank, 0, kMostRanks) < number(size, 1, kMostRanks),
            "environment: {}={} is no rank of {}={}; ranks count from 0", rank.name, rank.value, size.name, size.value);
    return Found{&kLaunchers.back(), rank, size};
  }
  return std::nullopt;
}

// The first host of "node[03-05,7],other": node03.
std::string first_host(std::string_view list) {
  const size_t bracket = list.find_first_of("[,");
  if (bracket == list.npos || list[bracket] == ',') return std::string(list.substr(0, bracket));
  const std::string_view numbers = list.substr(bracket + 1);
  return fmt::format("{}{}", list.substr(0, bracket), numbers.substr(0, numbers.find_first_of("-,]")));
}

// A port that all ranks of a job agree on without a word, outside the range that systems give to clients.
int port_of_job(std::string_view job) {
  uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : job) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  constexpr uint32_t kFirst = 20000, kPorts = 12000;
  return static_cast<int>(kFirst + hash % kPorts);
}

void read_meeting_place(const GetVariable& get, Environment& e) {
  if (const Variable v = find(get, "MASTER_ADDR")) e.master_address = v.value;
  if (const Variable v = find(get, "MASTER_PORT")) e.master_port = static_cast<int>(number(v, 1, 65535));
  if (e.size == 1) return;
  const Variable hosts = find(get, std::array{"SLURM_STEP_NODELIST", "SLURM_NODELIST"});
  if (e.master_address.empty() && e.local_size == e.size) e.master_address = "127.0.0.1";
  if (e.master_address.empty() && e.launcher == "Slurm" && hosts) e.master_address = first_host(hosts.value);
  const Variable job = find(get, std::array{"SLURM_JOB_ID", "PMIX_NAMESPACE", "PMI_JOBID", "OMPI_MCA_ess_base_jobid"});
  if (e.master_port == 0 && e.launcher != "variables" && job) e.master_port = port_of_job(job.value);
  // Open MPI's own transport needs neither; connect() says what is missing for another one.
  if (e.launcher == "Open MPI") return;
  require(
      !e.master_address.empty(),
      "environment: rank {} of {} ({}) needs MASTER_ADDR, the host of rank 0, which is not set; set it on all ranks",
      e.rank, e.size, e.launcher);
  require(
      e.master_port != 0,
      "environment: rank {} of {} ({}) needs MASTER_PORT, the port of rank 0, which is not set; set it on all ranks",
      e.rank, e.size, e.launcher);
}

}  // namespace

Environment read_environment(const GetVariable& get) {
  Environment e;
  if (const std::optional<Found> found = find_launcher(get)) {
    e.launcher = found->launcher->name;
    e.rank = static_cast<int>(number(found->rank, 0, kMostRanks));
    e.size = static_cast<int>(number(found->size, 1, kMostRanks));
    const Variable local_rank = find(get, found->launcher->local_rank);
    const Variable local_size = find(get, found->launcher->local_size);
    if (local_rank) e.local_rank = static_cast<int>(number(local_rank, 0, e.rank));
    // Slurm's is a list, "2(x3),1": the size is known when there is one host.
    const bool one_number = local_size && local_size.value.find_first_not_of("0123456789") == std::string_view::npos;
    if (one_number) e.local_size = static_cast<int>(number(local_size, 1, e.size));
    require(e.local_size == 0 || e.local_rank < e.local_size,
            "environment: {}={} is no rank of {}={}; ranks count from 0", local_rank.name ? local_rank.name : "",
            e.local_rank, local_size.name ? local_size.name : "", e.local_size);
  }
  if (e.size == 1) e.local_size = 1;
  read_meeting_place(get, e);
  if (const Variable v = find(get, "GRADUS_JOB_TOKEN")) e.token = v.value;
  if (const Variable v = find(get, "GRADUS_TRANSPORT")) e.transport = v.value;
  if (const Variable v = find(get, "GRADUS_IFACE")) e.interface = v.value;
  if (const Variable v = find(get, "GRADUS_RESTART")) e.restarts = static_cast<int>(number(v, 0, INT32_MAX));
  if (const Variable v = find(get, "GRADUS_TIMEOUT_S")) e.timeout = std::chrono::seconds(number(v, 1, 1'000'000));
  return e;
}

std::vector<std::string> to_variables(const Environment& e) {
  std::vector<std::string> variables = {
      fmt::format("RANK={}", e.rank),
      fmt::format("WORLD_SIZE={}", e.size),
      fmt::format("LOCAL_RANK={}", e.local_rank),
      fmt::format("LOCAL_WORLD_SIZE={}", e.local_size),
      fmt::format("MASTER_ADDR={}", e.master_address),
      fmt::format("MASTER_PORT={}", e.master_port),
      fmt::format("GRADUS_RESTART={}", e.restarts),
  };
  if (!e.transport.empty()) variables.push_back("GRADUS_TRANSPORT=" + e.transport);
  if (!e.interface.empty()) variables.push_back("GRADUS_IFACE=" + e.interface);
  if (e.timeout) {
    variables.push_back(
        fmt::format("GRADUS_TIMEOUT_S={}", std::chrono::ceil<std::chrono::seconds>(*e.timeout).count()));
  }
  return variables;
}

bool is_launcher_variable(std::string_view name) {
  constexpr std::array<std::string_view, 4> kFamilies = {"OMPI_", "PMIX_", "PMI_", "SLURM_"};
  constexpr std::array<std::string_view, 13> kNames = {
      "RANK",           "WORLD_SIZE",       "LOCAL_RANK",      "LOCAL_WORLD_SIZE", "MASTER_ADDR",
      "MASTER_PORT",    "MPI_LOCALRANKID",  "MPI_LOCALNRANKS", "GRADUS_JOB_TOKEN", "GRADUS_IFACE",
      "GRADUS_RESTART", "GRADUS_TIMEOUT_S", "GRADUS_TRANSPORT"};
  return std::ranges::find(kNames, name) != kNames.end() ||
         std::ranges::any_of(kFamilies, [&](std::string_view family) { return name.starts_with(family); });
}

Environment read_environment() {
  return read_environment([](const char* name) { return std::getenv(name); });
}

}  // namespace gradus::comm
