// SPDX-License-Identifier: Apache-2.0
//
// From files and flags to a node: shared by serve, profile and models verify.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/fault.h"
#include "repository/node_config.h"
#include "runtime/node.h"

namespace duly {

// What the flags say; empty and unset: not given.
struct NodeFlags {
  std::vector<std::string> repositories;
  std::string config_file;
  std::string profile_file;
  std::string policy;  // NAME or NAME:key=value,key=value
  // False: models are read when they are loaded.
  bool read_models = true;
};

// Everything read and checked, nothing started.
struct NodeSetup {
  NodeConfig config;
  std::vector<ModelSpec> models;
  Profile profile;
  std::string policy_name;
  std::map<std::string, std::string> policy_options;
};

// Every fault in any of the files is added.
NodeSetup ReadNodeSetup(const NodeFlags& flags, Faults& faults);

// Options for Node::Start. make_observer and inline_below are the caller's.
Result<NodeOptions> ToNodeOptions(NodeSetup setup);

}  // namespace duly
