// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <comet/core/check.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/all.hpp>
#include <comet/gates/any.hpp>

namespace comet {

/// \brief Settings of any gate of the family. What is left out is as the gate has it; what is set
/// and not known to the gate is refused.
struct GateOptions {
  Index input_dim = 0;    ///< d; not used by a gate that does not look at features
  Index num_experts = 0;  ///< n >= 1
  Index k = 2;            ///< trees, selectors or experts per sample; not used: hash, softmax
  std::optional<double> gamma = {};          ///< Width of the smooth-step.
  std::optional<double> entropy = {};        ///< Strength of the entropy penalty.
  std::optional<double> spread = {};         ///< Strength of the reward for even use.
  std::optional<double> reachability = {};   ///< Strength of the penalty on lost codes.
  std::optional<double> split_scale = {};    ///< Of split parameters at the start.
  std::optional<TopKSoftmax> softmax = {};   ///< What Top-k's weights are normalised over.
  std::optional<bool> noise = {};            ///< Learned noise in training.
  std::optional<double> load_balance = {};   ///< Strength of a penalty on uneven load.
  std::optional<double> importance = {};     ///< Strength of a penalty on uneven load.
  std::optional<double> router_z = {};       ///< Strength of the penalty on large logits.
  std::optional<Index> num_ids = {};         ///< Ids that a hash gate's table has.
  std::optional<GateScores> scores = {};     ///< What a selection bias is added to.
  std::optional<bool> normalize = {};        ///< Divide the weights of the selected by their sum.
  std::optional<BiasUpdate> update = {};     ///< How a selection bias follows the load.
  std::optional<double> rate = {};           ///< Of a selection bias, by sign.
  std::optional<double> temperature = {};    ///< What logits are divided by before a draw.
  std::optional<double> trimmed_lasso = {};  ///< Strength of a penalty on all but k shares.
  std::optional<double> sparsity =
      {};                             ///< Strength at the start of a penalty that regulates itself.
  std::optional<double> growth = {};  ///< What that strength is multiplied by in a step.
};

namespace detail {

/// The settings of a gate G among those of any.
template <class G>
class OptionsOf {
 public:
  explicit OptionsOf(const GateOptions& from) {
    options_.input_dim = from.input_dim;
    options_.num_experts = from.num_experts;
    options_.k = from.k;
    set("gamma", from.gamma, [](auto& o) -> decltype((o.gamma)) { return o.gamma; });
    set("entropy", from.entropy, [](auto& o) -> decltype((o.entropy)) { return o.entropy; });
    set("spread", from.spread, [](auto& o) -> decltype((o.spread)) { return o.spread; });
    set("reachability", from.reachability,
        [](auto& o) -> decltype((o.reachability)) { return o.reachability; });
    set("split_scale", from.split_scale,
        [](auto& o) -> decltype((o.split_scale)) { return o.split_scale; });
    set("softmax", from.softmax, [](auto& o) -> decltype((o.softmax)) { return o.softmax; });
    set("noise", from.noise, [](auto& o) -> decltype((o.noise)) { return o.noise; });
    set("load_balance", from.load_balance,
        [](auto& o) -> decltype((o.load_balance)) { return o.load_balance; });
    set("importance", from.importance,
        [](auto& o) -> decltype((o.importance)) { return o.importance; });
    set("router_z", from.router_z, [](auto& o) -> decltype((o.router_z)) { return o.router_z; });
    set("num_ids", from.num_ids, [](auto& o) -> decltype((o.num_ids)) { return o.num_ids; });
    set("scores", from.scores, [](auto& o) -> decltype((o.scores)) { return o.scores; });
    set("normalize", from.normalize,
        [](auto& o) -> decltype((o.normalize)) { return o.normalize; });
    set("update", from.update, [](auto& o) -> decltype((o.update)) { return o.update; });
    set("rate", from.rate, [](auto& o) -> decltype((o.rate)) { return o.rate; });
    set("temperature", from.temperature,
        [](auto& o) -> decltype((o.temperature)) { return o.temperature; });
    set("trimmed_lasso", from.trimmed_lasso,
        [](auto& o) -> decltype((o.trimmed_lasso)) { return o.trimmed_lasso; });
    set("sparsity", from.sparsity, [](auto& o) -> decltype((o.sparsity)) { return o.sparsity; });
    set("growth", from.growth, [](auto& o) -> decltype((o.growth)) { return o.growth; });
  }

  [[nodiscard]] const typename G::Options& get() const { return options_; }

 private:
  template <class Value, class Member>
  void set(const char* name, const std::optional<Value>& value, Member member) {
    if (!value) return;
    if constexpr (requires { member(options_) = *value; }) {
      member(options_) = *value;
    } else {
      raise("make_gate", a_gate(G::name) + " has no option " + name);
    }
  }

  typename G::Options options_ = {};
};

}  // namespace detail

/// \brief A gate of the family by its name, for programs that take it as an option.
/// \param name  one of GateFamily<S>::names: comet, dselect_k, static_dselect_k, top_k,
///              balanced_top_k, sampled, remoe, expert_choice, hash, softmax
/// \throws std::invalid_argument if there is no such gate, the gate has no such option, or an
///         option is outside its bounds
template <class S>
[[nodiscard]] AnyGate<S> make_gate(std::string_view name, const GateOptions& options,
                                   RandomKey key) {
  std::optional<AnyGate<S>> made;
  std::string known;
  GateFamily<S>::for_each([&]<class G>(std::type_identity<G>) {
    if (name == G::name) made.emplace(G(detail::OptionsOf<G>(options).get(), key));
    known += (known.empty() ? "" : ", ") + std::string(G::name);
  });
  if (!made) detail::raise("make_gate", "name", name, "one of " + known);
  return *std::move(made);
}

}  // namespace comet
