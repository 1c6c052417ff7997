// gradus check-env: what is printed, and how it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "gradus/core/file.h"
#include "gradus/core/json.h"
#include "program.h"
#include "tests/core/temporary_folder.h"

namespace gradus::cli {
namespace {

using gradus::testing::TemporaryFolder;
using ::testing::HasSubstr;

const std::string kExample = GRADUS_SOURCE_DIR "/examples/environment/my_env.py";

std::vector<nlohmann::json> objects(const std::string& text) {
  std::istringstream lines(text);
  std::vector<nlohmann::json> all;
  for (std::string line; std::getline(lines, line);) all.push_back(parse_json(line, "stdout"));
  return all;
}

TEST(CheckEnvCommand, PrintsALineForEachCheck) {
  const Outcome o = run_program({"check-env", "mountaincar"});
  EXPECT_EQ(o.exit_code, 0) << o.err;
  EXPECT_THAT(o.out, HasSubstr("ok     spaces       observations Box(2), actions Discrete(3)\n"));
  EXPECT_THAT(o.out, HasSubstr("ok     time limit   truncated after 200 steps\n"));
}

TEST(CheckEnvCommand, FindsNothingWrongWithTheExample) {
  const Outcome o = run_program({"check-env", kExample, "max_episode_steps=20", "--steps", "100", "--json"});
  EXPECT_EQ(o.exit_code, 0) << o.err;
  const auto all = objects(o.out);
  EXPECT_EQ(all.size(), 10u);
  for (const auto& check : all) EXPECT_EQ(check["verdict"], "passed") << check;
}

TEST(CheckEnvCommand, SaysWhatIsWrongAndEndsWithOne) {
  const TemporaryFolder folder;
  std::string text = read_file(kExample);
  const std::string seeded = "rng.seed(request[\"seed\"])";
  text.replace(text.find(seeded), seeded.size(), "pass");
  write_file_atomically(folder / "unseeded.py", text);
  const Outcome o = run_program({"check-env", (folder / "unseeded.py").string(), "--steps", "30"});
  EXPECT_EQ(o.exit_code, 1);
  EXPECT_THAT(o.out, HasSubstr("WRONG  seed         seed 1 twice: start 0 differs\n"));
  EXPECT_THAT(o.err, HasSubstr("checks fail; see above"));
}

TEST(CheckEnvCommand, AnUnknownNameOrKeyIsWrongUsage) {
  EXPECT_EQ(run_program({"check-env", "mountaincat"}).exit_code, 2);
  EXPECT_EQ(run_program({"check-env", "grid", "grid.mapp=x"}).exit_code, 2);
  EXPECT_EQ(run_program({"check-env", "./no/such/program"}).exit_code, 1);
}

}  // namespace
}  // namespace gradus::cli
