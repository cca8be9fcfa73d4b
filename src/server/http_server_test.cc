// SPDX-License-Identifier: Apache-2.0
#include "server/http_server.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "base/soon_test_util.h"
#include "base/temp_folder_test_util.h"
#include "server/fake_node_test_util.h"
#include "server/http_client_test_util.h"
#include "server/shared_object_test_util.h"
#include "server/zlib_test_util.h"

namespace duly {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr std::string_view kCopyInfer = "/v2/models/copy/infer";
constexpr std::string_view kSmall =
    R"({"inputs":[{"name":"in0","shape":[2],"datatype":"FP32","data":[1,2]}]})";

std::string BinaryHead(std::string_view shape, std::size_t bytes) {
  return fmt::format(
      R"({{"inputs":[{{"name":"in0","shape":{},"datatype":"FP32","parameters":{{"binary_data_size":{}}}}}],"parameters":{{"binary_data_output":true}}}})",
      shape, bytes);
}

std::string BinaryRequest(std::string_view target, std::string_view head, std::string_view data) {
  return PostRequest(target, std::string(head) + std::string(data),
                     fmt::format("Inference-Header-Content-Length: {}\r\n", head.size()));
}

HttpOptions TestOptions() {
  HttpOptions options;
  options.port = 0;
  options.metrics_port = 0;
  options.threads = 2;
  return options;
}

class HttpServing : public ::testing::Test {
 protected:
  void Serve(HttpOptions options = TestOptions()) {
    auto server = HttpServer::Start(std::move(options), service_);
    ASSERT_TRUE(server) << server.error().ToString();
    server_ = std::move(*server);
    service_.SetReady(true);
  }
  TestReply Call(std::string_view bytes) { return TestClient(server_->port()).Call(bytes); }
  json Get(std::string_view target) {
    const TestReply reply = Call(GetRequest(target));
    EXPECT_EQ(reply.code, 200) << target << ' ' << reply.body;
    return json::parse(reply.body);
  }

  FakeNode node_{TestModels()};
  ModelService service_{node_};
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServing, HealthSpeaksJsonAndFollowsTheServersLife) {
  auto server = HttpServer::Start(TestOptions(), service_);
  ASSERT_TRUE(server);
  TestClient client((*server)->port());
  EXPECT_EQ(client.Call(GetRequest("/v2/health/live")).body, R"({"live":true})");
  TestReply ready = client.Call(GetRequest("/v2/health/ready"));
  EXPECT_EQ(ready.code, 400);
  EXPECT_EQ(ready.body, R"({"ready":false})");
  service_.SetReady(true);
  ready = client.Call(GetRequest("/v2/health/ready"));
  EXPECT_EQ(ready.code, 200);
  EXPECT_EQ(ready.body, R"({"ready":true})");
  EXPECT_FALSE(ready.headers.contains("connection"));
  service_.SetReady(false);
  (*server)->Leave();
  ready = client.Call(GetRequest("/v2/health/ready"));
  EXPECT_EQ(ready.code, 400);
  EXPECT_EQ(ready.headers["connection"], "close");
  EXPECT_TRUE(client.ReadsEnd());
}

TEST_F(HttpServing, AnAddressThatIsTakenIsAFailedStart) {
  Serve();
  HttpOptions options = TestOptions();
  options.port = server_->port();
  auto second = HttpServer::Start(options, service_);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message(), HasSubstr("cannot listen on 127.0.0.1:"));
  options.host = "no such host";
  EXPECT_EQ(HttpServer::Start(options, service_).error().code(), StatusCode::kInvalidArgument);
}

// Serves with two tokens: "alpha" may infer, "beta" may read and control.
class HttpServingTokens : public HttpServing {
 protected:
  void SetUp() override {
    const TempFolder folder;
    Faults faults;
    HttpOptions options = TestOptions();
    options.access = Access::Load(
        folder.Write(
            "tokens.yaml",
            "tokens:\n"
            "  - name: camera\n"
            "    sha256: 8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8\n"
            "    scopes: [infer]\n"
            "  - name: operator\n"
            "    sha256: f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753\n"
            "    scopes: [read, control]\n"),
        faults);
    ASSERT_TRUE(faults.empty()) << faults.ToString();
    Serve(std::move(options));
  }
  int Code(std::string_view method, std::string_view target, std::string_view token) {
    const std::string authorization =
        token.empty() ? "" : fmt::format("Authorization: Bearer {}\r\n", token);
    return Call(fmt::format("{} {} HTTP/1.1\r\nHost: h\r\n{}Content-Length: 0\r\n\r\n", method,
                            target, authorization))
        .code;
  }
};

TEST_F(HttpServingTokens, EveryRouteButHealthNeedsItsScope) {
  EXPECT_EQ(Code("GET", "/v2/health/live", ""), 200);
  EXPECT_EQ(Code("GET", "/v2/health/ready", "gamma"), 200);
  for (const std::string_view target :
       {"/v2", "/v2/models", "/v2/models/copy", "/v2/models/copy/ready", "/v2/models/copy/config",
        "/v2/models/copy/stats", "/v2/models/stats", "/metrics"}) {
    EXPECT_EQ(Code("GET", target, ""), 401) << target;
    EXPECT_EQ(Code("GET", target, "gamma"), 401) << target;
    EXPECT_EQ(Code("GET", target, "alpha"), 403) << target;
    EXPECT_EQ(Code("GET", target, "beta"), 200) << target;
  }
  EXPECT_EQ(Code("POST", "/v2/repository/index", "alpha"), 403);
  EXPECT_EQ(Code("POST", "/v2/repository/index", "beta"), 200);
  for (const std::string_view target :
       {"/v2/repository/models/copy/load", "/v2/repository/models/copy/unload"}) {
    EXPECT_EQ(Code("POST", target, ""), 401) << target;
    EXPECT_EQ(Code("POST", target, "alpha"), 403) << target;
    const int allowed = Code("POST", target, "beta");
    EXPECT_TRUE(allowed != 401 && allowed != 403) << target << ' ' << allowed;
  }
  EXPECT_EQ(Code("GET", "/v2/systemsharedmemory/status", "beta"), 403);
  // Allowed for this client, though not on this server.
  EXPECT_EQ(Code("GET", "/v2/cudasharedmemory/status", "alpha"), 501);
  EXPECT_EQ(Code("GET", "/nothing", ""), 401);
  EXPECT_EQ(Code("GET", "/nothing", "alpha"), 404);
  EXPECT_EQ(Code("DELETE", "/v2", ""), 401);
  EXPECT_EQ(Code("DELETE", "/v2", "alpha"), 405);
}

TEST_F(HttpServingTokens, TheMetricsPortNeedsThemToo) {
  TestClient client(*server_->metrics_port());
  EXPECT_EQ(client.Call(GetRequest("/metrics")).code, 401);
  const TestReply reply =
      client.Call("GET /metrics HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer beta\r\n\r\n");
  EXPECT_EQ(reply.code, 200);
}

TEST_F(HttpServingTokens, ARefusalSaysWhatIsMissing) {
  const TestReply unknown = Call(GetRequest("/v2"));
  EXPECT_EQ(unknown.headers.at("www-authenticate"), "Bearer");
  EXPECT_THAT(unknown.body, HasSubstr("Authorization: Bearer TOKEN"));
  const TestReply lacking =
      Call("GET /v2 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer alpha\r\n\r\n");
  EXPECT_EQ(lacking.code, 403);
  EXPECT_FALSE(lacking.headers.contains("www-authenticate"));
  EXPECT_THAT(lacking.body, HasSubstr("the token 'camera' lacks the scope 'read'"));
  const TestReply twice = Call(
      "GET /v2 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer beta\r\n"
      "Authorization: Bearer beta\r\n\r\n");
  EXPECT_EQ(twice.code, 400);
}

TEST_F(HttpServingTokens, NoBodyIsReadForThoseWhoMayNotSendIt) {
  for (const std::string_view target : {kCopyInfer, std::string_view("/v2/health/live")}) {
    for (const std::string_view length :
         {"Content-Length: 1000000", "Transfer-Encoding: chunked"}) {
      TestClient client(server_->port());
      // The answer comes although the body never does.
      const TestReply reply = client.Call(fmt::format(
          "POST {} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n{}\r\n\r\n", target, length));
      EXPECT_EQ(reply.code, 401) << target << ' ' << length;
      EXPECT_EQ(reply.headers.at("connection"), "close");
    }
  }
  EXPECT_EQ(Call(PostRequest(kCopyInfer, kSmall)).code, 401);
  EXPECT_EQ(Call(PostRequest(kCopyInfer, kSmall, "Authorization: Bearer beta\r\n")).code, 403);
  EXPECT_EQ(Call(PostRequest(kCopyInfer, kSmall, "Authorization: Bearer alpha\r\n")).code, 200);
}

TEST_F(HttpServingTokens, EachRequestOfAConnectionIsJudgedByItself) {
  TestClient client(server_->port());
  EXPECT_EQ(client.Call(PostRequest(kCopyInfer, kSmall, "Authorization: Bearer alpha\r\n")).code,
            200);
  EXPECT_EQ(client.Call(GetRequest("/v2")).code, 401);
  EXPECT_EQ(client.Call(GetRequest("/v2/health/live")).code, 200);
  EXPECT_EQ(client.Call(PostRequest(kCopyInfer, kSmall)).code, 401);
  EXPECT_TRUE(client.ReadsEnd());
}

TEST_F(HttpServing, MetadataConfigurationAndIndexDescribeTheModels) {
  Serve();
  const json server = Get("/v2");
  EXPECT_EQ(server["name"], "duly");
  EXPECT_THAT(server["extensions"].get<std::vector<std::string>>(),
              ::testing::IsSupersetOf({"statistics", "binary_tensor_data"}));
  EXPECT_EQ(Get("/v2/models/image"), json::parse(R"({"name":"image","versions":["1"],
      "platform":"onnxruntime_onnx","inputs":[{"name":"in0","datatype":"FP32","shape":[-1,3,2,2]}],
      "outputs":[{"name":"out0","datatype":"FP32","shape":[-1,3,2,2]}]})"));
  const json config = Get("/v2/models/image/versions/1/config");
  EXPECT_EQ(config["max_batch_size"], 8);
  EXPECT_EQ(config["input"][0]["dims"], json::parse("[3,2,2]"));
  EXPECT_EQ(config["input"][0]["data_type"], "TYPE_FP32");
  EXPECT_EQ(config["input"][0]["optional"], false);
  EXPECT_EQ(config["output"][0]["name"], "out0");
  EXPECT_EQ(config["model_transaction_policy"]["decoupled"], false);
  EXPECT_TRUE(config.contains("dynamic_batching"));
  EXPECT_EQ(Get("/v2/models/copy_BYTES/config")["input"][0]["data_type"], "TYPE_STRING");
  EXPECT_FALSE(Get("/v2/models/copy/config").contains("dynamic_batching"));
  EXPECT_EQ(Get("/v2/models/copy/ready"), json::parse(R"({"name":"copy","ready":true})"));
  EXPECT_EQ(Get("/v2/models")["models"].size(), TestModels().size());
  const json index = json::parse(Call(PostRequest("/v2/repository/index", "")).body);
  EXPECT_EQ(index.size(), TestModels().size());
  EXPECT_EQ(index[0], json::parse(R"({"name":"copy","version":"1","state":"READY"})"));
}

TEST_F(HttpServing, StatisticsHaveEveryMemberThatClientsInsistOn) {
  ModelStats& stats = node_.stats.models[0];
  stats.inference_count = 12;
  stats.execution_count = 3;
  stats.success.Observe(std::chrono::microseconds(1400), 5);
  stats.queue.Observe(std::chrono::microseconds(400), 5);
  stats.batches[4].infer = {3, milliseconds(1)};
  stats.last_inference = node_.Now() - std::chrono::seconds(50);
  Serve();
  const json all = Get("/v2/models/stats")["model_stats"];
  EXPECT_EQ(all.size(), TestModels().size());
  const json one = Get("/v2/models/copy/stats")["model_stats"];
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0]["name"], "copy");
  EXPECT_EQ(one[0]["version"], "1");
  EXPECT_EQ(one[0]["inference_count"], 12);
  EXPECT_EQ(one[0]["execution_count"], 3);
  const std::int64_t now_ms =
      std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  EXPECT_NEAR(one[0]["last_inference"].get<double>(), static_cast<double>(now_ms - 50000), 5000);
  EXPECT_EQ(all[1]["last_inference"], 0);
  for (const char* name : {"success", "fail", "queue", "compute_input", "compute_infer",
                           "compute_output", "cache_hit", "cache_miss"}) {
    EXPECT_TRUE(one[0]["inference_stats"][name]["count"].is_number_unsigned()) << name;
    EXPECT_TRUE(one[0]["inference_stats"][name]["ns"].is_number_integer()) << name;
  }
  EXPECT_EQ(one[0]["inference_stats"]["success"], json::parse(R"({"count":5,"ns":7000000})"));
  EXPECT_EQ(one[0]["batch_stats"][0]["batch_size"], 4);
  EXPECT_EQ(one[0]["batch_stats"][0]["compute_infer"]["ns"], 1000000);
}

TEST_F(HttpServing, RoutesMatchWholePathsAndNamesAreDecoded) {
  std::vector<ModelSpec> models = TestModels();
  models.push_back(EchoModel("a b/ü%", 0, {{DataType::kFp32, {-1}}}));
  FakeNode node(models);
  ModelService service(node);
  auto server = HttpServer::Start(TestOptions(), service);
  ASSERT_TRUE(server);
  TestClient client((*server)->port());
  const auto code = [&](std::string_view target) { return client.Call(GetRequest(target)).code; };
  EXPECT_EQ(code("/v2/models/a%20b%2F%C3%BC%25/ready"), 200);
  EXPECT_EQ(code("/v2/models/copy/ready?x=1"), 200);
  EXPECT_EQ(code("http://somewhere:80/v2/models/copy/ready"), 200);
  EXPECT_EQ(code("/v2/models/copy/versions/1/ready"), 200);
  for (const std::string_view target :
       {"/", "/v2/", "/v2/model", "/v2/models/", "/v2/models//ready", "/v2/models/copy/",
        "/v2/models/copy/versions/ready", "/v2/models/copy/versions//ready",
        "/v2/models/copy/versions/x/ready", "/v2/models/copy/versions/-1/ready",
        "/v2/models/copy%2/ready", "/v2/models/copy%zz/ready", "/v2/models/copy/ready/x", "*",
        "/v2/health", "/v2/repository/models//load"}) {
    const TestReply reply = client.Call(GetRequest(target));
    EXPECT_EQ(reply.code, 404) << target;
    EXPECT_THAT(json::parse(reply.body)["error"].get<std::string>(), HasSubstr("no such route"));
  }
  const auto error = [&](std::string_view target) {
    const TestReply reply = client.Call(GetRequest(target));
    EXPECT_EQ(reply.code, 404) << target;
    return json::parse(reply.body)["error"].get<std::string>();
  };
  EXPECT_EQ(error("/v2/models/nope"), "unknown model 'nope'");
  EXPECT_EQ(error("/v2/models/%FF/config"), "unknown model '\xEF\xBF\xBD'");
  EXPECT_EQ(error("/v2/models/copy/versions/2"), "model 'copy' has no version 2");
  EXPECT_EQ(error("/v2/models/copy/versions/99999999999999999999/stats"),
            "model 'copy' has no version 99999999999999999999");
}

TEST_F(HttpServing, WrongMethodsAreToldTheRightOnes) {
  Serve();
  TestClient client(server_->port());
  TestReply reply = client.Call(GetRequest(kCopyInfer));
  EXPECT_EQ(reply.code, 405);
  EXPECT_EQ(reply.headers["allow"], "POST");
  reply = client.Call(PostRequest("/v2/health/live", "{}"));
  EXPECT_EQ(reply.code, 405);
  EXPECT_EQ(reply.headers["allow"], "GET, HEAD");
  reply = client.Call("DELETE /v2/models/copy HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(reply.code, 405);
  reply = client.Call("BREW /v2/models/copy HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(reply.code, 405);
  EXPECT_EQ(client.Call("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").code, 404);
}

TEST_F(HttpServing, PartsOfTheProtocolThatAreNotOfferedSaySo) {
  Serve();
  TestClient client(server_->port());
  for (const std::string_view target :
       {"/v2/trace/setting", "/v2/models/copy/trace/setting", "/v2/repository/models/copy/load",
        "/v2/repository/models/copy/unload", "/v2/repository/other/index"}) {
    const TestReply reply = client.Call(PostRequest(target, "{}"));
    EXPECT_EQ(reply.code, 501) << target;
    EXPECT_TRUE(json::parse(reply.body).contains("error")) << target;
  }
}

TEST_F(HttpServing, SharedMemoryIsRegisteredListedAndUnregistered) {
  const SharedObject object(4096);
  SharedMemoryRegistry registry(1 << 20);
  ModelService service(node_, &registry);
  auto server = HttpServer::Start(TestOptions(), service);
  ASSERT_TRUE(server) << server.error().ToString();
  TestClient client((*server)->port());
  const std::string system = "/v2/systemsharedmemory";
  const auto get = [&](const std::string& target) {
    return json::parse(client.Call(GetRequest(target)).body);
  };
  EXPECT_THAT(get("/v2")["extensions"], ::testing::Contains("system_shared_memory"));
  EXPECT_EQ(get(system + "/status"), json::array());
  const std::string body =
      fmt::format(R"({{"key":"{}","offset":1024,"byte_size":64}})", object.Key());
  TestReply reply = client.Call(PostRequest(system + "/region/a%20b/register", body));
  EXPECT_EQ(reply.code, 200);
  EXPECT_EQ(reply.body, "");
  EXPECT_EQ(client
                .Call(PostRequest(system + "/region/a/register",
                                  fmt::format(R"({{"key":"{}","byte_size":8}})", object.name())))
                .code,
            200);
  const json listed = {
      {{"name", "a"}, {"key", object.name()}, {"offset", 0}, {"byte_size", 8}},
      {{"name", "a b"}, {"key", object.Key()}, {"offset", 1024}, {"byte_size", 64}}};
  EXPECT_EQ(get(system + "/status"), listed);
  EXPECT_EQ(get(system + "/region/a%20b/status"), json::array({listed[1]}));
  EXPECT_EQ(client.Call(GetRequest(system + "/region/x/status")).code, 404);
  reply = client.Call(PostRequest(system + "/region/a/register", body));
  EXPECT_EQ(reply.code, 400);
  EXPECT_THAT(reply.body, HasSubstr("'a' is registered already"));

  for (const std::string_view bad :
       {"", "[]", "{", R"({"key":"x"})", R"({"key":5,"byte_size":8})",
        R"({"key":"x","byte_size":-8})", R"({"key":"x","byte_size":8,"offset":"0"})",
        R"({"key":"duly-test-absent","byte_size":8})", R"({"key":"../x","byte_size":8})"}) {
    reply = client.Call(PostRequest(system + "/region/bad/register", bad));
    EXPECT_EQ(reply.code, 400) << bad;
    EXPECT_TRUE(json::parse(reply.body).contains("error")) << bad;
  }
  EXPECT_EQ(client.Call(PostRequest(system + "/region/bad/register", std::string(70000, '['))).code,
            400);

  EXPECT_EQ(client.Call(PostRequest(system + "/region/x/unregister", "")).code, 200);
  EXPECT_EQ(client.Call(PostRequest(system + "/region/a%20b/unregister", "{}")).code, 200);
  EXPECT_EQ(get(system + "/status"), json::array({listed[0]}));
  EXPECT_EQ(client.Call(PostRequest(system + "/unregister", "")).code, 200);
  EXPECT_EQ(get(system + "/status"), json::array());

  const std::string cuda = "/v2/cudasharedmemory";
  EXPECT_EQ(get(cuda + "/status"), json::array());
  EXPECT_EQ(client.Call(PostRequest(cuda + "/unregister", "")).code, 200);
  EXPECT_EQ(client.Call(PostRequest(cuda + "/region/r/unregister", "")).code, 200);
  reply = client.Call(PostRequest(cuda + "/region/r/register", "{}"));
  EXPECT_EQ(reply.code, 501);
  EXPECT_THAT(reply.body, HasSubstr("takes no CUDA memory"));
}

TEST_F(HttpServing, GenerateTakesAndGivesTensorsAsMembers) {
  Serve();
  TestClient client(server_->port());
  const TestReply one = client.Call(
      PostRequest("/v2/models/copy_BYTES/generate",
                  R"({"in0": "hi", "id": "4", "parameters": {"binary_data_output": true}})"));
  EXPECT_EQ(one.code, 200);
  EXPECT_EQ(json::parse(one.body),
            json::parse(R"({"id":"4","model_name":"copy_BYTES","model_version":"1","out0":"hi"})"));
  const TestReply event = client.Call(PostRequest("/v2/models/two/versions/1/generate_stream",
                                                  R"({"in0": [0.5, 1], "in1": [2, 3]})"));
  EXPECT_EQ(event.code, 200);
  EXPECT_EQ(event.body,
            "data: {\"model_name\":\"two\",\"model_version\":\"1\",\"out0\":[0.5,1],"
            "\"out1\":[2,3]}\n\n");
  for (const auto& [body, said] :
       {std::pair(R"({"in0": "1"})", "in0"),
        std::pair(R"({"in0": [1, 2, 3], "in1": [1]})", "3 values"),
        std::pair(R"({"in1": [2, 3]})", "'in0' of model 'two' is missing"),
        std::pair("[]", "object")}) {
    const TestReply reply = client.Call(PostRequest("/v2/models/two/generate", body));
    EXPECT_EQ(reply.code, 400) << body;
    EXPECT_THAT(reply.body, HasSubstr(said));
  }
  EXPECT_EQ(client.Call(PostRequest("/v2/models/nope/generate_stream", "{}")).code, 404);
}

TEST_F(HttpServing, SharedMemoryThatIsNotAllowedIsNotOffered) {
  Serve();
  EXPECT_THAT(Get("/v2")["extensions"],
              ::testing::Not(::testing::Contains("system_shared_memory")));
  TestClient client(server_->port());
  for (const std::string kind : {"/v2/systemsharedmemory", "/v2/cudasharedmemory"}) {
    for (const std::string& request :
         {GetRequest(kind + "/status"), GetRequest(kind + "/region/r/status"),
          PostRequest(kind + "/unregister", ""), PostRequest(kind + "/region/r/unregister", ""),
          PostRequest(kind + "/region/r/register", "{}")}) {
      const TestReply reply = client.Call(request);
      EXPECT_EQ(reply.code, 501) << request;
      EXPECT_THAT(reply.body, HasSubstr("shared memory is not allowed on this server"));
    }
  }
}

TEST_F(HttpServing, HeadHasTheHeaderOfGetAndNoBody) {
  Serve();
  TestClient client(server_->port());
  const TestReply get = client.Call(GetRequest("/v2/models/copy"));
  client.Send("HEAD /v2/models/copy HTTP/1.1\r\nHost: x\r\n\r\n");
  const TestReply head = client.Read(TestClient::Body::kAbsent);
  EXPECT_EQ(head.code, 200);
  EXPECT_EQ(head.headers, get.headers);
  // The next answer is where it should be.
  EXPECT_EQ(client.Call(GetRequest("/v2/health/live")).body, R"({"live":true})");
}

TEST_F(HttpServing, JsonInferenceRoundTrips) {
  Serve();
  TestClient client(server_->port());
  for (int i = 0; i < 3; ++i) {
    const TestReply reply = client.Call(PostRequest(kCopyInfer, kSmall));
    EXPECT_EQ(reply.code, 200);
    EXPECT_EQ(reply.headers.at("content-type"), "application/json");
    EXPECT_EQ(json::parse(reply.body), json::parse(R"({"model_name":"copy","model_version":"1",
        "outputs":[{"name":"out0","datatype":"FP32","shape":[2],"data":[1.0,2.0]}]})"));
  }
}

TEST_F(HttpServing, LargeBinaryTensorsArriveWhereTheyWereReadAndLeaveFromThere) {
  const std::byte* seen = nullptr;
  bool contiguous = false;
  std::string data(std::size_t{3} * 224 * 224 * 4, '\0');
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31);
  node_.AnswerWith([&](const InferRequest& request) {
    const Tensor& input = request.inputs[0];
    seen = input.data.data().data();
    contiguous = std::memcmp(seen, data.data(), data.size()) == 0;
    InferResponse response = FakeNode::Echo(request);
    EXPECT_EQ(response.outputs[0].data.data().data(), seen);
    return response;
  });
  Serve();
  TestClient client(server_->port());
  // Whatever the length of the JSON part, the tensor behind it is aligned and so stays in place: a
  // copy made for alignment would not start at a multiple of 64.
  for (int pad = 0; pad < 4; ++pad) {
    const std::string head =
        BinaryHead("[1,3,224,224]", data.size()) + std::string(static_cast<std::size_t>(pad), ' ');
    const TestReply reply = client.Call(BinaryRequest("/v2/models/large/infer", head, data));
    ASSERT_EQ(reply.code, 200) << reply.body;
    EXPECT_TRUE(contiguous);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(seen) % 64, 0U);
    EXPECT_EQ(reply.headers.at("content-type"), "application/octet-stream");
    const std::size_t json_size = std::stoul(reply.headers.at("inference-header-content-length"));
    EXPECT_EQ(json::parse(reply.body.substr(0, json_size))["outputs"][0]["parameters"],
              json::parse(fmt::format(R"({{"binary_data_size":{}}})", data.size())));
    EXPECT_EQ(reply.body.substr(json_size), data);
  }
}

TEST_F(HttpServing, LargeJsonTensorsGoThroughTheParseThreadAndBack) {
  Serve();
  TestClient client(server_->port());
  std::string numbers;
  for (int i = 0; i < 3 * 224 * 224; ++i) numbers += fmt::format("{}{}", i ? "," : "", i * 0.25);
  const std::string body = fmt::format(
      R"({{"inputs":[{{"name":"in0","shape":[1,3,224,224],"datatype":"FP32","data":[{}]}}]}})",
      numbers);
  const TestReply reply = client.Call(PostRequest("/v2/models/large/infer", body));
  ASSERT_EQ(reply.code, 200) << reply.body.substr(0, 300);
  EXPECT_EQ(json::parse(reply.body)["outputs"][0]["data"], json::parse("[" + numbers + "]"));
  EXPECT_EQ(
      client.Call(PostRequest("/v2/models/large/infer", body.substr(0, body.size() - 2))).code,
      400);
  EXPECT_EQ(client.Call(PostRequest(kCopyInfer, kSmall)).code, 200);
}

TEST_F(HttpServing, RawBinaryRequestsAreAnsweredInBinary) {
  Serve();
  const TestReply reply = Call(PostRequest("/v2/models/image/infer", std::string(48, '\1'),
                                           "Inference-Header-Content-Length: 0\r\n"));
  ASSERT_EQ(reply.code, 200) << reply.body;
  const std::size_t json_size = std::stoul(reply.headers.at("inference-header-content-length"));
  EXPECT_EQ(reply.body.substr(json_size), std::string(48, '\1'));
}

TEST_F(HttpServing, PipelinedRequestsAreAnsweredInOrder) {
  Serve();
  TestClient client(server_->port());
  std::string all;
  for (int i = 0; i < 40; ++i) {
    all += PostRequest(
        kCopyInfer,
        fmt::format(
            R"({{"id":"{}","inputs":[{{"name":"in0","shape":[1],"datatype":"FP32","data":[1]}}]}})",
            i));
    all += GetRequest("/v2/health/live");
    all += PostRequest("/v2/models/nope/infer", "{}");
  }
  // In one segment, and cut at odd places.
  for (const std::size_t piece : {all.size(), std::size_t{997}}) {
    for (std::size_t at = 0; at < all.size(); at += piece) client.Send(all.substr(at, piece));
    for (int i = 0; i < 40; ++i) {
      TestReply reply = client.Read();
      ASSERT_EQ(reply.code, 200);
      EXPECT_EQ(json::parse(reply.body)["id"], std::to_string(i));
      EXPECT_EQ(client.Read().body, R"({"live":true})");
      EXPECT_EQ(client.Read().code, 404);
    }
  }
}

TEST_F(HttpServing, PipelinedRequestsWaitForSlowOnesBeforeThem) {
  node_.HoldRequests();
  Serve();
  TestClient client(server_->port());
  client.Send(PostRequest(kCopyInfer, kSmall) + GetRequest("/v2/health/live") +
              PostRequest(kCopyInfer, kSmall));
  ASSERT_TRUE(Soon([&] { return node_.held() == 1; }));
  EXPECT_TRUE(node_.ReleaseOne());  // on this thread: the answer is handed over to the connection's
  EXPECT_EQ(client.Read().code, 200);
  EXPECT_EQ(client.Read().body, R"({"live":true})");
  ASSERT_TRUE(Soon([&] { return node_.held() == 1; }));
  EXPECT_TRUE(node_.ReleaseOne());
  EXPECT_EQ(client.Read().code, 200);
}

TEST_F(HttpServing, ChunkedBodiesMayBeCutAnywhere) {
  Serve();
  std::string chunks;
  for (std::size_t at = 0, n = 1; at < kSmall.size(); at += n, n = n % 7 + 1) {
    const std::string_view piece = kSmall.substr(at, n);
    chunks += fmt::format("{:x};name=\"value\"\r\n{}\r\n", piece.size(), piece);
  }
  chunks += "0\r\nTrailer: Content-Length: 5\r\n\r\n";
  const std::string request = fmt::format(
      "POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{}", kCopyInfer, chunks);
  TestClient client(server_->port());
  for (std::size_t cut = 1; cut < request.size(); ++cut) {
    client.Send(request.substr(0, cut));
    client.Send(request.substr(cut));
    const TestReply reply = client.Read();
    ASSERT_EQ(reply.code, 200) << cut << ' ' << reply.body;
  }
  // Byte by byte, and two requests in one segment.
  for (const char byte : request) client.Send(std::string_view(&byte, 1));
  EXPECT_EQ(client.Read().code, 200);
  client.Send(request + request);
  EXPECT_EQ(client.Read().code, 200);
  EXPECT_EQ(client.Read().code, 200);
}

TEST_F(HttpServing, ChunkedBinaryBodiesKeepTheirTensorsAligned) {
  const std::byte* seen = nullptr;
  node_.AnswerWith([&](const InferRequest& request) {
    seen = request.inputs[0].data.data().data();
    return FakeNode::Echo(request);
  });
  Serve();
  const std::string data(std::size_t{3} * 224 * 224 * 4, 'x');
  const std::string head = BinaryHead("[1,3,224,224]", data.size());
  const std::string body = head + data;
  std::string request = fmt::format(
      "POST /v2/models/large/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
      "Inference-Header-Content-Length: {}\r\n\r\n",
      head.size());
  for (std::size_t at = 0; at < body.size(); at += 50000) {
    const std::string piece = body.substr(at, 50000);
    request += fmt::format("{:X}\r\n{}\r\n", piece.size(), piece);
  }
  const TestReply reply = Call(request + "0\r\n\r\n");
  ASSERT_EQ(reply.code, 200) << reply.body;
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(seen) % 64, 0U);
  EXPECT_THAT(reply.body, ::testing::EndsWith(data));
}

TEST_F(HttpServing, ClientsThatExpectContinueAreToldToGoOn) {
  Serve();
  TestClient client(server_->port());
  client.Send(
      fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n"
                  "Expect: 100-continue\r\n\r\n",
                  kCopyInfer, kSmall.size()));
  EXPECT_EQ(client.Read(TestClient::Body::kAbsent).code, 100);
  EXPECT_EQ(client.Call(kSmall).code, 200);
  // Too large: told so instead, before it is sent.
  client.Send(
      fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n"
                  "Expect: 100-continue\r\n\r\n",
                  kCopyInfer, 1ULL << 40));
  EXPECT_EQ(client.Read().code, 413);
  EXPECT_TRUE(client.ReadsEnd());
}

struct BadBytes {
  std::string_view what;
  std::string bytes;
  int code;
};

std::string Head(std::string_view lines) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: x\r\n{}\r\n", kCopyInfer, lines);
}

TEST_F(HttpServing, BrokenHttpIsRefusedAndTheConnectionClosed) {
  HttpOptions options = TestOptions();
  options.limits.body_bytes = 1000;
  Serve(options);
  const std::string chunked = Head("Transfer-Encoding: chunked\r\n");
  std::string flood = "GET /v2 HTTP/1.1\r\n";
  for (int i = 0; i < 100000; ++i) flood += fmt::format("X-{}: 1\r\n", i);
  const std::vector<BadBytes> table{
      {"not HTTP", "hello\r\n\r\n", 400},
      {"a binary protocol", std::string("\x16\x03\x01\x02\x00\x01\x00\x01", 8) + "\r\n\r\n", 400},
      {"another version", "GET /v2 HTTP/2.0\r\n\r\n", 505},
      {"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"lines without CR", "GET /v2 HTTP/1.1\nHost: x\n\n", 400},
      {"a space before the colon", "GET /v2 HTTP/1.1\r\nHost : x\r\n\r\n", 400},
      {"no colon", "GET /v2 HTTP/1.1\r\nHost\r\n\r\n", 400},
      {"a NUL", std::string("GET /v2 HTTP/1.1\r\nHost: \0\r\n\r\n", 30), 400},
      {"a long request line", "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n\r\n", 414},
      {"a request line without end", "GET /" + std::string(9000, 'a'), 414},
      {"a long field", "GET /v2 HTTP/1.1\r\nX: " + std::string(9000, 'a') + "\r\n\r\n", 431},
      {"a field without end", "GET /v2 HTTP/1.1\r\nX: " + std::string(9000, 'a'), 431},
      {"a flood of fields", flood, 431},
      {"two lengths", Head("Content-Length: 1\r\nContent-Length: 2\r\n") + "{}", 400},
      {"a list of lengths", Head("Content-Length: 1, 2\r\n") + "{}", 400},
      {"a negative length", Head("Content-Length: -1\r\n"), 400},
      {"a length that is no number", Head("Content-Length: 0x10\r\n"), 400},
      {"a length beyond 64 bits", Head("Content-Length: 99999999999999999999\r\n"), 400},
      {"length and chunks", Head("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n") + "{}",
       400},
      {"chunks and length", Head("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n") + "{}",
       400},
      {"an unknown transfer encoding", Head("Transfer-Encoding: gzip, chunked\r\n"), 501},
      {"identity transfer encoding", Head("Transfer-Encoding: identity\r\n"), 501},
      {"an unknown expectation", Head("Expect: miracles\r\n"), 417},
      {"a bad JSON length", Head("Inference-Header-Content-Length: x\r\n"), 400},
      {"a negative JSON length", Head("Inference-Header-Content-Length: -1\r\n"), 400},
      {"two JSON lengths",
       Head("Inference-Header-Content-Length: 1\r\nInference-Header-Content-Length: 1\r\n"), 400},
      {"a body over the limit", Head("Content-Length: 1001\r\n"), 413},
      {"a huge body", Head("Content-Length: 18446744073709551615\r\n"), 413},
      {"a chunk over the limit", chunked + "3e9\r\n", 413},
      {"chunks over the limit",
       chunked + "1f4\r\n" + std::string(500, ' ') + "\r\n1f5\r\n" + std::string(501, ' '), 413},
      {"a chunk of nearly 2^64", chunked + "ffffffffffffffff\r\n", 413},
      {"a chunk beyond 2^64", chunked + "10000000000000000\r\n", 400},
      {"a chunk size that is no number", chunked + "zz\r\n", 400},
      {"a last chunk that ends without CR", chunked + "0\r\n\n", 400},
      {"a trailer line that ends without CR", chunked + "0\r\na: b\n\r\n", 400},
      {"a chunk size that ends without CR", chunked + "2\n{}\r\n0\r\n\r\n", 400},
      {"an endless trailer", chunked + "0\r\n" + std::string(70000, 'x'), 431},
      {"no line end behind a chunk", chunked + "2\r\n{}xx\r\n0\r\n\r\n", 400},
      {"an endless chunk extension", chunked + "2;" + std::string(20000, 'x'), 400},
  };
  for (const BadBytes& bad : table) {
    TestClient client(server_->port());
    client.Send(bad.bytes);
    const TestReply reply = client.Read();
    EXPECT_EQ(reply.code, bad.code) << bad.what << ": " << reply.body;
    EXPECT_EQ(reply.headers.contains("connection"), true) << bad.what;
    EXPECT_TRUE(json::accept(reply.body) && json::parse(reply.body).contains("error")) << bad.what;
    client.FinishSending();
    EXPECT_TRUE(client.ReadsEnd()) << bad.what;
  }
  EXPECT_EQ(Call(PostRequest(kCopyInfer, kSmall)).code, 200);
}

TEST_F(HttpServing, BadRequestsLeaveTheConnectionUsable) {
  Serve();
  TestClient client(server_->port());
  const std::vector<BadBytes> table{
      {"no body", PostRequest(kCopyInfer, ""), 400},
      {"malformed JSON", PostRequest(kCopyInfer, "{"), 400},
      {"unknown model", PostRequest("/v2/models/nope/infer", kSmall), 404},
      {"unknown version", PostRequest("/v2/models/copy/versions/7/infer", kSmall), 404},
      {"JSON length beyond the body",
       PostRequest(kCopyInfer, kSmall, "Inference-Header-Content-Length: 5000\r\n"), 400},
      {"JSON length of nearly 2^64",
       PostRequest(kCopyInfer, kSmall, "Inference-Header-Content-Length: 18446744073709551615\r\n"),
       400},
      {"an unknown coding", PostRequest(kCopyInfer, kSmall, "Content-Encoding: br\r\n"), 415},
      {"two codings", PostRequest(kCopyInfer, kSmall, "Content-Encoding: gzip, gzip\r\n"), 415},
      {"a coding that it has not", PostRequest(kCopyInfer, kSmall, "Content-Encoding: gzip\r\n"),
       400},
      {"half a stream",
       PostRequest(kCopyInfer, Deflated(kSmall).substr(0, 40), "Content-Encoding: gzip\r\n"), 400},
      {"a compressed route without a body",
       PostRequest(kCopyInfer, "", "Content-Encoding: gzip\r\n"), 400},
      {"a sequence", PostRequest(kCopyInfer, R"({"parameters":{"sequence_id":1},"inputs":[]})"),
       501},
  };
  for (const BadBytes& bad : table) {
    const TestReply reply = client.Call(bad.bytes);
    EXPECT_EQ(reply.code, bad.code) << bad.what << ": " << reply.body;
    EXPECT_TRUE(json::parse(reply.body).contains("error")) << bad.what;
    EXPECT_EQ(client.Call(PostRequest(kCopyInfer, kSmall)).code, 200) << bad.what;
  }
}

TEST_F(HttpServing, CompressedBodiesAreAsGoodAsPlainOnes) {
  Serve();
  TestClient client(server_->port());
  const std::string plain = client.Call(PostRequest(kCopyInfer, kSmall)).body;
  for (const auto& [name, format] : {std::pair{"gzip", ZlibFormat::kGzip},
                                     {"deflate", ZlibFormat::kZlib},
                                     {"deflate", ZlibFormat::kBare}}) {
    const std::string encoding = fmt::format("Content-Encoding: {}\r\n", name);
    const std::string coded = Deflated(kSmall, format);
    TestReply reply = client.Call(PostRequest(kCopyInfer, coded, encoding));
    EXPECT_EQ(reply.code, 200) << reply.body;
    EXPECT_EQ(reply.body, plain);
    reply = client.Call(fmt::format(
        "POST {} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        kCopyInfer, encoding, coded.size(), coded));
    EXPECT_EQ(reply.body, plain);
    // The length of the JSON part counts its bytes before compression, and the tensor is large.
    const std::string data(std::size_t{4} << 18, '\x3f');
    const std::string head = BinaryHead("[262144]", data.size());
    reply = client.Call(PostRequest(
        kCopyInfer, Deflated(head + data, format),
        fmt::format("{}Inference-Header-Content-Length: {}\r\n", encoding, head.size())));
    ASSERT_EQ(reply.code, 200) << reply.body;
    EXPECT_TRUE(reply.body.ends_with(data));
  }
  // Routes that need no body read over it.
  EXPECT_EQ(
      client.Call(PostRequest("/v2/repository/index", Deflated("{}"), "Content-Encoding: gzip\r\n"))
          .code,
      200);
}

TEST_F(HttpServing, ABombIsToldSoAndTheConnectionGoesOn) {
  HttpOptions options = TestOptions();
  options.limits.body_bytes = std::size_t{1} << 20;
  Serve(std::move(options));
  TestClient client(server_->port());
  // A hundred times the limit, in a tenth of it.
  const TestReply reply =
      client.Call(PostRequest(kCopyInfer, GzipBomb(100), "Content-Encoding: gzip\r\n"));
  EXPECT_EQ(reply.code, 413);
  EXPECT_THAT(reply.body, HasSubstr("more than 1048576 bytes"));
  EXPECT_EQ(client.Call(PostRequest(kCopyInfer, kSmall)).code, 200);
}

TEST_F(HttpServing, AnswersAreCompressedForWhoAsks) {
  Serve();
  TestClient client(server_->port());
  std::string numbers = "1";
  for (int i = 0; i < 2000; ++i) numbers += ",1.5";
  const std::string request = fmt::format(
      R"({{"inputs":[{{"name":"in0","shape":[2001],"datatype":"FP32","data":[{}]}}]}})", numbers);
  const TestReply plain = client.Call(PostRequest(kCopyInfer, request));
  EXPECT_FALSE(plain.headers.contains("content-encoding"));
  for (const auto& [name, format] :
       {std::pair{"gzip", ZlibFormat::kGzip}, {"deflate", ZlibFormat::kZlib}}) {
    TestReply reply =
        client.Call(PostRequest(kCopyInfer, request, fmt::format("Accept-Encoding: {}\r\n", name)));
    EXPECT_EQ(reply.code, 200);
    EXPECT_EQ(reply.headers["content-encoding"], name);
    EXPECT_EQ(reply.headers["vary"], "Accept-Encoding");
    EXPECT_EQ(reply.headers["content-type"], "application/json");
    EXPECT_LT(reply.body.size(), plain.body.size() / 2);
    EXPECT_EQ(Inflated(reply.body, format), plain.body);
  }
  for (const char* other : {"gzip;q=0", "identity", "br", "identity, gzip;q=0.9", "*"}) {
    TestReply reply = client.Call(
        PostRequest(kCopyInfer, request, fmt::format("Accept-Encoding: {}\r\n", other)));
    EXPECT_FALSE(reply.headers.contains("content-encoding")) << other;
    EXPECT_EQ(reply.body, plain.body) << other;
  }
}

TEST_F(HttpServing, CompressedAnswersSayTheLengthOfTheirPlainJson) {
  Serve();
  TestClient client(server_->port());
  const std::string data(100000, '\x3f');
  const std::string head = BinaryHead("[25000]", data.size());
  TestReply reply = client.Call(
      PostRequest(kCopyInfer, head + data,
                  fmt::format("Accept-Encoding: gzip\r\nInference-Header-Content-Length: {}\r\n",
                              head.size())));
  ASSERT_EQ(reply.code, 200);
  EXPECT_EQ(reply.headers["content-encoding"], "gzip");
  EXPECT_EQ(reply.headers["content-type"], "application/octet-stream");
  const std::string body = Inflated(reply.body);
  const std::size_t json_size = std::stoul(reply.headers["inference-header-content-length"]);
  EXPECT_EQ(body.substr(json_size), data);
  EXPECT_EQ(json::parse(body.substr(0, json_size))["outputs"][0]["parameters"]["binary_data_size"],
            data.size());
}

TEST_F(HttpServing, AnswersThatCompressionDoesNotServeStayPlain) {
  Serve();
  TestClient client(server_->port());
  constexpr std::string_view kAsk = "Accept-Encoding: gzip\r\n";
  const auto is_plain = [&](const std::string& request) {
    return !client.Call(request).headers.contains("content-encoding");
  };
  EXPECT_TRUE(is_plain(PostRequest(kCopyInfer, kSmall, kAsk)));
  // Noise.
  RandomStream random(1, "noise");
  std::string data(100000, '\0');
  for (char& byte : data) byte = static_cast<char>(random.Bits());
  const std::string head = BinaryHead("[25000]", data.size());
  EXPECT_TRUE(is_plain(
      PostRequest(kCopyInfer, head + data,
                  fmt::format("{}Inference-Header-Content-Length: {}\r\n", kAsk, head.size()))));
  // A failure, however long.
  const std::string bad = fmt::format(
      R"({{"inputs":[{{"name":"{}","shape":[1],"datatype":"FP32"}}]}})", std::string(5000, 'x'));
  EXPECT_TRUE(is_plain(PostRequest(kCopyInfer, bad, kAsk)));
  // What tritonclient's asynchronous form asks for compressed but does not decompress.
  EXPECT_TRUE(is_plain(PostRequest("/v2/repository/index", "", kAsk)));
}

TEST_F(HttpServing, MetricsAreCompressedForWhoAsks) {
  Serve();
  TestClient client(server_->metrics_port().value_or(0));
  TestReply reply =
      client.Call("GET /metrics HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip\r\n\r\n");
  EXPECT_EQ(reply.headers["content-encoding"], "gzip");
  EXPECT_THAT(Inflated(reply.body), HasSubstr("nv_inference_request_success"));
  const std::string size = reply.headers["content-length"];
  client.Send("HEAD /metrics HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip\r\n\r\n");
  reply = client.Read(TestClient::Body::kAbsent);
  EXPECT_EQ(reply.headers["content-encoding"], "gzip");
  EXPECT_NEAR(std::stod(reply.headers["content-length"]), std::stod(size), 50);
}

TEST_F(HttpServing, OutcomesBecomeTheirCodes) {
  InferResponse answer;
  node_.AnswerWith([&](const InferRequest& request) {
    InferResponse response = answer;
    if (answer.outcome == Outcome::kLate) response.outputs = FakeNode::Echo(request).outputs;
    return response;
  });
  Serve();
  TestClient client(server_->port());
  answer.outcome = Outcome::kRejected;
  answer.reason = RejectReason::kPredictedLate;
  answer.retry_after = milliseconds(2300);
  answer.report.predicted = milliseconds(80);
  TestReply reply = client.Call(PostRequest(kCopyInfer, kSmall));
  EXPECT_EQ(reply.code, 503);
  EXPECT_EQ(reply.headers["retry-after"], "3");
  EXPECT_EQ(json::parse(reply.body).size(), 1U);
  std::string asking(kSmall);
  asking.insert(1, R"("parameters":{"duly_report":true},)");
  EXPECT_EQ(json::parse(client.Call(PostRequest(kCopyInfer, asking)).body)["reason"],
            "predicted_late");
  answer.reason = RejectReason::kQueueFull;
  answer.retry_after = Duration(0);
  reply = client.Call(PostRequest(kCopyInfer, kSmall));
  EXPECT_EQ(reply.code, 503);
  EXPECT_EQ(reply.headers["retry-after"], "1");
  answer.outcome = Outcome::kExpired;
  reply = client.Call(PostRequest(kCopyInfer, kSmall));
  EXPECT_EQ(reply.code, 504);
  EXPECT_FALSE(reply.headers.contains("retry-after"));
  answer.outcome = Outcome::kFailed;
  answer.status = Status(StatusCode::kInternal, "node 'conv1' failed");
  reply = client.Call(PostRequest(kCopyInfer, kSmall));
  EXPECT_EQ(reply.code, 500);
  EXPECT_THAT(reply.body, HasSubstr("conv1"));
  answer = InferResponse();
  answer.outcome = Outcome::kLate;
  EXPECT_EQ(client.Call(PostRequest(kCopyInfer, kSmall)).code, 200);
  node_.Drain();
  EXPECT_EQ(client.Call(PostRequest(kCopyInfer, kSmall)).code, 503);
}

TEST_F(HttpServing, ANodeThatDropsARequestIsAnInternalError) {
  // The handle answers for the node.
  class Dropping : public FakeNode {
   public:
    using FakeNode::FakeNode;
    RequestId Submit(InferRequest, ResponseHandle) override { return {}; }
  };
  Dropping node(TestModels());
  ModelService service(node);
  auto server = HttpServer::Start(TestOptions(), service);
  ASSERT_TRUE(server);
  EXPECT_EQ(TestClient((*server)->port()).Call(PostRequest(kCopyInfer, kSmall)).code, 500);
}

TEST_F(HttpServing, ClientsThatLeaveCancelTheirRequests) {
  node_.HoldRequests();
  Serve();
  for (const bool orderly : {true, false}) {
    const std::size_t before = node_.cancelled();
    std::optional<TestClient> client(std::in_place, server_->port());
    client->Send(PostRequest(kCopyInfer, kSmall));
    ASSERT_TRUE(Soon([&] { return node_.held() == 1; }));
    if (!orderly) client->Reset();
    client.reset();
    EXPECT_TRUE(Soon([&] { return node_.cancelled() == before + 1; }));
    EXPECT_EQ(node_.held(), 0U);
  }
}

TEST_F(HttpServing, ClientsThatOnlyStopSendingGetTheirAnswers) {
  node_.HoldRequests();
  Serve();
  TestClient client(server_->port());
  client.Send(PostRequest(kCopyInfer, kSmall) + PostRequest(kCopyInfer, kSmall) +
              GetRequest("/v2/health/live"));
  client.FinishSending();
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(Soon([&] { return node_.ReleaseOne(); }));
    TestReply reply = client.Read();
    EXPECT_EQ(reply.code, 200);
    EXPECT_EQ(json::parse(reply.body)["outputs"][0]["data"], json({1, 2}));
    EXPECT_FALSE(reply.headers.contains("connection"));
  }
  TestReply last = client.Read();
  EXPECT_EQ(last.body, R"({"live":true})");
  EXPECT_EQ(last.headers["connection"], "close");
  EXPECT_TRUE(client.ReadsEnd());
  EXPECT_EQ(node_.cancelled(), 0U);
}

TEST_F(HttpServing, ClientsThatStopSendingWhileTheirJsonIsParsedGetTheirAnswers) {
  Serve();
  std::string data = "[1";
  for (int i = 1; i < 150528; ++i) data += ",1";
  TestClient client(server_->port());
  client.Send(PostRequest("/v2/models/large/infer",
                          fmt::format(R"({{"inputs":[{{"name":"in0","shape":[1,3,224,224],)"
                                      R"("datatype":"FP32","data":{}]}}]}})",
                                      data)));
  client.FinishSending();
  const TestReply reply = client.Read();
  EXPECT_EQ(reply.code, 200);
  EXPECT_THAT(reply.body, HasSubstr(data + "]"));
  EXPECT_TRUE(client.ReadsEnd());
}

TEST_F(HttpServing, TruncatedBodiesAreRefused) {
  Serve();
  const std::string request = PostRequest(kCopyInfer, kSmall);
  for (const std::size_t keep : {request.size() - 1, request.size() - kSmall.size(),
                                 request.size() - kSmall.size() - 2, std::size_t{1}}) {
    TestClient client(server_->port());
    client.Send(request.substr(0, keep));
    client.FinishSending();
    EXPECT_EQ(client.Read().code, 400) << keep;
    EXPECT_TRUE(client.ReadsEnd());
  }
  TestClient silent(server_->port());
  silent.FinishSending();
  EXPECT_TRUE(silent.ReadsEnd());
}

TEST_F(HttpServing, BodiesOfAllConnectionsTogetherAreBounded) {
  HttpOptions options = TestOptions();
  options.memory = std::make_shared<MemoryBudget>(1'000'000);
  node_.HoldRequests();
  Serve(options);
  const std::string document = BinaryHead("[1,3,224,224]", 602112);
  const std::string body = document + std::string(602112, '\0');
  const std::string request =
      PostRequest("/v2/models/large/infer", body,
                  fmt::format("Inference-Header-Content-Length: {}\r\nExpect: 100-continue\r\n",
                              document.size()));
  const std::string head = request.substr(0, request.size() - body.size());
  const auto expect_refusals = [&] {
    for (const std::string& other : {head,
                                     "POST /v2/models/large/infer HTTP/1.1\r\nHost: "
                                     "h\r\nTransfer-Encoding: chunked\r\n\r\n927C0\r\n" +
                                         std::string(600000, ' ')}) {
      TestReply reply = Call(other);
      EXPECT_EQ(reply.code, 503);
      EXPECT_EQ(reply.headers["retry-after"], "1");
      EXPECT_THAT(reply.body, HasSubstr("no memory left"));
    }
  };

  TestClient first(server_->port());
  first.Send(head);
  ASSERT_EQ(first.Read(TestClient::Body::kAbsent).code, 100);
  expect_refusals();  // while it is read
  first.Send(body);
  ASSERT_TRUE(Soon([&] { return node_.held() == 1; }));
  expect_refusals();  // and while the node has it
  ASSERT_TRUE(node_.ReleaseOne());
  EXPECT_EQ(first.Read().code, 200);

  first.Send(head);
  EXPECT_EQ(first.Read(TestClient::Body::kAbsent).code, 100) << "the memory is free again";
  TestClient small(server_->port());
  small.Send(PostRequest(kCopyInfer, kSmall));
  EXPECT_TRUE(Soon([&] { return node_.ReleaseOne(); }));
  EXPECT_EQ(small.Read().code, 200);
}

TEST_F(HttpServing, SlowSendersAreToldWhenTheirTimeIsUp) {
  HttpOptions options = TestOptions();
  options.head_timeout = milliseconds(20);
  options.body_timeout = milliseconds(20);
  Serve(options);
  TestClient head(server_->port());
  TestClient body(server_->port());
  TestClient chunks(server_->port());
  head.Send("GET /v2 HT");
  body.Send(Head("Content-Length: 100\r\n") + "{");
  chunks.Send(Head("Transfer-Encoding: chunked\r\n") + "5\r\n{");
  for (TestClient* client : {&head, &body, &chunks}) {
    EXPECT_EQ(client->Read().code, 408);
    client->FinishSending();
    EXPECT_TRUE(client->ReadsEnd());
  }
}

TEST_F(HttpServing, IdleConnectionsAreClosedSilently) {
  HttpOptions options = TestOptions();
  options.idle_timeout = milliseconds(20);
  Serve(options);
  TestClient client(server_->port());
  EXPECT_EQ(client.Call(GetRequest("/v2/health/live")).code, 200);
  EXPECT_TRUE(client.ReadsEnd());
}

TEST_F(HttpServing, ClientsThatDoNotReadAreDropped) {
  HttpOptions options = TestOptions();
  options.write_timeout = milliseconds(50);
  Serve(options);
  const std::string data(std::size_t{3} * 224 * 224 * 4, 'x');
  const std::string request =
      BinaryRequest("/v2/models/large/infer", BinaryHead("[1,3,224,224]", data.size()), data);
  TestClient client(server_->port());
  // Far more than sockets buffer; sooner or later the server closes and sending fails.
  bool closed = false;
  for (int i = 0; i < 200 && !closed; ++i) closed = !client.Send(request);
  EXPECT_TRUE(closed);
}

TEST_F(HttpServing, ConnectionsBeyondTheLimitAreTurnedAway) {
  HttpOptions options = TestOptions();
  options.max_connections = 2;
  Serve(options);
  auto first = std::make_unique<TestClient>(server_->port());
  TestClient second(server_->port());
  EXPECT_EQ(first->Call(GetRequest("/v2/health/live")).code, 200);
  EXPECT_EQ(second.Call(GetRequest("/v2/health/live")).code, 200);
  TestClient third(server_->port());
  const TestReply reply = third.Read();
  EXPECT_EQ(reply.code, 503);
  EXPECT_TRUE(json::accept(reply.body));
  first.reset();
  EXPECT_TRUE(Soon(
      [&] { return TestClient(server_->port()).Call(GetRequest("/v2/health/live")).code == 200; }));
}

TEST_F(HttpServing, ClientsHaveSoManyConnections) {
  HttpOptions options = TestOptions();
  options.clients = std::make_shared<ClientConnections>(2);
  Serve(options);
  auto first = std::make_unique<TestClient>(server_->port());
  TestClient second(server_->port());
  EXPECT_EQ(first->Call(GetRequest("/v2/health/live")).code, 200);
  EXPECT_EQ(second.Call(GetRequest("/v2/health/live")).code, 200);
  TestReply reply = TestClient(server_->port()).Read();
  EXPECT_EQ(reply.code, 429);
  EXPECT_EQ(reply.headers["retry-after"], "1");
  EXPECT_TRUE(json::accept(reply.body));
  EXPECT_THAT(second.Call(GetRequest("/metrics")).body,
              HasSubstr("duly_connection_refusals_total 1\n"));
  first.reset();
  EXPECT_TRUE(Soon(
      [&] { return TestClient(server_->port()).Call(GetRequest("/v2/health/live")).code == 200; }));
}

TEST_F(HttpServing, ATokensLimitIsToldBeforeTheBodyIsReadOrBesideIt) {
  const TempFolder folder;
  Faults faults;
  HttpOptions options = TestOptions();
  options.access = Access::Load(
      folder.Write("tokens.yaml",
                   "tokens:\n"
                   "  - name: camera\n"
                   "    sha256: 8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8\n"
                   "    scopes: [infer, read]\n"
                   "    max_in_flight: 1\n"),
      faults);
  ASSERT_TRUE(faults.empty()) << faults.ToString();
  node_.HoldRequests();
  Serve(std::move(options));
  const std::string token = "Authorization: Bearer alpha\r\n";
  const std::string body =
      R"({"inputs":[{"name":"in0","shape":[1],"datatype":"FP32","data":[1]}]})";
  TestClient first(server_->port());
  first.Send(PostRequest(kCopyInfer, body, token));
  ASSERT_TRUE(Soon([&] { return node_.held() == 1; }));
  TestClient second(server_->port());
  TestReply reply = second.Call(PostRequest(kCopyInfer, body, token));
  EXPECT_EQ(reply.code, 429);
  EXPECT_EQ(reply.headers["retry-after"], "1");
  EXPECT_FALSE(reply.headers.contains("connection"));
  // A large body is not awaited.
  TestClient third(server_->port());
  reply = third.Call(
      fmt::format("POST {} HTTP/1.1\r\n{}Content-Length: 100000\r\n\r\n", kCopyInfer, token));
  EXPECT_EQ(reply.code, 429);
  EXPECT_EQ(reply.headers["connection"], "close");
  node_.ReleaseOne();
  EXPECT_EQ(first.Read().code, 200);
  const std::string metrics = second.Call("GET /metrics HTTP/1.1\r\n" + token + "\r\n").body;
  EXPECT_THAT(metrics,
              HasSubstr(R"(duly_token_refusals_total{token="camera",limit="max_in_flight"} 2)"));
  EXPECT_THAT(metrics, HasSubstr(R"(duly_token_requests_in_flight{token="camera"} 1)"));
}

TEST_F(HttpServing, OldClientsGetWhatTheyUnderstand) {
  Serve();
  TestClient client(server_->port());
  TestReply reply = client.Call("GET /v2/health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(reply.headers["connection"], "keep-alive");
  reply = client.Call("GET /v2/health/live HTTP/1.0\r\n\r\n");
  EXPECT_EQ(reply.code, 200);
  EXPECT_EQ(reply.headers["connection"], "close");
  EXPECT_TRUE(client.ReadsEnd());
}

TEST_F(HttpServing, DrainingAnswersWhatWasReceivedAndClosesTheRest) {
  node_.HoldRequests();
  Serve();
  const std::uint16_t port = server_->port();
  TestClient idle(port);
  EXPECT_EQ(idle.Call(GetRequest("/v2/health/live")).code, 200);
  TestClient busy(port);
  busy.Send(PostRequest(kCopyInfer, kSmall));
  ASSERT_TRUE(Soon([&] { return node_.held() == 1; }));
  TestClient halfway(port);
  halfway.Send(
      fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
                  "Expect: 100-continue\r\n\r\n",
                  kCopyInfer));
  EXPECT_EQ(halfway.Read(TestClient::Body::kAbsent).code, 100);  // it has been received
  server_->Leave();
  const auto done = std::make_shared<std::promise<void>>();
  std::future<void> drained = done->get_future();
  server_->Drain([done] { done->set_value(); });
  EXPECT_TRUE(idle.ReadsEnd());
  halfway.Send("{}");
  TestReply late = halfway.Read();
  EXPECT_EQ(late.code, 400);
  EXPECT_EQ(late.headers["connection"], "close");
  EXPECT_TRUE(halfway.ReadsEnd());
  halfway.FinishSending();
  EXPECT_EQ(drained.wait_for(milliseconds(20)), std::future_status::timeout);
  EXPECT_TRUE(node_.ReleaseOne());
  EXPECT_EQ(busy.Read().code, 200);
  EXPECT_TRUE(busy.ReadsEnd());
  busy.FinishSending();
  EXPECT_EQ(drained.wait_for(std::chrono::seconds(10)), std::future_status::ready);
}

TEST_F(HttpServing, DrainingLosesNoRequestThatHasArrived) {
  for (int round = 0; round < 10; ++round) {
    Serve();
    std::vector<std::unique_ptr<TestClient>> clients;
    for (int i = 0; i < 8; ++i) {
      clients.push_back(std::make_unique<TestClient>(server_->port()));
      EXPECT_EQ(clients.back()->Call(GetRequest("/v2/health/live")).code, 200);
    }
    for (const auto& client : clients) client->Send(PostRequest(kCopyInfer, kSmall));
    // Read or not, told or not: it is there, and must be answered.
    for (const auto& client : clients) EXPECT_TRUE(Soon([&] { return client->IsAcknowledged(); }));
    const auto done = std::make_shared<std::promise<void>>();
    server_->Drain([done] { done->set_value(); });
    for (const auto& client : clients) EXPECT_EQ(client->Read().code, 200);
    clients.clear();
    done->get_future().wait();
    server_.reset();
  }
}

TEST_F(HttpServing, DestructionCancelsWhatIsInTheNode) {
  node_.HoldRequests();
  Serve();
  TestClient client(server_->port());
  client.Send(PostRequest(kCopyInfer, kSmall));
  ASSERT_TRUE(Soon([&] { return node_.held() == 1; }));
  server_.reset();
  EXPECT_EQ(node_.cancelled(), 1U);
}

TEST_F(HttpServing, MetricsAreServedOnBothPorts) {
  node_.stats.models[0].success.Observe(milliseconds(7), 5);
  Serve();
  const TestReply main = Call(GetRequest("/metrics"));
  EXPECT_EQ(main.code, 200);
  EXPECT_THAT(main.headers.at("content-type"), HasSubstr("text/plain"));
  EXPECT_THAT(main.body,
              HasSubstr("nv_inference_request_success{model=\"copy\",version=\"1\"} 5\n"));
  TestClient own(*server_->metrics_port());
  EXPECT_EQ(own.Call(GetRequest("/metrics")).body, main.body);
  EXPECT_EQ(own.Call(GetRequest("/v2/health/live")).code, 404);
  EXPECT_EQ(own.Call(PostRequest("/metrics", "")).code, 405);
}

TEST_F(HttpServing, ManyConnectionsAndThreadsDoNotMixTheirAnswers) {
  node_.HoldRequests();
  Serve();
  constexpr int kClients = 8;
  constexpr int kEach = 50;
  std::atomic<bool> stop{false};
  std::jthread executor([&] {
    while (!stop) {
      if (!node_.ReleaseOne()) std::this_thread::yield();
    }
  });
  std::vector<std::jthread> clients;
  std::atomic<int> right{0};
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      TestClient client(server_->port());
      for (int i = 0; i < kEach; ++i) {
        const std::string id = fmt::format("{}-{}", c, i);
        const TestReply reply = client.Call(PostRequest(
            kCopyInfer,
            fmt::format(
                R"({{"id":"{}","inputs":[{{"name":"in0","shape":[1],"datatype":"FP32","data":[{}]}}]}})",
                id, i)));
        if (reply.code != 200) continue;
        const json body = json::parse(reply.body);
        if (body["id"] == id && body["outputs"][0]["data"][0] == i) ++right;
      }
    });
  }
  clients.clear();
  stop = true;
  EXPECT_EQ(right, kClients * kEach);
}

}  // namespace
}  // namespace duly
