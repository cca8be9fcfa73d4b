// SPDX-License-Identifier: Apache-2.0
#include "cli/http_fetch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/testing/scripted_server.h"

namespace duly {
namespace {

using ::testing::HasSubstr;

constexpr Duration kTimeout = std::chrono::seconds(5);

TEST(HttpFetch, SendsTheRequestAndReadsTheAnswer) {
  ScriptedServer server([](const ScriptedServer::Request& request) {
    return ScriptedServer::Answer(207, request.method + " " + request.target + " " + request.body);
  });
  const Result<HttpEndpoint> endpoint = FindHttpServer(server.url() + "/base/", kTimeout);
  ASSERT_TRUE(endpoint) << endpoint.error().ToString();
  const Result<HttpResponse> response =
      HttpFetch(*endpoint, "POST", "/v2/models/m", "hello", kTimeout);
  ASSERT_TRUE(response) << response.error().ToString();
  EXPECT_EQ(response->status, 207);
  EXPECT_EQ(response->body, "POST /base/v2/models/m hello");
  EXPECT_THAT(server.requests()[0].head, HasSubstr("Host: " + server.url().substr(7)));
}

TEST(HttpFetch, SaysWhatWentWrong) {
  ScriptedServer server([](const ScriptedServer::Request& request) -> ScriptedServer::Reply {
    if (request.target == "/silent") return {};
    if (request.target == "/garbage") return {"nonsense\r\n\r\n", true};
    return {"", true};
  });
  const HttpEndpoint endpoint = *FindHttpServer(server.url(), kTimeout);
  EXPECT_EQ(HttpFetch(endpoint, "GET", "/garbage", "", kTimeout).error().code(),
            StatusCode::kInternal);
  EXPECT_EQ(HttpFetch(endpoint, "GET", "/close", "", kTimeout).error().code(),
            StatusCode::kInternal);
  EXPECT_EQ(HttpFetch(endpoint, "GET", "/silent", "", std::chrono::milliseconds(20)).error().code(),
            StatusCode::kDeadlineExceeded);
}

TEST(FindHttpServer, NamesWhoIsNotThere) {
  std::string url;
  {
    ScriptedServer server([](const ScriptedServer::Request&) { return ScriptedServer::Reply(); });
    url = server.url();
  }
  const Result<HttpEndpoint> endpoint = FindHttpServer(url, kTimeout);
  ASSERT_FALSE(endpoint);
  EXPECT_EQ(endpoint.error().code(), StatusCode::kUnavailable);
  EXPECT_THAT(endpoint.error().message(), HasSubstr("refused"));
}

TEST(FindHttpServer, RefusesWhatIsNoHttpUrl) {
  for (const char* url :
       {"", "localhost:8000", "grpc://127.0.0.1:8001", "http://", "http://:80", "http://a b",
        "http://u@h", "http://h:", "http://h:8o", "http://[::1", "http://h?q", "http://h:123456"}) {
    const Result<HttpEndpoint> endpoint = FindHttpServer(url, kTimeout);
    ASSERT_FALSE(endpoint) << url;
    EXPECT_EQ(endpoint.error().code(), StatusCode::kInvalidArgument) << url;
  }
}

TEST(PercentEncode, KeepsOnlyUnreservedCharacters) {
  EXPECT_EQ(PercentEncode("a-b_c.d~9"), "a-b_c.d~9");
  EXPECT_EQ(PercentEncode("a/b \xc3\xa9"), "a%2Fb%20%C3%A9");
}

}  // namespace
}  // namespace duly
