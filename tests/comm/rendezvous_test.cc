// Who is let in, who is not, and what everyone is told.
#include "gradus/comm/rendezvous.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>

#include "gradus/comm/interfaces.h"
#include "gradus/core/error.h"
#include "tests/comm/tcp_ranks.h"

namespace gradus::comm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::vector<std::string> meet(const std::vector<Environment>& all, const RendezvousOptions& options = {}) {
  return run_each(static_cast<int>(all.size()), [&](int r) {
    const Meeting m = rendezvous(all[static_cast<size_t>(r)], options);
    EXPECT_THAT(m.peers, SizeIs(all.size()));
    for (size_t k = 0; k < m.peers.size(); ++k) {
      EXPECT_EQ(m.peers[k].rank, static_cast<int>(k));
      EXPECT_EQ(m.peers[k].host, host_name());
      EXPECT_GT(m.peers[k].port, 0);
    }
  });
}

TEST(Rendezvous, EveryRankGetsTheTableOfAll) {
  for (const int P : {2, 3, 9}) EXPECT_THAT(meet(environments(P)), Each(""));
}

TEST(Rendezvous, WorksOverIpv6) {
  for (const Interface& i : interfaces()) {
    if (i.address.host() == "::1") {
      EXPECT_THAT(meet(environments(2, "::1")), Each(""));
    }
  }
}

TEST(Rendezvous, AnotherTokenIsRefusedAndReportedOnceWhileTheOthersMeet) {
  std::vector<Environment> all = environments(3);
  all.push_back(all[1]);  // an intruder that comes twice
  all[3].token = "a guess";
  std::mutex mutex;
  std::vector<std::string> warnings;
  const RendezvousOptions options{.timeout = milliseconds(20'000), .warn = [&](const std::string& w) {
                                    const std::lock_guard lock(mutex);
                                    warnings.push_back(w);
                                  }};
  std::atomic<bool> refused = false;
  const std::vector<std::string> errors = run_each(4, [&](int i) {
    if (i == 3) {
      try {
        rendezvous(all[3], options);
      } catch (const Error& first) {
        EXPECT_EQ(first.code(), ErrorCode::invalid_argument);
      }
      try {
        rendezvous(all[3], options);
      } catch (const Error&) {
        refused = true;
        throw;
      }
      return;
    }
    while (i == 2 && !refused) std::this_thread::yield();
    rendezvous(all[static_cast<size_t>(i)], options);
  });
  EXPECT_THAT(errors, ElementsAre("", "", "", HasSubstr("GRADUS_JOB_TOKEN")));
  EXPECT_THAT(warnings, ElementsAre(AllOf(HasSubstr("127.0.0.1"), HasSubstr("token"))));
}

TEST(Rendezvous, RanksThatDisagreeOnTheirNumberAllLearnBothNumbers) {
  std::vector<Environment> all = environments(3);
  all[2].size = 4;
  EXPECT_THAT(meet(all), Each(AllOf(HasSubstr("rank 2"), HasSubstr("4 ranks"), HasSubstr("of 3"))));
}

TEST(Rendezvous, ARankThatIsThereTwiceIsNamedToAll) {
  std::vector<Environment> all = environments(3);
  all[2].rank = 1;
  EXPECT_THAT(meet(all), Each(HasSubstr("both rank 1")));
}

TEST(Rendezvous, AnotherVersionIsNamedToAll) {
  const std::vector<Environment> all = environments(2);
  const std::vector<std::string> errors = run_each(
      2, [&](int r) { rendezvous(all[static_cast<size_t>(r)], {.version = r == 0 ? "gradus 1" : "gradus 2"}); });
  EXPECT_THAT(errors, Each(AllOf(HasSubstr("gradus 1"), HasSubstr("gradus 2"))));
}

TEST(Rendezvous, MissingRanksAreNamedToAllWithinTheDeadline) {
  std::vector<Environment> all = environments(4);
  all.erase(all.begin() + 2);
  const auto begin = steady_clock::now();
  const std::vector<std::string> errors =
      run_each(3, [&](int i) { rendezvous(all[static_cast<size_t>(i)], {.timeout = milliseconds(300)}); });
  EXPECT_THAT(errors, Each(AllOf(HasSubstr("did not come"), HasSubstr(": 2;"))));
  EXPECT_LT(steady_clock::now() - begin, milliseconds(5'000));
}

TEST(Rendezvous, NobodyThereIsAnErrorThatNamesTheAddress) {
  std::vector<Environment> all = environments(2);
  try {
    rendezvous(all[1], {.timeout = milliseconds(100)});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::timeout);
    EXPECT_THAT(e.what(), HasSubstr(fmt::format("127.0.0.1:{}", all[1].master_port)));
  }
}

TEST(Rendezvous, AHostThatIsNotThereIsAnErrorWithinTheDeadline) {
  Environment e = environments(2)[1];
  e.master_address = "no-such-host.invalid";
  const auto begin = steady_clock::now();
  EXPECT_THROW(rendezvous(e, {.timeout = milliseconds(100)}), Error);
  e.master_address = "192.0.2.1";  // of a network that is nowhere (RFC 5737)
  EXPECT_THROW(rendezvous(e, {.timeout = milliseconds(100)}), Error);
  EXPECT_LT(steady_clock::now() - begin, milliseconds(20'000));
}

TEST(Rendezvous, ATakenPortIsNamed) {
  const Environment e = environments(2)[0];
  const Descriptor other = listen_at(resolve(e.master_address, e.master_port).front());
  try {
    rendezvous(e, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_THAT(error.what(), AllOf(HasSubstr(fmt::format("127.0.0.1:{}", e.master_port)), HasSubstr("in use")));
  }
}

TEST(Rendezvous, LoopbackIsRefusedWhenRanksAreOnOtherHosts) {
  std::vector<Environment> all = environments(2);
  const std::vector<std::string> errors =
      run_each(2, [&](int r) { rendezvous(all[static_cast<size_t>(r)], {.host_id = r == 0 ? "one" : "two"}); });
  EXPECT_THAT(errors, Each(AllOf(HasSubstr("127.0.0.1"), HasSubstr("GRADUS_IFACE"))));
  all[0].local_size = 1;
  EXPECT_THROW(rendezvous(all[0], {}), Error);
}

TEST(Rendezvous, WhoSpeaksOtherwiseHoldsNobodyUp) {
  const std::vector<Environment> all = environments(2);
  const std::vector<std::string> errors = run_each(3, [&](int i) {
    if (i < 2) {
      rendezvous(all[static_cast<size_t>(i)], {});
      return;
    }
    for (int attempt = 0; attempt < 100; ++attempt) {
      try {
        const auto deadline = steady_clock::now() + milliseconds(500);
        const Descriptor s = connect_to(resolve("127.0.0.1", all[0].master_port).front(), deadline);
        send_all(s, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", deadline);
      } catch (const Error&) {
        std::this_thread::yield();
      }
    }
  });
  EXPECT_THAT(errors, Each(""));
}

Interface interface(const std::string& name, const std::string& address) {
  return {name, resolve(address, 0).front()};
}

TEST(Interfaces, AreChosenByNameNetworkOrExclusion) {
  const std::vector<Interface> all = {interface("lo", "127.0.0.1"), interface("docker0", "172.17.0.1"),
                                      interface("eth0", "10.1.2.3"), interface("ib0", "fd00::3")};
  EXPECT_EQ(choose_interface("eth0", all).host(), "10.1.2.3");
  EXPECT_EQ(choose_interface("10.1.0.0/16", all).host(), "10.1.2.3");
  EXPECT_EQ(choose_interface("fd00::/8", all).host(), "fd00::3");
  EXPECT_EQ(choose_interface("^docker0", all).host(), "10.1.2.3");
  EXPECT_EQ(choose_interface("^172.16.0.0/12,^eth0", all).host(), "fd00::3");
  for (const char* wanted : {"eth9", "10.1.0.0/40", "10.1/16", "^", "192.168.0.0/24"}) {
    EXPECT_THROW(choose_interface(wanted, all), Error) << wanted;
  }
}

}  // namespace
}  // namespace gradus::comm
