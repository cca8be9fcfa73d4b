// SPDX-License-Identifier: Apache-2.0
#include "server/shared_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "server/shared_object_test_util.h"

namespace duly {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::size_t kBudget = std::size_t{1} << 30;

std::shared_ptr<const SharedMemoryRegion> OpenRegion(const SharedObject& object,
                                                     std::uint64_t offset, std::uint64_t bytes) {
  auto region = SharedMemoryRegion::Open("r", object.Key(), offset, bytes);
  EXPECT_TRUE(region) << region.error().ToString();
  return region ? *region : nullptr;
}

std::vector<std::uint8_t> ReadBytes(const SharedMemoryRegion& region, std::uint64_t offset,
                                    std::size_t bytes) {
  std::vector<std::uint8_t> data(bytes);
  const Status status = region.Read(offset, std::as_writable_bytes(std::span(data)));
  EXPECT_TRUE(status.ok()) << status.ToString();
  return data;
}

constexpr std::array<std::uint8_t, 4> kFour{1, 2, 3, 4};

TEST(SharedMemoryRegion, ReadsAndWritesItsWindowOfTheObject) {
  SharedObject object(12);
  object.Put<std::uint8_t>(0, std::array<std::uint8_t, 12>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  const auto region = OpenRegion(object, 3, 6);
  EXPECT_THAT(ReadBytes(*region, 0, 6), ElementsAre(3, 4, 5, 6, 7, 8));
  EXPECT_THAT(ReadBytes(*region, 4, 2), ElementsAre(7, 8));
  EXPECT_THAT(ReadBytes(*region, 6, 0), ElementsAre());
  ASSERT_TRUE(region->Write(2, std::as_bytes(std::span(kFour))).ok());
  EXPECT_THAT(object.Get<std::uint8_t>(0, 12), ElementsAre(0, 1, 2, 3, 4, 1, 2, 3, 4, 9, 10, 11));
}

TEST(SharedMemoryRegion, PartsBeyondItsEndAreRefusedThoughTheObjectHasThem) {
  SharedObject object(100);
  const auto region = OpenRegion(object, 10, 20);
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  for (const auto& [offset, bytes] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
           {0, 21}, {17, 4}, {21, 0}, {kMost, 2}, {2, kMost}, {kMost, kMost}}) {
    const Status status = region->CheckPart(offset, bytes);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << offset << ' ' << bytes;
    EXPECT_THAT(status.message(), HasSubstr("beyond the 20 bytes of shared memory region 'r'"));
  }
  EXPECT_FALSE(region->Write(17, std::as_bytes(std::span(kFour))).ok());
  std::array<std::byte, 4> four{};
  EXPECT_FALSE(region->Read(17, four).ok());
  EXPECT_EQ(object.Get<std::uint8_t>(0, 100), std::vector<std::uint8_t>(100));
}

TEST(SharedMemoryRegion, KeysAreNamesOfOneObject) {
  SharedObject object(8);
  EXPECT_TRUE(SharedMemoryRegion::Open("r", object.name(), 0, 8));
  EXPECT_TRUE(SharedMemoryRegion::Open("r", object.Key(), 0, 8));
  for (const std::string& key :
       {std::string(), std::string("/"), std::string("."), std::string("/.."), "//" + object.name(),
        "/../shm/" + object.name(), object.Key() + "/", "/x" + object.Key(),
        object.Key() + std::string(1, '\0'), "/" + std::string(256, 'x')}) {
    const auto region = SharedMemoryRegion::Open("r", key, 0, 8);
    ASSERT_FALSE(region) << key;
    EXPECT_EQ(region.error().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(region.error().message(), HasSubstr("expected the name of a shared memory object"));
  }
  const auto absent = SharedMemoryRegion::Open("r", "/duly-test-absent", 0, 8);
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(absent.error().message(), HasSubstr("cannot be opened: No such file"));
}

TEST(SharedMemoryRegion, NamesAreShortTexts) {
  SharedObject object(8);
  EXPECT_TRUE(SharedMemoryRegion::Open("a/b c\u00e9", object.Key(), 0, 8));
  for (const std::string& name : {std::string(), std::string("\xff"), std::string(1025, 'x')}) {
    const auto region = SharedMemoryRegion::Open(name, object.Key(), 0, 8);
    ASSERT_FALSE(region) << name;
    EXPECT_THAT(region.error().message(), HasSubstr("expected 1 to 1024 bytes of UTF-8"));
  }
}

TEST(SharedMemoryRegion, WindowsBeyondTheObjectAreRefused) {
  SharedObject object(100);
  EXPECT_TRUE(SharedMemoryRegion::Open("r", object.Key(), 99, 1));
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  constexpr std::uint64_t kHalf = std::uint64_t{1} << 63;
  for (const auto& [offset, bytes, says] :
       std::vector<std::tuple<std::uint64_t, std::uint64_t, std::string>>{
           {0, 101, "reach beyond the 100 bytes"},
           {100, 1, "reach beyond the 100 bytes"},
           {0, 0, "expected 1 or more"},
           {kMost, 1, "expected less together"},
           {1, kMost, "expected less together"},
           {kMost, kMost, "expected less together"},
           {kHalf, kHalf, "expected less together"},
           {kHalf - 1, 1, "expected less together"}}) {
    const auto region = SharedMemoryRegion::Open("r", object.Key(), offset, bytes);
    ASSERT_FALSE(region) << offset << ' ' << bytes;
    EXPECT_EQ(region.error().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(region.error().message(), HasSubstr(says));
  }
}

TEST(SharedMemoryRegion, AnObjectThatBecameShorterIsAFaultAndStaysShort) {
  SharedObject object(3 * 4096);
  const auto region = OpenRegion(object, 0, 3 * 4096);
  object.Resize(4096);
  std::vector<std::byte> data(2 * 4096);
  const Status read = region->Read(0, data);
  EXPECT_EQ(read.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(read.message(), HasSubstr("has become shorter: expected the 12288 bytes"));
  EXPECT_EQ(region->Write(0, data).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(region->Write(8192, std::span(data).first(1)).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(object.Size(), 4096U);
  // What is still there is served, and all of it once it is there again.
  EXPECT_TRUE(region->Read(0, std::span(data).first(4096)).ok());
  object.Resize(3 * 4096);
  EXPECT_TRUE(region->Write(4096, data).ok());
}

TEST(SharedMemoryRegion, ARemovedObjectServesOn) {
  SharedObject object(4);
  const auto region = OpenRegion(object, 0, 4);
  object.Remove();
  ASSERT_TRUE(region->Write(0, std::as_bytes(std::span(kFour))).ok());
  EXPECT_THAT(ReadBytes(*region, 0, 4), ElementsAre(1, 2, 3, 4));
  EXPECT_FALSE(SharedMemoryRegion::Open("r", object.Key(), 0, 4));
}

// With a mapping in between this would end by SIGBUS.
TEST(SharedMemoryRegion, AClientThatKeepsTruncatingGetsErrorsAndNothingElse) {
  constexpr std::size_t kBytes = std::size_t{64} << 10;
  SharedObject object(kBytes);
  const auto region = OpenRegion(object, 0, kBytes);
  std::atomic<bool> stop{false};
  std::thread client([&] {
    while (!stop.load()) {
      object.Resize(0);
      object.Resize(kBytes);
    }
  });
  std::vector<std::byte> data(kBytes);
  for (int i = 0; i < 500; ++i) {
    for (const Status& status : {region->Read(0, data), region->Write(0, data)}) {
      EXPECT_TRUE(status.ok() || status.code() == StatusCode::kInvalidArgument);
    }
  }
  stop.store(true);
  client.join();
}

TEST(SharedMemoryRegistry, RegionsAreFoundUntilTheyAreUnregistered) {
  SharedObject object(100);
  SharedMemoryRegistry registry(kBudget);
  ASSERT_TRUE(registry.Register("b", object.Key(), 10, 20).ok());
  ASSERT_TRUE(registry.Register("a", object.name(), 0, 100).ok());
  const Status twice = registry.Register("a", object.Key(), 0, 50);
  EXPECT_EQ(twice.code(), StatusCode::kAlreadyExists);
  EXPECT_THAT(twice.message(), HasSubstr("'a' is registered already"));
  std::vector<std::string> names;
  for (const auto& region : registry.Regions()) names.push_back(region->name());
  EXPECT_THAT(names, ElementsAre("a", "b"));
  EXPECT_EQ(registry.Find("a")->bytes(), 100U);
  EXPECT_EQ(registry.Find("b")->offset(), 10U);
  EXPECT_EQ(registry.Find("b")->key(), object.Key());

  registry.Unregister("never there");
  registry.Unregister("a");
  EXPECT_EQ(registry.Find("a"), nullptr);
  EXPECT_TRUE(registry.Register("a", object.Key(), 0, 50).ok());
  EXPECT_EQ(registry.Find("a")->bytes(), 50U);
  registry.UnregisterAll();
  EXPECT_TRUE(registry.Regions().empty());
}

TEST(SharedMemoryRegistry, PlacesOutliveTheirRegistration) {
  SharedObject object(8);
  SharedMemoryRegistry registry(kBudget);
  ASSERT_TRUE(registry.Register("r", object.Key(), 0, 8).ok());
  const Result<SharedMemoryPlace> place = registry.Locate("r", 4, 4);
  ASSERT_TRUE(place);
  registry.Unregister("r");
  object.Remove();
  EXPECT_TRUE(place->region->Write(place->offset, std::as_bytes(std::span(kFour))).ok());
  EXPECT_THAT(object.Get<std::uint8_t>(0, 8), ElementsAre(0, 0, 0, 0, 1, 2, 3, 4));
  EXPECT_TRUE(registry.Copy(*place));
  EXPECT_EQ(registry.Locate("r", 4, 4).error().code(), StatusCode::kInvalidArgument);
}

TEST(SharedMemoryRegistry, CopiesAreBoundedTogether) {
  constexpr std::size_t kBytes = std::size_t{100} << 10;
  SharedObject object(kBytes);
  SharedMemoryRegistry registry(kBytes * 3 / 2);
  ASSERT_TRUE(registry.Register("r", object.Key(), 0, kBytes).ok());
  const SharedMemoryPlace place = *registry.Locate("r", 0, kBytes);
  std::optional<Result<Buffer>> first = registry.Copy(place);
  ASSERT_TRUE(*first);
  EXPECT_EQ(registry.Copy(place).error().code(), StatusCode::kResourceExhausted);
  first.reset();
  EXPECT_TRUE(registry.Copy(place));
}

TEST(SharedMemoryRegistry, AnObjectLargerThanAllMemoryIsNotCopied) {
  constexpr std::uint64_t kBytes = std::uint64_t{1} << 45;
  SharedObject object(kBytes);  // sparse
  SharedMemoryRegistry registry(kBudget);
  ASSERT_TRUE(registry.Register("r", object.Key(), 0, kBytes).ok());
  EXPECT_EQ(registry.Copy(*registry.Locate("r", 0, kBytes)).error().code(),
            StatusCode::kResourceExhausted);
}

TEST(SharedMemoryRegistry, RegionsLeaveFilesForOthers) {
  SharedObject object(8);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  few.rlim_cur = 64;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  SharedMemoryRegistry registry(kBudget);
  setrlimit(RLIMIT_NOFILE, &before);
  for (int i = 0; i < 16; ++i) {
    EXPECT_TRUE(registry.Register(std::to_string(i), object.Key(), 0, 8).ok());
  }
  const Status more = registry.Register("more", object.Key(), 0, 8);
  EXPECT_EQ(more.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(more.message(), HasSubstr("expected at most 16 regions"));
  registry.Unregister("3");
  EXPECT_TRUE(registry.Register("more", object.Key(), 0, 8).ok());
}

}  // namespace
}  // namespace duly
