// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace duly {

struct GrpcShared;

// Adds the protocol's methods that are not inference: health, metadata, statistics, the repository,
// shared memory and settings.
void AddModelMethods(GrpcShared& shared);

}  // namespace duly
