// SPDX-License-Identifier: Apache-2.0
#include "profile/profile.h"

#include <gtest/gtest.h>

#include <chrono>
#include <tuple>

#include "base/temp_folder_test_util.h"

namespace duly {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

std::string FaultsOf(const std::string& text) {
  Faults faults;
  const Result<Profile> profile = ParseProfile(text, "p.yaml", faults);
  EXPECT_EQ(profile.has_value(), faults.empty());
  return faults.ToString();
}

// Of a profile with one variant, whose keys after the names are `rest`.
std::string FaultsOfVariant(const std::string& rest) {
  return FaultsOf("variants:\n- {model: m, variant: v, device: d, " + rest + "}\n");
}

TEST(Profile, ReadsBackAsItWasWritten) {
  Profile profile;
  profile.machine = "A \"CPU\": 2 cores #1";
  profile.runtime = "onnxruntime 1.31.1";
  profile.variants.push_back(
      {"fashion",
       "m-int8",
       "cpu",
       2,
       (12u << 20) + 7,
       {{1, Duration(1), Duration(1), Duration(1), 0},
        {2, Duration(220'123), Duration(230'000), Duration(1'000'000'001), 50},
        {65536, Duration(3'599'999'999'999), std::chrono::hours(1), std::chrono::hours(1), 1}}});
  profile.variants.push_back(
      {"null",
       "~",
       "*",
       1,
       0,
       {{1, microseconds(5), microseconds(5), microseconds(5), 1'000'000'000}}});
  Faults faults;
  const Result<Profile> read = ParseProfile(ToYaml(profile), "p.yaml", faults);
  ASSERT_TRUE(read.has_value()) << faults.ToString() << "\n" << ToYaml(profile);
  EXPECT_EQ(read->machine, profile.machine);
  EXPECT_EQ(read->runtime, profile.runtime);
  ASSERT_EQ(read->variants.size(), profile.variants.size());
  for (std::size_t i = 0; i < profile.variants.size(); ++i) {
    const VariantProfile& a = profile.variants[i];
    const VariantProfile& b = read->variants[i];
    EXPECT_EQ(std::tie(a.model, a.variant, a.device, a.threads, a.memory_bytes),
              std::tie(b.model, b.variant, b.device, b.threads, b.memory_bytes));
    ASSERT_EQ(a.points.size(), b.points.size());
    for (std::size_t j = 0; j < a.points.size(); ++j) {
      const ProfilePoint& p = a.points[j];
      const ProfilePoint& q = b.points[j];
      EXPECT_EQ(std::tie(p.rows, p.mean, p.p95, p.p99, p.runs),
                std::tie(q.rows, q.mean, q.p95, q.p99, q.runs));
    }
    EXPECT_TRUE(LatencyCurve::Create(b.points).has_value());
  }
}

TEST(Profile, HandWrittenPointsNeedOnlyRowsAndMean) {
  Faults faults;
  const Result<Profile> profile = ParseProfile(
      "variants:\n- {model: m, variant: v, device: d, points: [{rows: 1, mean: 5ms}]}\n", "p.yaml",
      faults);
  ASSERT_TRUE(profile.has_value()) << faults.ToString();
  const ProfilePoint& point = profile->variants[0].points[0];
  EXPECT_EQ(point.p95, milliseconds(5));
  EXPECT_EQ(point.p99, milliseconds(5));
  EXPECT_EQ(point.runs, 0u);
  EXPECT_EQ(profile->variants[0].threads, 1u);
}

TEST(Profile, PrefersTheDevicesOwnEntry) {
  Profile profile;
  profile.variants = {{"m", "v", "*", 1, 1, {}}, {"m", "v", "gpu", 1, 2, {}}};
  EXPECT_EQ(profile.Find("m", "v", "gpu"), &profile.variants[1]);
  EXPECT_EQ(profile.Find("m", "v", "cpu"), &profile.variants[0]);
  EXPECT_EQ(profile.Find("m", "w", "gpu"), nullptr);
  EXPECT_EQ(profile.Find("n", "v", "gpu"), nullptr);
}

TEST(Profile, WrongFiguresAreFaults) {
  EXPECT_EQ(FaultsOf("machine: x\n"), "p.yaml:1:1: 'variants' is missing: expected a list");
  EXPECT_EQ(FaultsOfVariant("threads: 0, points: [{rows: 1, mean: 1ms}]"),
            "p.yaml:2:46: threads is '0': expected an integer from 1 to 1024");
  EXPECT_EQ(FaultsOfVariant("points: []"),
            "p.yaml:2:45: points is empty: expected at least one element");
  EXPECT_EQ(FaultsOfVariant("points: [{rows: 1, mean: 1}]"),
            "p.yaml:2:62: mean is '1': expected a duration, such as 250us, 20ms or 1.5s");
  EXPECT_EQ(FaultsOfVariant("points: [{rows: 1, mean: 2h}]"),
            "p.yaml:2:62: mean is above an hour: expected at most 1h");
  EXPECT_EQ(FaultsOfVariant("points: [{rows: 2, mean: 1ms}, {rows: 2, mean: 2ms}]"),
            "p.yaml:2:75: rows 2 after rows 2: expected ascending rows");
  EXPECT_EQ(FaultsOfVariant("points: [{rows: 1, mean: 1ms, p95: 3ms, p99: 2ms}]"),
            "p.yaml:2:82: p99 is below p95: expected p95 or more");
  EXPECT_EQ(FaultsOfVariant("points: [{rows: 1, mean: 1ms, p95: 3ms}]"), "");
}

TEST(Profile, ElevenFaultsAreElevenLinesInTheOrderOfTheFile) {
  EXPECT_EQ(
      FaultsOf("machine: [x]\n"
               "variants:\n"
               "  - model: m\n"
               "    variant: v\n"
               "    device: d\n"
               "    memory: 1 potato\n"
               "    threads: 1.5\n"
               "    points:\n"
               "      - {rows: 4, mean: 1ms}\n"
               "      - {rows: 2, mean: 2ms}\n"
               "      - {rows: 8, mean: 0ms}\n"
               "      - {row: 16, mean: 2ms}\n"
               "  - {model: m, variant: v, device: d, points: [{rows: 1, mean: 1ms}]}\n"
               "  - {variant: v, device: d, points: 5}\n"
               "version: 1\n"),
      "p.yaml:1:10: machine is a list: expected text of one line\n"
      "p.yaml:6:13: memory is '1 potato': expected a size in bytes, such as 512, 64kB or 8MiB\n"
      "p.yaml:7:14: threads is '1.5': expected an integer from 1 to 1024\n"
      "p.yaml:10:16: rows 2 after rows 4: expected ascending rows\n"
      "p.yaml:11:25: mean is '0ms': expected a duration above 0, such as 250us, 20ms or 1.5s\n"
      "p.yaml:12:9: 'rows' is missing: expected an integer from 1 to 65536\n"
      "p.yaml:12:10: unknown key 'row' (did you mean 'rows'?): expected one of: rows, p99, mean, "
      "p95, runs\n"
      "p.yaml:13:5: 'v' of 'm' on 'd' is given again: expected each variant once for a device\n"
      "p.yaml:14:5: 'model' is missing: expected text of one line\n"
      "p.yaml:14:37: points is '5': expected a list\n"
      "p.yaml:15:1: unknown key 'version': expected one of: machine, runtime, variants");
}

TEST(Profile, LoadsFromAFile) {
  const TempFolder folder;
  Faults faults;
  EXPECT_EQ(LoadProfile(folder.At("none.yaml"), faults).error().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(faults.ToString(),
            folder.At("none.yaml") + ": cannot be read: No such file or directory");
  // A fault of another file does not make this one wrong.
  EXPECT_TRUE(LoadProfile(folder.Write("p.yaml", "variants: []\n"), faults).has_value());
}

}  // namespace
}  // namespace duly
