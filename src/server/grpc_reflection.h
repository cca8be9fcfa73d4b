// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace duly {

struct GrpcShared;

// Adds gRPC's server reflection, v1 and v1alpha, over the messages that this program is linked
// with.
void AddReflectionMethods(GrpcShared& shared);

}  // namespace duly
