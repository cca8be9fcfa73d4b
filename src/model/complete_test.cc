// SPDX-License-Identifier: Apache-2.0
#include "model/complete.h"

#include <gtest/gtest.h>

namespace duly {
namespace {

using Tensors = std::vector<TensorSpec>;

ModelSpec WithoutConfig() {
  ModelSpec spec;
  spec.folder = "repo/m";
  spec.rows_from_file = true;
  return spec;
}

ModelSpec WithConfig(std::uint32_t max_rows, Tensors inputs, Tensors outputs) {
  ModelSpec spec;
  spec.folder = "repo/m";
  spec.config_file = "repo/m/config.pbtxt";
  spec.max_rows = max_rows;
  spec.inputs = std::move(inputs);
  spec.outputs = std::move(outputs);
  return spec;
}

const TensorSpec kImage{"image", DataType::kFp32, {-1, 3, -1}, false};
const TensorSpec kLogits{"logits", DataType::kFp32, {-1, 10}, false};

TEST(CompleteFromFile, FillsEverythingAndBatchesWhereAllRowsAreDynamic) {
  ModelSpec spec = WithoutConfig();
  ASSERT_TRUE(CompleteFromFile(spec, Tensors{kImage}, Tensors{kLogits}).ok());
  EXPECT_EQ(spec.inputs, Tensors{kImage});
  EXPECT_EQ(spec.outputs, Tensors{kLogits});
  EXPECT_EQ(spec.max_rows, kDefaultMaxRows);
  EXPECT_FALSE(spec.rows_from_file);
}

TEST(CompleteFromFile, DoesNotBatchWhereOneFirstDimensionIsFixed) {
  for (const Shape& shape : {Shape{2, -1, 128}, Shape{}, Shape{1, 3}}) {
    ModelSpec spec = WithoutConfig();
    const TensorSpec state{"state", DataType::kFp32, shape, false};
    ASSERT_TRUE(CompleteFromFile(spec, Tensors{kImage, state}, Tensors{kLogits}).ok());
    EXPECT_EQ(spec.max_rows, 0u);
    spec = WithoutConfig();
    ASSERT_TRUE(CompleteFromFile(spec, Tensors{kImage}, Tensors{kLogits, state}).ok());
    EXPECT_EQ(spec.max_rows, 0u);
  }
}

TEST(CompleteFromFile, PreferredBatchSizesRaiseTheBound) {
  ModelSpec spec = WithoutConfig();
  spec.dynamic_batching = DynamicBatching{.preferred_rows = {8, 64}};
  ASSERT_TRUE(CompleteFromFile(spec, Tensors{kImage}, Tensors{kLogits}).ok());
  EXPECT_EQ(spec.max_rows, 64u);
}

TEST(CompleteFromFile, KeepsAConfigurationThatIsNarrowerThanTheFile) {
  ModelSpec spec = WithConfig(8, {{"image", DataType::kFp32, {-1, 3, 224}, false}}, {kLogits});
  const TensorSpec more{"more", DataType::kFp32, {-1}, false};
  const TensorSpec extra{"extra", DataType::kFp32, {-1}, true};
  ASSERT_TRUE(CompleteFromFile(spec, Tensors{kImage, extra}, Tensors{more, kLogits}).ok());
  EXPECT_EQ(spec.inputs[0].shape, (Shape{-1, 3, 224}));
  EXPECT_EQ(spec.outputs, Tensors{kLogits});
  EXPECT_EQ(spec.max_rows, 8u);
}

TEST(CompleteFromFile, NamesEveryDisagreementWithBothSides) {
  ModelSpec spec = WithConfig(8,
                              {{"image", DataType::kUint8, {-1, 3, 224}, false},
                               {"text", DataType::kBytes, {-1, 1}, false},
                               {"mask", DataType::kBool, {-1, 4}, true}},
                              {{"logits", DataType::kFp32, {-1, -1}, false}});
  const Status status = CompleteFromFile(spec,
                                         Tensors{kImage,
                                                 {"mask", DataType::kBool, {-1, 4}, false},
                                                 {"more", DataType::kInt64, {-1}, false}},
                                         Tensors{kLogits});
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "repo/m/config.pbtxt: "
            "input 'image': the configuration says UINT8 [-1,3,224], the file has FP32 [-1,3,-1]; "
            "input 'text': the configuration says BYTES [-1,1], the file has no such input, but: "
            "image, mask, more; "
            "input 'mask': the configuration says optional, the file needs it; "
            "input 'more': the configuration has no such input, the file needs it as INT64 [-1]; "
            "output 'logits': the configuration says FP32 [-1,-1], the file has FP32 [-1,10]");
}

TEST(CompleteFromFile, RefusesRowsThatTheFileDoesNotHave) {
  ModelSpec spec = WithConfig(8, {}, {});
  EXPECT_EQ(
      CompleteFromFile(spec, Tensors{kImage}, Tensors{{"logits", DataType::kFp32, {1, 10}, false}})
          .message(),
      "repo/m/config.pbtxt: output 'logits': the configuration says max_batch_size: 8, the "
      "file has FP32 [1,10], whose first dimension is not -1");
  spec = WithConfig(8, {kImage}, {kLogits});
  EXPECT_FALSE(CompleteFromFile(spec, Tensors{{"image", DataType::kFp32, {1, 3, -1}, false}},
                                Tensors{kLogits})
                   .ok());
}

TEST(CompleteFromFile, FurtherVariantsMustHaveTheTensorsOfTheFirst) {
  ModelSpec spec = WithoutConfig();
  ASSERT_TRUE(CompleteFromFile(spec, Tensors{kImage}, Tensors{kLogits}).ok());
  EXPECT_TRUE(CompleteFromFile(spec, Tensors{kImage}, Tensors{kLogits}).ok());
  EXPECT_EQ(CompleteFromFile(spec, Tensors{{"image", DataType::kFp32, {-1, 1, -1}, false}},
                             Tensors{kLogits})
                .message(),
            "repo/m: input 'image': the model says FP32 [-1,3,-1], the file has FP32 [-1,1,-1]");
}

}  // namespace
}  // namespace duly
