// SPDX-License-Identifier: Apache-2.0
#include "server/access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/temp_folder_test_util.h"

namespace duly {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Of "alpha", "beta" and "".
constexpr std::string_view kAlpha =
    "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8";
constexpr std::string_view kBeta =
    "F44E64E75F3948E9F73F8DFA94721C4CE8CBB4F265C4790C702B2D41CFBF2753";
constexpr std::string_view kEmpty =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

std::string Entry(std::string_view name, std::string_view hash, std::string_view scopes) {
  std::string text = "  - {name: ";
  text.append(name).append(", sha256: ").append(hash).append(", scopes: ").append(scopes);
  return text + "}\n";
}

class AccessTest : public ::testing::Test {
 protected:
  Access Load(const std::string& text) {
    return Access::Load(folder_.Write("tokens.yaml", text), faults_);
  }
  std::vector<std::string> Faulty(const std::string& text) {
    faults_ = Faults();
    Load(text);
    std::vector<std::string> lines;
    for (const Fault& fault : faults_.all()) {
      lines.push_back(std::to_string(fault.line) + ":" + std::to_string(fault.column) + ": " +
                      fault.what);
    }
    return lines;
  }

  TempFolder folder_;
  Faults faults_;
};

TEST_F(AccessTest, WithoutTokensEverybodyMayDoEverything) {
  const Access access;
  EXPECT_TRUE(access.is_open());
  EXPECT_TRUE(access.Check(Scope::kControl, "").ok());
  EXPECT_TRUE(access.Check(Scope::kControl, "Bearer whatever").ok());
}

TEST_F(AccessTest, ATokenHasSoManyRequestsInFlight) {
  const Access access = Load("tokens:\n" + Entry("camera", kAlpha, "[infer], max_in_flight: 2") +
                             Entry("operator", kBeta, "[infer]"));
  ASSERT_TRUE(faults_.empty()) << faults_.ToString();
  const Access copy = access;
  Duration retry_after{0};
  const auto admit = [&](const Access& by, std::string_view token) {
    return by.Admit(Scope::kInfer, token, Access::Time(), retry_after);
  };
  const Result<Permit> first = admit(access, "Bearer alpha");
  std::optional<Result<Permit>> second = admit(copy, "Bearer alpha");
  ASSERT_TRUE(first && *second);
  const Result<Permit> third = admit(access, "Bearer alpha");
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code(), StatusCode::kResourceExhausted);
  EXPECT_GT(retry_after, Duration(0));
  EXPECT_TRUE(admit(access, "Bearer beta"));
  EXPECT_EQ(copy.Counts().at(0).in_flight, 2U);
  second.reset();
  EXPECT_TRUE(admit(access, "Bearer alpha"));
  ASSERT_EQ(access.Counts().size(), 1U);
  EXPECT_EQ(access.Counts()[0].name, "camera");
  EXPECT_EQ(access.Counts()[0].in_flight, 1U);
  EXPECT_EQ(access.Counts()[0].refused_in_flight, 1U);
  // Whoever lacks the scope takes nothing of them.
  EXPECT_EQ(access.Admit(Scope::kRead, "Bearer alpha", Access::Time(), retry_after).error().code(),
            StatusCode::kPermissionDenied);
}

TEST_F(AccessTest, ATokenSendsAtItsRate) {
  const Access access = Load("tokens:\n" + Entry("camera", kAlpha, "[infer], max_rate: 4/s"));
  ASSERT_TRUE(faults_.empty()) << faults_.ToString();
  const Access::Time start(std::chrono::hours(1));
  Duration retry_after{0};
  const auto admit = [&](std::chrono::milliseconds after) {
    return access.Admit(Scope::kInfer, "Bearer alpha", start + after, retry_after).has_value();
  };
  using std::chrono::milliseconds;
  // At once as many as in a second, then one each quarter of it.
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(admit(milliseconds(0)));
  EXPECT_FALSE(admit(milliseconds(50)));
  EXPECT_EQ(std::chrono::round<milliseconds>(retry_after), milliseconds(200));
  EXPECT_TRUE(admit(milliseconds(260)));
  EXPECT_FALSE(admit(milliseconds(270)));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(admit(milliseconds(60'000)));
  EXPECT_FALSE(admit(milliseconds(60'000)));
  EXPECT_EQ(access.Counts().at(0).refused_rate, 3U);
}

TEST_F(AccessTest, LimitsOfNothingAreFaults) {
  EXPECT_THAT(Faulty("tokens:\n" + Entry("a", kAlpha, "[infer], max_in_flight: 0")),
              ElementsAre(HasSubstr("max_in_flight")));
  EXPECT_THAT(Faulty("tokens:\n" + Entry("a", kAlpha, "[infer], max_rate: 0")),
              ElementsAre(HasSubstr("the rate is 0")));
}

TEST_F(AccessTest, ATokenOpensItsScopesAndNoOthers) {
  const Access access = Load("tokens:\n" + Entry("camera", kAlpha, "[infer]") +
                             Entry("operator", kBeta, "[read, control]"));
  ASSERT_TRUE(faults_.empty()) << faults_.ToString();
  EXPECT_FALSE(access.is_open());
  EXPECT_TRUE(access.Check(Scope::kInfer, "Bearer alpha").ok());
  EXPECT_TRUE(access.Check(Scope::kToken, "Bearer alpha").ok());
  EXPECT_EQ(access.Check(Scope::kControl, "Bearer alpha"),
            Status(StatusCode::kPermissionDenied, "the token 'camera' lacks the scope 'control'"));
  EXPECT_EQ(access.Check(Scope::kRead, "Bearer alpha").code(), StatusCode::kPermissionDenied);
  EXPECT_TRUE(access.Check(Scope::kRead, "Bearer beta").ok());
  EXPECT_TRUE(access.Check(Scope::kControl, "Bearer beta").ok());
  EXPECT_EQ(access.Check(Scope::kInfer, "Bearer beta").code(), StatusCode::kPermissionDenied);
}

TEST_F(AccessTest, OnlyHealthNeedsNoKnownToken) {
  const Access access = Load("tokens:\n" + Entry("camera", kAlpha, "[infer, read, control]"));
  for (const std::string_view authorization :
       {"", "Bearer", "Bearer ", "Bearer alph", "Bearer alphabet", "Bearer Alpha", "Bearer alpha ",
        "alpha", "Basic alpha", "Bearer  ", "Bearertalpha"}) {
    EXPECT_TRUE(access.Check(Scope::kNone, authorization).ok());
    for (const Scope scope : {Scope::kToken, Scope::kInfer, Scope::kRead, Scope::kControl}) {
      EXPECT_EQ(access.Check(scope, authorization).code(), StatusCode::kUnauthenticated)
          << authorization;
    }
  }
  EXPECT_TRUE(access.Check(Scope::kInfer, "bearer alpha").ok());
  EXPECT_TRUE(access.Check(Scope::kInfer, "BEARER  alpha").ok());
}

TEST_F(AccessTest, EveryFaultOfTheFileIsListedWithItsPlace) {
  EXPECT_THAT(Faulty("tokens:\n"
                     "  - {name: a, sha256: abc, scopes: [infer]}\n" +
                     Entry("a", kAlpha, "[infer, write]") + Entry("b", kEmpty, "[]") +
                     "  - {sha256: " + std::string(kAlpha) + ", scope: [infer]}\n"),
              ElementsAre(HasSubstr("2:23: this is not a SHA-256"),
                          HasSubstr("3:12: a second token 'a'"), HasSubstr("3:"),
                          HasSubstr("4:23: this is the SHA-256 of no token"), HasSubstr("4:"),
                          HasSubstr("5:"), HasSubstr("5:"), HasSubstr("5:"), HasSubstr("5:")));
  EXPECT_EQ(Faulty("tokens: []\n").size(), 1U);
  EXPECT_EQ(Faulty("token: []\n").size(), 2U);
  EXPECT_EQ(Faulty("").size(), 1U);
  EXPECT_EQ(Faulty("tokens:\n" + Entry("a", std::string(63, 'a') + "g", "[read]")).size(), 1U);
}

TEST(AccessHost, OnlyLoopbackAddressesAreOfThisMachine) {
  for (const std::string_view host : {"127.0.0.1", "127.9.8.7", "::1", "localhost"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const std::string_view host : {"0.0.0.0", "::", "", "10.0.0.1", "128.0.0.1", "fe80::1",
                                      "localhost.example", "127.0.0.1x"}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

}  // namespace
}  // namespace duly
