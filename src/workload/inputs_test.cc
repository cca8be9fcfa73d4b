// SPDX-License-Identifier: Apache-2.0
#include "workload/inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/temp_folder_test_util.h"

namespace duly::workload {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
std::span<const std::byte> Bytes(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

template <typename T>
std::string Raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

class ReadInputsTest : public ::testing::Test {
 protected:
  InputSet Read(std::string_view text) {
    faults_ = Faults();
    return ReadInputs(folder_.Write("in.yaml", text), faults_);
  }

  TempFolder folder_;
  Faults faults_;
};

TEST_F(ReadInputsTest, ReadsSeveralInputsAndAnswersCloseTo) {
  folder_.Write("x.bin", Raw<float>({1, 2, 3, 4}));
  folder_.Write("sr.bin", Raw<std::int64_t>({16000, 8000}));
  folder_.Write("out.bin", Raw<float>({0.5, 0.25}));
  const InputSet set = Read(R"(
model: vad
rows: 2
inputs:
  - {name: x, datatype: FP32, row_shape: [1, 2], file: x.bin}
  - {name: sr, datatype: INT64, row_shape: [], file: sr.bin}
expected: {output: y, how: close, atol: 0.001, file: out.bin}
)");
  ASSERT_TRUE(faults_.empty()) << faults_.ToString();
  EXPECT_EQ(set.model, "vad");
  EXPECT_EQ(set.rows, 2U);
  ASSERT_EQ(set.inputs.size(), 2U);
  EXPECT_THAT(set.inputs[0].spec.shape, ElementsAre(1, 2));
  EXPECT_EQ(set.inputs[0].row_bytes, 8U);
  EXPECT_EQ(set.inputs[1].spec.type, DataType::kInt64);
  EXPECT_EQ(set.inputs[1].row_bytes, 8U);
  std::int64_t second = 0;
  std::memcpy(&second, set.inputs[1].data.data().data() + 8, 8);
  EXPECT_EQ(second, 8000);
  ASSERT_TRUE(set.expected);
  EXPECT_EQ(set.expected->basis, ExpectedAnswers::Basis::kReference);
  EXPECT_THAT(set.expected->values, ElementsAre(0.5F, 0.25F));
  EXPECT_EQ(set.expected->values_per_row, 1U);
  EXPECT_EQ(set.expected->atol, 0.001);
}

TEST_F(ReadInputsTest, ReadsLabels) {
  folder_.Write("x.bin", Raw<std::uint8_t>({1, 2, 3}));
  const InputSet set = Read(R"(
rows: 3
inputs: [{name: x, datatype: UINT8, row_shape: [1], file: x.bin}]
expected: {output: y, how: argmax, basis: truth, labels: [9, 0, 7], names: [a, b, c]}
)");
  ASSERT_TRUE(faults_.empty()) << faults_.ToString();
  EXPECT_THAT(set.expected->labels, ElementsAre(9, 0, 7));
  EXPECT_EQ(set.expected->basis, ExpectedAnswers::Basis::kTruth);
}

TEST_F(ReadInputsTest, ListsEveryFault) {
  folder_.Write("x.bin", Raw<float>({1, 2, 3}));
  Read(R"(
rows: 2
inputs:
  - {name: x, datatype: FP32, row_shape: [2], file: x.bin}
  - {name: y, datatype: BYTES, row_shape: [2], file: none.bin}
  - {name: z, datatype: FP32, row_shape: [2000000000, 2000000000], file: x.bin}
expected: {output: y, how: argmax, labels: [1]}
)");
  EXPECT_THAT(faults_.ToString(),
              AllOf(HasSubstr("in.yaml:4:53: the file has 12 bytes: expected 2 rows of 8 bytes"),
                    HasSubstr("datatype is 'BYTES'"), HasSubstr("file is 'none.bin'"),
                    HasSubstr("the row is too large"),
                    HasSubstr("1 labels: expected one for each of 2 rows")));
  EXPECT_EQ(faults_.all().size(), 5U);
  Read("rows: 2\ninputs: []\n");
  EXPECT_THAT(faults_.ToString(), HasSubstr("no input"));
  Read(
      "rows: 2\ninputs: [{name: x, datatype: INT8, row_shape: [6], file: x.bin}]\n"
      "expected: {output: y, how: close, file: x.bin}\n");
  EXPECT_THAT(faults_.ToString(), HasSubstr("12 bytes: expected 2 rows of FP32 values"));
  Read(
      "rows: 2\ninputs: [{name: x, datatype: INT8, row_shape: [6], file: x.bin}]\n"
      "expected: {output: y, how: same}\n");
  EXPECT_THAT(faults_.ToString(), HasSubstr("how is 'same'"));
  EXPECT_EQ(faults_.all().size(), 1U);
}

TEST(CountCorrect, ArgmaxComparesEachRowWithItsLabel) {
  ExpectedAnswers expected;
  expected.labels = {2, 0, 1};
  const std::vector<float> answers = {0.1F, 0.2F, 0.7F, 0.9F, 0.0F, 0.1F};
  EXPECT_EQ(CountCorrect(expected, 0, 2, 3, DataType::kFp32, Bytes(answers)), 2U);
  EXPECT_EQ(CountCorrect(expected, 1, 2, 3, DataType::kFp32, Bytes(answers)), 0U);
  // Rows 2 and, going round, 0.
  const std::vector<std::int64_t> round = {0, 5, 1, 0, 1, 2};
  EXPECT_EQ(CountCorrect(expected, 2, 2, 3, DataType::kInt64, Bytes(round)), 2U);
}

TEST(CountCorrect, ArgmaxOfEqualElementsIsTheFirst) {
  ExpectedAnswers expected;
  expected.labels = {0, 1};
  const std::vector<float> answers = {0.5F, 0.5F, 0.5F, 0.5F};
  EXPECT_EQ(CountCorrect(expected, 0, 2, 2, DataType::kFp32, Bytes(answers)), 1U);
}

TEST(CountCorrect, NotANumberIsNeverCorrect) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  ExpectedAnswers expected;
  expected.labels = {0};
  EXPECT_EQ(CountCorrect(expected, 0, 1, 1, DataType::kFp32, Bytes<float>({nan, 0})), 0U);
  EXPECT_EQ(CountCorrect(expected, 0, 1, 1, DataType::kFp32, Bytes<float>({1, nan})), 0U);
  ExpectedAnswers close;
  close.how = ExpectedAnswers::How::kClose;
  close.values = {1};
  close.values_per_row = 1;
  close.atol = 10;
  EXPECT_EQ(CountCorrect(close, 0, 1, 1, DataType::kFp32, Bytes<float>({nan})), 0U);
  EXPECT_EQ(CountCorrect(close, 0, 1, 1, DataType::kFp32, Bytes<float>({3})), 1U);
}

TEST(CountCorrect, CloseIsWithinTheTolerance) {
  ExpectedAnswers expected;
  expected.how = ExpectedAnswers::How::kClose;
  expected.values = {1, 2, 3, 4};
  expected.values_per_row = 2;
  expected.atol = 0.01;
  EXPECT_EQ(CountCorrect(expected, 0, 2, 2, DataType::kFp64, Bytes<double>({1.005, 2, 3, 4.02})),
            1U);
  EXPECT_EQ(CountCorrect(expected, 1, 1, 2, DataType::kFp64, Bytes<double>({3, 4})), 1U);
}

TEST(CountCorrect, DataOfAnotherSizeIsNotCorrect) {
  ExpectedAnswers expected;
  expected.labels = {0, 0};
  EXPECT_EQ(CountCorrect(expected, 0, 2, 2, DataType::kFp32, Bytes<float>({1, 0, 1})), 0U);
  EXPECT_EQ(CountCorrect(expected, 0, 2, 2, DataType::kFp32, {}), 0U);
  EXPECT_EQ(CountCorrect(expected, 0, 1, 2, DataType::kFp16, Bytes<std::uint16_t>({1})), 0U);
  expected.labels = {7};
  EXPECT_EQ(CountCorrect(expected, 0, 1, 1, DataType::kFp32, Bytes<float>({1, 0})), 0U);
}

}  // namespace
}  // namespace duly::workload
