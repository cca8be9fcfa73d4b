// SPDX-License-Identifier: Apache-2.0
#include "cli/load_server.h"

#include "cli/load_grpc.h"
#include "cli/load_http.h"

namespace duly {

Result<std::unique_ptr<LoadServer>> FindLoadServer(std::string_view url, const LoadAccess& access,
                                                   Duration timeout) {
  constexpr std::string_view kGrpc = "grpc://";
  constexpr std::string_view kGrpcs = "grpcs://";
  const bool is_secure = url.starts_with(kGrpcs);
  if (!is_secure && !url.starts_with(kGrpc)) {
    DULY_ASSIGN_OR_RETURN(HttpEndpoint endpoint, FindHttpServer(url, timeout));
    if (!access.token.empty()) endpoint.fields = "Authorization: Bearer " + access.token + "\r\n";
    return std::make_unique<HttpLoadServer>(std::move(endpoint));
  }
  std::string address(url.substr(is_secure ? kGrpcs.size() : kGrpc.size()));
  if (address.ends_with('/')) address.pop_back();
  if (address.empty() || address.find('/') != std::string::npos) {
    return Error(StatusCode::kInvalidArgument, "'{}' is not a URL: expected {}HOST:PORT", url,
                 is_secure ? kGrpcs : kGrpc);
  }
  // Of an IPv6 address only what follows the bracket is a port.
  if (address.find(':', address.rfind(']') + 1) == std::string::npos) address += ":8001";
  return FindGrpcServer({address, is_secure, access}, timeout);
}

}  // namespace duly
