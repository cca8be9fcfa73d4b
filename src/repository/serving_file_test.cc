// SPDX-License-Identifier: Apache-2.0
#include "repository/serving_file.h"

#include <gtest/gtest.h>

#include <chrono>

namespace duly {
namespace {

using std::chrono::milliseconds;

std::string ServingFaults(const std::string& text) {
  Faults faults;
  ParseServingFile(text, "duly.yaml", faults);
  return faults.ToString();
}

TEST(ServingFile, ReadsVariantsAndPromises) {
  Faults faults;
  const ServingFile file = ParseServingFile(R"(
default_variant: m-int8
slo: 50ms
timeout: 100ms
warmup: 2
variants:
  - {name: xxs, file: xxs.onnx}
  - name: m-int8
    file: sub/m.onnx
    accuracy: 92.87
    dataset: "Fashion-MNIST test, 10 000 images"
    method: measured
    source: models/fashion/measure.py
    memory: 12MiB
)",
                                            "duly.yaml", faults);
  EXPECT_EQ(faults.ToString(), "");
  EXPECT_EQ(file.default_variant, "m-int8");
  EXPECT_EQ(file.slo, milliseconds(50));
  EXPECT_EQ(file.timeout, milliseconds(100));
  EXPECT_EQ(file.warmup_runs, 2u);
  ASSERT_EQ(file.variants.size(), 2u);
  EXPECT_EQ(file.variants[0].name, "xxs");
  EXPECT_EQ(file.variants[0].accuracy_pct, std::nullopt);
  const VariantSpec& m = file.variants[1];
  EXPECT_EQ(m.file, "sub/m.onnx");
  EXPECT_EQ(m.accuracy_pct, 92.87);
  EXPECT_EQ(m.dataset, "Fashion-MNIST test, 10 000 images");
  EXPECT_EQ(m.accuracy_method, "measured");
  EXPECT_EQ(m.accuracy_source, "models/fashion/measure.py");
  EXPECT_EQ(m.memory_bytes, 12u << 20);
  ASSERT_EQ(file.file_places.size(), 2u);
  EXPECT_EQ(file.file_places[1], (Place{"duly.yaml", 9, 11}));
}

struct BadServingFile {
  std::string text;
  std::string faults;
};
class ServingFileRefuses : public testing::TestWithParam<BadServingFile> {};

TEST_P(ServingFileRefuses, WithItsPlaceAndWhatIsExpected) {
  EXPECT_EQ(ServingFaults(GetParam().text), GetParam().faults) << GetParam().text;
}

const BadServingFile kBadServing[] = {
    {"slo: 50", "duly.yaml:1:6: slo is '50': expected a duration, such as 250us, 20ms or 1.5s"},
    {"timeout: 0ms",
     "duly.yaml:1:10: timeout is '0ms': expected a duration above 0, such as 250us, 20ms or 1.5s"},
    {"warmup: 1001", "duly.yaml:1:9: warmup is '1001': expected an integer from 0 to 1000"},
    {"warm_up: 1",
     "duly.yaml:1:1: unknown key 'warm_up' (did you mean 'warmup'?): expected one of: slo, "
     "timeout, warmup, variants, default_variant"},
    {"variants: []", "duly.yaml:1:11: variants is empty: expected at least one element"},
    {"variants: {a: 1}", "duly.yaml:1:11: variants is a map: expected a list"},
    {"default_variant: fast",
     "duly.yaml:1:18: default_variant is 'fast': expected one of: default"},
    {"default_variant: c\nvariants: [{name: a, file: a}, {name: b, file: b}]",
     "duly.yaml:1:18: default_variant is 'c': expected one of: a, b"},
    {"variants:\n  - {name: a, file: a.onnx}\n  - {name: a, file: b.onnx}",
     "duly.yaml:3:12: variant 'a' is given again: expected each name once"},
    {"variants:\n  - {file: a.onnx}\n  - {name: b}",
     "duly.yaml:2:5: 'name' is missing: expected text of one line\n"
     "duly.yaml:3:5: 'file' is missing: expected text of one line"},
    {"variants: [{name: a, file: ../2/a.onnx}]",
     "duly.yaml:1:28: file is '../2/a.onnx': expected a path inside the version folder"},
    {"variants: [{name: a, file: /a.onnx}]",
     "duly.yaml:1:28: file is '/a.onnx': expected a path inside the version folder"},
    {"variants: [{name: a, file: a, accuracy: 0.92}]",
     "duly.yaml:1:12: 'dataset' is missing: expected text of one line\n"
     "duly.yaml:1:12: 'method' is missing: expected one of: measured, published"},
    {"variants: [{name: a, file: a, accuracy: 101, dataset: d, method: guessed}]",
     "duly.yaml:1:41: accuracy is '101': expected a number from 0 to 100\n"
     "duly.yaml:1:66: method is 'guessed': expected one of: measured, published"},
    {"variants: [{name: a, file: a, memory: 12MiBB}]",
     "duly.yaml:1:39: memory is '12MiBB': expected a size in bytes, such as 512, 64kB or 8MiB"},
};
INSTANTIATE_TEST_SUITE_P(BadFiles, ServingFileRefuses, testing::ValuesIn(kBadServing));

TEST(ServingFile, RefusesMoreVariantsThanMasksHold) {
  std::string text = "variants:\n";
  for (std::size_t i = 0; i <= kMaxVariants; ++i) {
    text += "  - {name: v" + std::to_string(i) + ", file: a}\n";
  }
  EXPECT_EQ(ServingFaults(text), "duly.yaml:2:3: there are 33 variants: expected at most 32");
}

TEST(StaysInside, RefusesWhateverLeavesTheFolder) {
  EXPECT_TRUE(StaysInside("model.onnx"));
  EXPECT_TRUE(StaysInside("a/b..onnx"));
  EXPECT_FALSE(StaysInside(""));
  EXPECT_FALSE(StaysInside("/a"));
  EXPECT_FALSE(StaysInside(".."));
  EXPECT_FALSE(StaysInside("a/../../b"));
}

}  // namespace
}  // namespace duly
