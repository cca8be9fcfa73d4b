// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "base/unique_fd.h"

namespace duly {

// A server that speaks HTTP, by an address that accepted a connection.
struct HttpEndpoint {
  std::string host;    // for the Host header: "127.0.0.1:8000"
  std::string prefix;  // of every target, without the last slash: "" or "/gateway"
  std::string fields;  // of every request's header, each with the end of its line
  sockaddr_storage address{};
  socklen_t address_size = 0;
};

// What "http://host[:port][/prefix]" names; port 80 when there is none. Tries every address of the
// name until one accepts. kInvalidArgument: no such URL. kUnavailable: nobody there.
Result<HttpEndpoint> FindHttpServer(std::string_view url, Duration timeout);

// A non-blocking stream socket without Nagle's delay, and connect begun. Fails only when the
// process lacks resources, or at once when the peer refuses.
Result<UniqueFd> BeginConnect(const HttpEndpoint& endpoint);

struct HttpResponse {
  int status = 0;
  std::string body;
};

// One request on a connection of its own; target as in "/v2/models/m". kUnavailable: no connection,
// or it broke; kDeadlineExceeded: no answer in time; kInternal: what came is not HTTP. An answer of
// any status is a success.
Result<HttpResponse> HttpFetch(const HttpEndpoint& endpoint, std::string_view method,
                               std::string_view target, std::string_view body, Duration timeout);

// A name as one segment of a target (RFC 3986, section 2.1).
std::string PercentEncode(std::string_view text);

}  // namespace duly
