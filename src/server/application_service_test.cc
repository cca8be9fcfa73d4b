// SPDX-License-Identifier: Apache-2.0
#include "server/application_service.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/fake_node_test_util.h"

namespace duly {
namespace {

using ::testing::HasSubstr;

// "image" takes 10 ms on "cpu" and 20 ms on "gpu", "two" 5 ms on "cpu".
class Applications : public ::testing::Test {
 protected:
  Applications() {
    using std::chrono::milliseconds;
    node_.services = {{.model = "image", .device = "cpu", .mean = milliseconds(10)},
                      {.model = "two", .device = "cpu", .mean = milliseconds(5)},
                      {.model = "image", .device = "gpu", .mean = milliseconds(20)}};
  }
  // Without a thread: tests look themselves.
  ApplicationServiceOptions Options() const {
    return {.declared = declared_, .look_every = Duration(0)};
  }
  static std::string Body(std::string_view name, std::string_view model, double rate_per_s,
                          double slo_ms) {
    return fmt::format(R"({{"name":"{}","model":"{}","rate_per_s":{},"slo_ms":{}}})", name, model,
                       rate_per_s, slo_ms);
  }
  static const nlohmann::ordered_json& Of(const nlohmann::ordered_json& list,
                                          std::string_view name) {
    for (const auto& one : list["applications"]) {
      if (one["name"] == name) return one;
    }
    ADD_FAILURE() << "no " << name << " in " << list.dump();
    return list;
  }
  // A second in which answers came: on time within 20 to 50 ms, late ones within 200 to 500 ms.
  void Pass(std::uint64_t on_time, std::uint64_t late, std::uint64_t rejected = 0) {
    using std::chrono::milliseconds;
    ApplicationStats& stats = node_.stats.applications.back();
    stats.outcomes.at(static_cast<std::size_t>(Outcome::kOnTime)) += on_time;
    stats.outcomes.at(static_cast<std::size_t>(Outcome::kLate)) += late;
    stats.outcomes.at(static_cast<std::size_t>(Outcome::kRejected)) += rejected;
    stats.response_time.Observe(milliseconds(30), on_time);
    stats.response_time.Observe(milliseconds(300), late);
    node_.now += std::chrono::seconds(1);
    service_.Look();
  }

  FakeNode node_{TestModels()};
  const std::vector<ApplicationSpec> declared_{};
  ApplicationService service_{node_, Options()};
};

TEST_F(Applications, AreAcceptedWithWhatTheyWillSee) {
  const auto answer = service_.Admit(Body("shop", "image", 20, 100));
  ASSERT_TRUE(answer) << answer.error().ToString();
  ASSERT_TRUE(answer->accepted) << answer->json.dump();
  const auto& json = answer->json;
  EXPECT_EQ(json["accepted"], true);
  EXPECT_EQ(json["device"], "cpu");
  EXPECT_EQ(json["slo_of"], "p95");
  EXPECT_NEAR(json["utilization"].get<double>(), 0.2, 1e-9);
  // M/D/1.
  EXPECT_NEAR(json["predicted"]["mean_ms"].get<double>(), 10 + 10 * 0.2 / (2 * 0.8), 1e-6);
  EXPECT_EQ(json["predicted"]["promised_ms"], json["predicted"]["p95_ms"]);
  // Requests may name it at once.
  EXPECT_NE(node_.FindModel("image", -1)->FindApplication("shop"), kNoIndex);
  const auto list = service_.List();
  EXPECT_EQ(Of(list, "shop")["state"], "ok");
  EXPECT_EQ(Of(list, "shop")["declared"], false);
}

TEST_F(Applications, ARefusalNamesWhatBinds) {
  ASSERT_TRUE(service_.Admit(Body("tight", "two", 10, 12))->accepted);
  // On the gpu it would be too slow, on the cpu "tight" would wait for it.
  auto answer = service_.Admit(Body("shop", "image", 20, 19));
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->accepted);
  EXPECT_EQ(answer->json["constraint"], "latency");
  EXPECT_EQ(answer->json["application"], "tight");
  EXPECT_EQ(answer->json["bound_ms"], 12);
  EXPECT_GT(answer->json["value_ms"].get<double>(), 12);
  EXPECT_THAT(answer->json["error"].get<std::string>(), HasSubstr("'tight' would see"));
  EXPECT_EQ(node_.FindModel("image", -1)->FindApplication("shop"), kNoIndex);

  answer = service_.Admit(Body("much", "two", 1000, 500));
  EXPECT_EQ(answer->json["constraint"], "utilization");
  EXPECT_EQ(answer->json["bound"], 0.8);
  answer = service_.Admit(Body("copies", "copy", 1, 500));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), StatusCode::kNotFound);
}

TEST_F(Applications, NamesOfOthersAreRefused) {
  ASSERT_TRUE(service_.Admit(Body("a", "image", 1, 100))->accepted);
  for (const char* taken : {"a", "image", "copy"}) {
    const auto answer = service_.Admit(Body(taken, "two", 1, 100));
    ASSERT_TRUE(answer);
    EXPECT_FALSE(answer->accepted) << taken;
    EXPECT_EQ(answer->json["constraint"], "name") << taken;
  }
}

TEST_F(Applications, AWrongBodyIsToldTheField) {
  const auto fault = [&](const std::string& body) {
    const auto answer = service_.Admit(body);
    EXPECT_FALSE(answer) << body;
    if (answer) return std::string();
    EXPECT_EQ(answer.error().code(), StatusCode::kInvalidArgument) << body;
    return answer.error().message();
  };
  const auto with = [](std::string_view field) {
    return fmt::format(R"({{"name":"a","model":"image","rate_per_s":1,"slo_ms":100,{}}})", field);
  };
  EXPECT_THAT(fault("["), HasSubstr("not a JSON object"));
  EXPECT_THAT(fault(R"({"name":"a","model":"image","slo_ms":100})"), HasSubstr("'rate_per_s'"));
  EXPECT_THAT(fault(Body("a", "image", -1, 100)), HasSubstr("'rate_per_s'"));
  EXPECT_THAT(fault(Body("a", "image", 1, 0)), HasSubstr("'slo_ms'"));
  EXPECT_THAT(fault(Body("", "image", 1, 100)), HasSubstr("'name'"));
  EXPECT_THAT(fault(R"({"name":"a","model":7,"rate_per_s":1,"slo_ms":100})"), HasSubstr("'model'"));
  EXPECT_THAT(fault(with(R"("percentile":95)")), HasSubstr("'percentile'"));
  EXPECT_THAT(fault(with(R"("on_miss":"cry")")), HasSubstr("'on_miss'"));
  EXPECT_THAT(fault(with(R"("weight":0)")), HasSubstr("'weight'"));
  EXPECT_THAT(fault(with(R"("memory_bytes":-1)")), HasSubstr("'memory_bytes'"));
  EXPECT_THAT(fault(with(R"("colour":"red")")), HasSubstr("'colour'"));
  EXPECT_TRUE(service_.List()["applications"].empty());
}

TEST_F(Applications, WhoLeavesMakesRoom) {
  ASSERT_TRUE(service_.Admit(Body("a", "two", 150, 100))->accepted);
  EXPECT_FALSE(service_.Admit(Body("b", "two", 150, 100))->accepted);
  EXPECT_TRUE(service_.Remove("a").ok());
  EXPECT_EQ(service_.Remove("a").code(), StatusCode::kNotFound);
  EXPECT_EQ(node_.FindModel("two", -1)->FindApplication("a"), kNoIndex);
  EXPECT_TRUE(service_.Admit(Body("b", "two", 150, 100))->accepted);
}

TEST_F(Applications, DeclaredOnesWithARateCountAsAccepted) {
  std::vector<ApplicationSpec> declared(2);
  declared[0].name = "static";
  declared[0].model = "two";
  declared[0].slo = std::chrono::milliseconds(100);
  declared[0].rate_per_s = 100;
  declared[1].name = "unknown";
  declared[1].model = "two";
  ApplicationService service(node_, {.declared = declared, .look_every = Duration(0)});
  const auto list = service.List();
  ASSERT_EQ(list["applications"].size(), 1U);
  EXPECT_EQ(Of(list, "static")["declared"], true);
  EXPECT_FALSE(service.Admit(Body("a", "two", 100, 100))->accepted);
  EXPECT_TRUE(service.Admit(Body("b", "two", 50, 100))->accepted);
  EXPECT_EQ(service.Remove("static").code(), StatusCode::kInvalidArgument);
}

TEST_F(Applications, AHotOneIsProposedAnotherDeviceOrAnotherNode) {
  ASSERT_TRUE(service_.Admit(Body("shop", "image", 20, 100))->accepted);
  EXPECT_EQ(service_.Heats().at(0).times_hot, 0U);
  for (int i = 0; i < 60; ++i) Pass(19, 1);
  EXPECT_FALSE(service_.Heats().at(0).is_hot);
  for (int i = 0; i < 40; ++i) Pass(14, 6);
  EXPECT_TRUE(service_.Heats().at(0).is_hot);
  EXPECT_EQ(service_.Heats().at(0).times_hot, 1U);
  auto shop = Of(service_.List(), "shop");
  EXPECT_EQ(shop["state"], "hot");
  EXPECT_EQ(shop["proposal"], "gpu");
  EXPECT_NEAR(shop["measured"]["rate_per_s"].get<double>(), 20, 2.1);
  EXPECT_NEAR(shop["measured"]["late_share"].get<double>(), 0.3, 1e-9);
  // In the bucket from 200 to 500 ms.
  EXPECT_NEAR(shop["measured"]["promised_ms"].get<double>(), 450, 1);

  // 60 a second of 20 ms are too much for the gpu, too.
  for (int i = 0; i < 30; ++i) Pass(30, 0, 30);
  shop = Of(service_.List(), "shop");
  EXPECT_EQ(shop["proposal"], "another node");
  EXPECT_NEAR(shop["measured"]["late_share"].get<double>(), 0.5, 1e-9);
  EXPECT_EQ(service_.Heats().at(0).times_hot, 1U);

  for (int i = 0; i < 90; ++i) Pass(20, 0);
  shop = Of(service_.List(), "shop");
  EXPECT_EQ(shop["state"], "ok");
  EXPECT_FALSE(shop.contains("proposal"));
}

TEST_F(Applications, AnAverageIsPromisedAsOne) {
  const std::string body =
      R"({"name":"a","model":"image","rate_per_s":60,"slo_ms":25,"percentile":"mean"})";
  const auto answer = service_.Admit(body);
  ASSERT_TRUE(answer->accepted);
  EXPECT_EQ(answer->json["slo_of"], "mean");
  EXPECT_GT(answer->json["predicted"]["p95_ms"].get<double>(), 25);
  // 300 ms once in ten answers: 57 ms on the mean, however few are late.
  for (int i = 0; i < 40; ++i) Pass(54, 6);
  EXPECT_EQ(Of(service_.List(), "a")["state"], "hot");
}

}  // namespace
}  // namespace duly
