// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "cli/load_server.h"

namespace duly {

// Over gRPC: raw tensors, one channel for each thread, which carries all of its requests.
// address: "host:port". kUnavailable: nobody accepts there.
Result<std::unique_ptr<LoadServer>> FindGrpcServer(const std::string& address, Duration timeout);

}  // namespace duly
