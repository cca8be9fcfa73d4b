// SPDX-License-Identifier: Apache-2.0
#include "backend/common/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace duly {
namespace {

using testing::HasSubstr;

Tensor Floats(std::string name, Shape shape) {
  const auto elements = static_cast<std::size_t>(ElementCount(shape).value());
  return {std::move(name), DataType::kFp32, std::move(shape), Buffer::Allocate(4 * elements).first};
}

const std::vector<TensorSpec>& Specs() {
  static const std::vector<TensorSpec> specs = {{"a", DataType::kFp32, {-1, 2}},
                                                {"b", DataType::kFp32, {-1}, true},
                                                {"c", DataType::kFp32, {-1, -1}}};
  return specs;
}

TEST(FindInput, FindsTensorsBehindOptionalOnesThatWereLeftOut) {
  const std::vector<Tensor> all = {Floats("a", {1, 2}), Floats("b", {1}), Floats("c", {1, 1})};
  const std::vector<Tensor> some = {Floats("a", {1, 2}), Floats("c", {1, 1})};
  RunItem item;
  item.inputs = all;
  EXPECT_EQ(FindInput(item, Specs(), 0), &all[0]);
  EXPECT_EQ(FindInput(item, Specs(), 1), &all[1]);
  EXPECT_EQ(FindInput(item, Specs(), 2), &all[2]);
  item.inputs = some;
  EXPECT_EQ(FindInput(item, Specs(), 0), &some[0]);
  EXPECT_EQ(FindInput(item, Specs(), 1), nullptr);
  EXPECT_EQ(FindInput(item, Specs(), 2), &some[1]);
}

TEST(CheckBatch, CountsRows) {
  const std::vector<Tensor> two = {Floats("a", {2, 2}), Floats("c", {2, 5})};
  const std::vector<Tensor> three = {Floats("a", {3, 2}), Floats("c", {3, 5})};
  std::vector<RunItem> items(2);
  items[0].inputs = two;
  items[0].rows = 2;
  items[1].inputs = three;
  items[1].rows = 3;
  EXPECT_EQ(CheckBatch(items, Specs(), 1, 5).value(), 5U);
  const auto too_many = CheckBatch(items, Specs(), 1, 4);
  ASSERT_FALSE(too_many);
  EXPECT_THAT(too_many.error().message(), HasSubstr("5 rows"));
}

TEST(CheckBatch, RefusesOptionalInputsOnlyInSomeItems) {
  const std::vector<Tensor> with = {Floats("a", {1, 2}), Floats("b", {1}), Floats("c", {1, 1})};
  const std::vector<Tensor> without = {Floats("a", {1, 2}), Floats("c", {1, 1})};
  std::vector<RunItem> items(2);
  items[0].inputs = with;
  items[1].inputs = with;
  EXPECT_TRUE(CheckBatch(items, Specs(), 1, 8));
  items[1].inputs = without;
  EXPECT_FALSE(CheckBatch(items, Specs(), 1, 8));
  items[0].inputs = without;
  EXPECT_TRUE(CheckBatch(items, Specs(), 1, 8));
}

TEST(CheckBatch, RefusesZeroRows) {
  const std::vector<Tensor> none = {Floats("a", {0, 2}), Floats("c", {0, 5})};
  std::vector<RunItem> items(1);
  items[0].inputs = none;
  items[0].rows = 0;
  EXPECT_FALSE(CheckBatch(items, Specs(), 1, 8));
}

TEST(CheckBatch, RefusesSizesThatOverflow) {
  std::vector<Tensor> huge = {Floats("a", {1, 2}), Floats("c", {1, 1})};
  huge[1].shape = {1, std::numeric_limits<std::int64_t>::max()};
  huge[1].data = Buffer();
  std::vector<RunItem> items(1);
  items[0].inputs = huge;
  EXPECT_FALSE(CheckBatch(items, Specs(), 1, 8));
  huge[1].shape = {1, std::int64_t{1} << 62};  // times four is 0 in 64 bits
  EXPECT_FALSE(CheckBatch(items, Specs(), 1, 8));
}

}  // namespace
}  // namespace duly
