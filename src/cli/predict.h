// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace duly {

// `duly predict`: the latency of each class of a mix on one device, by formula (queueing/device.h).
// An unstable mix is an answer, not a failure.
std::function<int()> AddPredictCommand(CLI::App& parser);

}  // namespace duly
