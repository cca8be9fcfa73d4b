// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "cli/load_server.h"

namespace duly {

struct GrpcEndpoint {
  std::string address;  // "host:port"
  bool is_secure = false;
  LoadAccess access;
};

// Over gRPC: raw tensors, one channel for each thread, which carries all of its requests.
// kUnavailable: nobody accepts there, or not by TLS where that is asked for.
Result<std::unique_ptr<LoadServer>> FindGrpcServer(GrpcEndpoint endpoint, Duration timeout);

}  // namespace duly
