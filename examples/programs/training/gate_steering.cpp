// SPDX-License-Identifier: MIT
#include <programs/training/gate_steering.hpp>

namespace programs {

Json to_json(const std::vector<comet::GateAnnealing>& settings) {
  Json list = Json::array();
  for (const comet::GateAnnealing& of_gate : settings) {
    Json json = Json::object();
    if (of_gate.gamma) json["gamma"] = *of_gate.gamma;
    if (of_gate.entropy) json["entropy"] = *of_gate.entropy;
    list.push_back(json);
  }
  return list;
}

std::vector<comet::GateAnnealing> annealing_from(const Json& json) {
  std::vector<comet::GateAnnealing> settings;
  for (const Json& of_gate : json) {
    comet::GateAnnealing annealing;
    if (of_gate.contains("gamma")) annealing.gamma = of_gate["gamma"].get<double>();
    if (of_gate.contains("entropy")) annealing.entropy = of_gate["entropy"].get<double>();
    settings.push_back(annealing);
  }
  return settings;
}

}  // namespace programs
