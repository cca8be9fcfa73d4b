// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace duly {

struct GrpcShared;

// Adds ModelInfer, and ModelStreamInfer: many requests in flight, answered as they end. A failure
// of one is a message of the stream, or ends it where the client asked for real codes.
void AddInferMethods(GrpcShared& shared);

}  // namespace duly
