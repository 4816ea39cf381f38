// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <comet/core/types.hpp>
#include <comet/gates/explanation.hpp>
#include <comet/inference/explain.hpp>

#include <programs/base/json.hpp>

/// \file
/// \brief The way of a few named rows through the gates of a trained model, as a training leaves it
/// for its report: in decision_paths.json, so that a report needs no data.

namespace programs {

/// The file, beside result.json.
inline constexpr const char* decision_paths_name = "decision_paths.json";
/// Nodes that a smaller share of the row arrives at are left out: a new gate reaches all of them.
inline constexpr double least_reach = 0.01;

/// \brief What a gate compares for one sample and where that leads to: experts with their weights,
/// nodes of trees or choices between experts, and how far the next other way is.
template <class S>
[[nodiscard]] Json to_json(const comet::Explanation<S>& explanation) {
  Json experts = Json::array(), nodes = Json::array(), choices = Json::array();
  for (const auto& entry : explanation.experts)
    experts.push_back({{"expert", entry.expert}, {"weight", entry.weight}});
  for (const auto& node : explanation.nodes) {
    if (double(node.reach) < least_reach) continue;
    Json json = {{"tree", node.tree}, {"number", node.number}, {"reach", node.reach}};
    if (node.is_leaf) {
      json.update({{"expert", node.expert}, {"weight", node.weight}});
    } else {
      json.update({{"left", node.left}, {"right", node.right}, {"logit", node.logit.value}});
    }
    nodes.push_back(std::move(json));
  }
  for (const auto& choice : explanation.choices)
    choices.push_back({{"expert", choice.expert},
                       {"against", choice.against},
                       {"lead", choice.lead.value},
                       {"distance", choice.distance}});
  return {{"experts", std::move(experts)},
          {"nodes", std::move(nodes)},
          {"choices", std::move(choices)},
          {"distance", explanation.distance}};
}

/// \brief A row and its way through each gate; null if one of them cannot say why it goes where it
/// goes.
/// \param name  of the row, in UTF-8 \param gates  each is asked about x, a column of its features
template <class S, class Gates>
[[nodiscard]] Json decision_path(std::string name, const Gates& gates,
                                 const comet::ConstMatrixView<S>& x) {
  Json list = Json::array();
  for (const auto& gate : gates) {
    if (!gate.capabilities().explains) return nullptr;
    list.push_back(to_json(comet::explain(gate, x)));
  }
  return {{"row", std::move(name)}, {"gates", std::move(list)}};
}

}  // namespace programs
