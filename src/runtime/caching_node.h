// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>

#include "runtime/node.h"

namespace duly {

// A node that answers requests to models with ModelSpec::response_cache from earlier answers, of at
// most `bytes` bytes (response_cache.h); all else goes to `node`. A found answer is given before
// Submit returns, at once, on time: it waits for nothing and is nothing that could be refused, but
// a node that drains refuses it as any other. It counts as an answer of its model and application;
// neither the engine nor its event log knows of it.
//
// Kept are complete answers of the variant that the client names, or of the default one where it
// names none: an answer that another variant gave under pressure is not given again without it.
std::unique_ptr<Node> MakeCachingNode(std::unique_ptr<Node> node, std::size_t bytes);

}  // namespace duly
