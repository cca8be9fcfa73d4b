// SPDX-License-Identifier: Apache-2.0
#include "cli/labelled_images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <string>
#include <string_view>

#include "base/temp_folder_test_util.h"

namespace duly {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kImages("\0\0\x08\x03\0\0\0\x03\0\0\0\x01\0\0\0\x02\x01\x02\x03\x04\x05\xff", 22);
const std::string kLabels("\0\0\x08\x01\0\0\0\x03\x07\x08\x09", 11);

class ReadLabelledImagesTest : public ::testing::Test {
 protected:
  void WriteImages(std::string_view bytes) { folder_.Write("t-images-idx3-ubyte", bytes); }
  void WriteLabels(std::string_view bytes) { folder_.Write("t-labels-idx1-ubyte", bytes); }
  LabelledImages Read(std::optional<std::uint32_t> limit = std::nullopt) {
    return ReadLabelledImages(folder_.path(), limit, faults_);
  }

  TempFolder folder_;
  Faults faults_;
};

TEST_F(ReadLabelledImagesTest, ReadsPlainAndCompressedFiles) {
  WriteLabels(kLabels);
  gzFile file = ::gzopen(folder_.At("t-images-idx3-ubyte.gz").c_str(), "wb");
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(::gzwrite(file, kImages.data(), static_cast<unsigned>(kImages.size())), 22);
  EXPECT_EQ(::gzclose(file), Z_OK);
  const LabelledImages read = Read();
  EXPECT_EQ(faults_.ToString(), "");
  EXPECT_EQ(read.count, 3U);
  EXPECT_EQ(read.rows, 1U);
  EXPECT_EQ(read.columns, 2U);
  EXPECT_THAT(read.pixels, ElementsAre(1, 2, 3, 4, 5, 255));
  EXPECT_THAT(read.labels, ElementsAre(7, 8, 9));
}

TEST_F(ReadLabelledImagesTest, TakesTheFirstOnes) {
  WriteImages(kImages);
  WriteLabels(kLabels);
  const LabelledImages read = Read(2);
  EXPECT_EQ(read.count, 2U);
  EXPECT_THAT(read.pixels, ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(read.labels, ElementsAre(7, 8));
  EXPECT_EQ(Read(99).count, 3U);
}

TEST_F(ReadLabelledImagesTest, NamesEveryFault) {
  WriteImages(kImages + "x");
  WriteLabels(kLabels.substr(0, 10));
  Read();
  EXPECT_THAT(faults_.ToString(), HasSubstr("t-images-idx3-ubyte: does not hold the 6 bytes"));
  EXPECT_THAT(faults_.ToString(), HasSubstr("t-labels-idx1-ubyte: does not hold the 3 bytes"));
}

TEST_F(ReadLabelledImagesTest, RefusesSizesThatOverflow) {
  WriteImages(std::string("\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16));
  WriteLabels(kImages);
  Read();
  EXPECT_THAT(faults_.ToString(), HasSubstr("has over 1 GiB"));
  EXPECT_THAT(faults_.ToString(), HasSubstr("is no idx file of bytes in 1 dimensions"));
}

TEST_F(ReadLabelledImagesTest, RefusesUnequalCountsAndMissingFiles) {
  WriteImages(kImages);
  WriteLabels(std::string("\0\0\x08\x01\0\0\0\x01\x07", 9));
  Read();
  EXPECT_THAT(faults_.ToString(), HasSubstr("3 images, 1 labels"));
  Faults missing;
  ReadLabelledImages(folder_.At("nowhere"), std::nullopt, missing);
  EXPECT_EQ(missing.all().size(), 2U);
}

}  // namespace
}  // namespace duly
