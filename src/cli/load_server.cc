// SPDX-License-Identifier: Apache-2.0
#include "cli/load_server.h"

#include "cli/load_grpc.h"
#include "cli/load_http.h"

namespace duly {

Result<std::unique_ptr<LoadServer>> FindLoadServer(std::string_view url, Duration timeout) {
  constexpr std::string_view kGrpc = "grpc://";
  if (!url.starts_with(kGrpc)) {
    DULY_ASSIGN_OR_RETURN(HttpEndpoint endpoint, FindHttpServer(url, timeout));
    return std::make_unique<HttpLoadServer>(std::move(endpoint));
  }
  std::string address(url.substr(kGrpc.size()));
  if (address.ends_with('/')) address.pop_back();
  if (address.empty() || address.find('/') != std::string::npos) {
    return Error(StatusCode::kInvalidArgument, "'{}' is not a URL: expected grpc://HOST:PORT", url);
  }
  // Of an IPv6 address only what follows the bracket is a port.
  if (address.find(':', address.rfind(']') + 1) == std::string::npos) address += ":8001";
  return FindGrpcServer(address, timeout);
}

}  // namespace duly
