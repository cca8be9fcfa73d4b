// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"

#include "cli/compare.h"
#include "cli/completion.h"
#include "cli/load.h"
#include "cli/log.h"
#include "cli/models.h"
#include "cli/plan.h"
#include "cli/predict.h"
#include "cli/profile.h"
#include "cli/replay.h"
#include "cli/serve.h"
#include "cli/sim.h"

namespace duly {

std::vector<Command> AllCommands() {
  return {
      {"serve", "Serve models over the Open Inference Protocol", AddServeCommand},
      {"load", "Send an open-loop mix of requests to a server and report", AddLoadCommand},
      {"sim", "Run a scenario in virtual time and report", AddSimCommand, Environment::kIgnored},
      {"compare", "Run a scenario under several policies and compare", AddCompareCommand,
       Environment::kIgnored},
      {"profile", "Measure every variant and batch size on this machine", AddProfileCommand},
      {"models", "List models, and verify their accuracy", AddModelsCommand},
      {"log", "Read event logs", AddLogCommand, Environment::kIgnored},
      {"replay", "Take every decision of an event log again, and compare", AddReplayCommand,
       Environment::kIgnored},
      {"predict", "Latency of a mix on one device, by formula", AddPredictCommand},
      {"plan", "Place applications on the devices of a cluster", AddPlanCommand},
      {"completion", "Print a script that completes commands in a shell", AddCompletionCommand,
       Environment::kIgnored},
  };
}

}  // namespace duly
