// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/temp_folder_test_util.h"

namespace duly {
namespace {

TEST(ReadFile, ReturnsTheBytesAndRefusesWhatIsNotASmallFile) {
  const TempFolder folder;
  const std::string path = folder.Write("a", std::string(20'000, 'x') + std::string("\0\r\n", 3));
  const Result<std::string> text = ReadFile(path);
  ASSERT_TRUE(text.has_value());
  EXPECT_EQ(*text, std::string(20'000, 'x') + std::string("\0\r\n", 3));

  EXPECT_EQ(ReadFile(path, 20'002).error().message(), "larger than 20002 bytes");
  EXPECT_EQ(ReadFile(folder.At("b")).error().code(), StatusCode::kNotFound);
  EXPECT_EQ(ReadFile(folder.path()).error().message(), "Is a directory");
  const std::string pipe = folder.At("pipe");
  ::mkfifo(pipe.c_str(), 0600);
  EXPECT_EQ(ReadFile(pipe).error().message(), "not a regular file");
}

TEST(ReadFile, ReadsFilesOfTheKernelWhoseSizeIsZero) {
  const Result<std::string> text = ReadFile("/proc/self/status");
  ASSERT_TRUE(text.has_value());
  EXPECT_TRUE(text->starts_with("Name:"));
}

TEST(RelativeToFile, KeepsAbsolutePaths) {
  EXPECT_EQ(RelativeToFile("a/b.yaml", "conf/node.yaml"), "conf/a/b.yaml");
  EXPECT_EQ(RelativeToFile("b.yaml", "node.yaml"), "b.yaml");
  EXPECT_EQ(RelativeToFile("/x/b.yaml", "conf/node.yaml"), "/x/b.yaml");
}

}  // namespace
}  // namespace duly
