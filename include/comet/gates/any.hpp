// SPDX-License-Identifier: MIT
#pragma once

#include <any>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/gate_forward.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/gates/explanation.hpp>

namespace comet {

/// \brief A gate whose kind is chosen while the program runs, by an option for example.
///
/// Holds any gate of this scalar and does what it does, bit for bit. Code that is a template of the
/// gate (a layer, a model, its training) is then compiled once, not once per kind. Every capability
/// of the gate goes through; one that it lacks is refused in words when it is asked for:
/// capabilities() tells before.
///
/// \par Cost     that of the gate, and a virtual call per batch
/// \par Threads  those of the gate
/// \tparam S     float or double
/// \see make_gate, which makes one by name
template <class S>
class AnyGate {
 public:
  using Scalar = S;  ///< float or double.

  /// \brief Scratch of an AnyGate: the pass of the gate that used it last.
  class Workspace {
    friend class AnyGate;
    std::any inner_;
    detail::GateForward forward_;  // of a gate without parameters
  };

  /// \brief Holds a gate, trainable or without parameters.
  template <class G>
  requires(!std::same_as<G, AnyGate>) explicit AnyGate(G gate)
      : held_(std::make_unique<Held<G>>(std::move(gate))) {
    static_assert(std::same_as<typename G::Scalar, S>,
                  "comet::AnyGate: the gate has another scalar type");
    static_assert(TrainableGate<G> || !Parametric<G>,
                  "comet::AnyGate: this gate has parameters but cannot be trained: it needs "
                  "forward(), backward() and regularization(); see "
                  "comet/core/concepts.hpp");
  }

  /// An independent copy of the gate.
  AnyGate(const AnyGate& other) : held_(other.held_->copy()) {}
  /// An independent copy of the gate.
  AnyGate& operator=(const AnyGate& other) {
    held_ = other.held_->copy();
    return *this;
  }
  /// Leaves `other` to be assigned to or destroyed, nothing else.
  AnyGate(AnyGate&& other) noexcept = default;
  /// Leaves `other` to be assigned to or destroyed, nothing else.
  AnyGate& operator=(AnyGate&& other) noexcept = default;
  ~AnyGate() = default;

  /// The gate if it is a G, null otherwise.
  template <class G>
  [[nodiscard]] const G* get_if() const noexcept {
    const auto* held = dynamic_cast<const Held<G>*>(held_.get());
    return held != nullptr ? &held->gate : nullptr;
  }
  /// The gate if it is a G, null otherwise.
  template <class G>
  [[nodiscard]] G* get_if() noexcept {
    return const_cast<G*>(std::as_const(*this).template get_if<G>());
  }

  /// What the gate's kind is called; empty for one without a name.
  [[nodiscard]] std::string_view name() const { return held_->name(); }
  /// What the gate can do.
  [[nodiscard]] GateCapabilities capabilities() const { return held_->capabilities(); }
  /// Whether a sample's row depends on the others of its batch.
  [[nodiscard]] bool depends_on_batch() const { return held_->depends_on_batch(); }
  /// Number of input features d; 0 for a gate that looks at none.
  [[nodiscard]] Index input_dim() const { return held_->input_dim(); }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const { return held_->num_experts(); }
  /// Longest row that route() can give.
  [[nodiscard]] Index max_active() const { return held_->max_active(); }

  /// \brief As the gate does. \see RoutingGate
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<AnyGate>& pass) const {
    held_->route(samples, routing, pass);
  }
  /// \brief As the gate does; route() for one without parameters. \see TrainableGate
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
               Pass<AnyGate>& pass) const {
    held_->forward(samples, routing, key, pass);
  }
  /// \brief As the gate does; nothing for one without parameters. \see TrainableGate
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<AnyGate>& pass) const {
    held_->backward(samples, routing, dweights, dx, pass.gradients(*this), pass);
  }
  /// The penalty of the last forward().
  [[nodiscard]] S regularization(const Pass<AnyGate>& pass) const {
    return held_->regularization(pass);
  }

  /// \brief As the gate does. \see SelectorGate
  /// \throws std::invalid_argument if it has no selectors
  [[nodiscard]] Index num_selectors() const { return held_->num_selectors(); }
  /// \brief As the gate does. \see SelectorGate
  /// \throws std::invalid_argument if it has no selectors
  void route_slots(const Samples<S>& samples, Routing<S>& routing, Pass<AnyGate>& pass) const {
    held_->route_slots(samples, routing, pass);
  }
  /// \brief As the gate does. \see SelectorGate
  /// \throws std::invalid_argument if it has no selectors
  void forward_slots(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
                     Pass<AnyGate>& pass) const {
    held_->forward_slots(samples, routing, key, pass);
  }

  /// \brief As the gate does. \see AnnealableGate
  /// \throws std::invalid_argument if it has nothing to anneal
  void anneal(const GateAnnealing& settings) { held_->anneal(settings); }
  /// \brief As the gate does. \see SplittingGate
  /// \throws std::invalid_argument if it has no splits to be set
  void split_evenly(const Samples<S>& samples, RandomKey key, double deviation = 0.2) {
    held_->split_evenly(samples, key, deviation);
  }
  /// \brief As the gate does: an AnyGate that holds the frozen one. \see FreezableGate
  /// \throws std::invalid_argument if it cannot be frozen
  [[nodiscard]] AnyGate freeze(std::span<const Permutation> permutations = {}) const {
    return held_->freeze(permutations);
  }
  /// \brief As the gate does. \see ExplainableGate
  /// \throws std::invalid_argument if it cannot explain
  [[nodiscard]] Explanation<S> explain(const ConstMatrixView<S>& x,
                                       std::span<const Permutation> permutations = {},
                                       const ExplainNames& names = {}) const {
    return held_->explain(x, permutations, names);
  }
  /// \brief As the gate does. \see LoadedGate
  /// \throws std::invalid_argument if it takes no load
  void end_of_step(std::span<const Index> load) { held_->end_of_step(load, nullptr); }
  /// \brief The same for a gate that may need more than the load.
  /// \param pass  of the step's forward()
  /// \throws std::invalid_argument as well if the pass holds no forward() of this gate
  void end_of_step(std::span<const Index> load, const Pass<AnyGate>& pass) {
    held_->end_of_step(load, &pass);
  }

  /// Calls f(name, parameter) for each tensor of the gate.
  template <class F>
  void visit(F&& f) const {
    held_->visit(std::ref(f));
  }
  /// \brief The gate's state, nothing for a gate without. \see Stateful
  template <class F>
  void visit_state(F&& f) {
    held_->visit_state([&f](const ParameterName& name, const Numbers& numbers) {
      std::visit([&](auto values) { f(name, values); }, numbers);
    });
  }
  /// \brief The same of a gate that is not to be changed.
  template <class F>
  void visit_state(F&& f) const {
    held_->visit_state([&f](const ParameterName& name, const Numbers& numbers) {
      std::visit([&]<class T>(std::span<T> values) { f(name, std::span<const T>(values)); },
                 numbers);
    });
  }
  /// \brief Takes over what was written through visit_state(). \throws as the gate does
  void restored() { held_->restored(); }

 private:
  using Visitor = std::function<void(const ParameterName&, const Parameter<S>&)>;
  using Numbers = std::variant<std::span<float>, std::span<double>, std::span<std::int32_t>,
                               std::span<std::int64_t>>;
  using StateVisitor = std::function<void(const ParameterName&, const Numbers&)>;

  struct Holder {
    virtual ~Holder() = default;
    [[nodiscard]] virtual std::unique_ptr<Holder> copy() const = 0;
    [[nodiscard]] virtual std::string_view name() const = 0;
    [[nodiscard]] virtual GateCapabilities capabilities() const = 0;
    [[nodiscard]] virtual bool depends_on_batch() const = 0;
    [[nodiscard]] virtual Index input_dim() const = 0;
    [[nodiscard]] virtual Index num_experts() const = 0;
    [[nodiscard]] virtual Index max_active() const = 0;
    virtual void route(const Samples<S>&, Routing<S>&, Pass<AnyGate>&) const = 0;
    virtual void forward(const Samples<S>&, Routing<S>&, RandomKey, Pass<AnyGate>&) const = 0;
    virtual void backward(const Samples<S>&, const Routing<S>&, std::span<const S>,
                          const MatrixView<S>&, GradientView<S>, Pass<AnyGate>&) const = 0;
    [[nodiscard]] virtual S regularization(const Pass<AnyGate>&) const = 0;
    [[nodiscard]] virtual Index num_selectors() const = 0;
    virtual void route_slots(const Samples<S>&, Routing<S>&, Pass<AnyGate>&) const = 0;
    virtual void forward_slots(const Samples<S>&, Routing<S>&, RandomKey, Pass<AnyGate>&) const = 0;
    virtual void anneal(const GateAnnealing&) = 0;
    virtual void split_evenly(const Samples<S>&, RandomKey, double) = 0;
    [[nodiscard]] virtual AnyGate freeze(std::span<const Permutation>) const = 0;
    [[nodiscard]] virtual Explanation<S> explain(const ConstMatrixView<S>&,
                                                 std::span<const Permutation>,
                                                 const ExplainNames&) const = 0;
    virtual void end_of_step(std::span<const Index>, const Pass<AnyGate>*) = 0;
    virtual void visit(const Visitor&) const = 0;
    virtual void visit_state(const StateVisitor&) = 0;
    virtual void restored() = 0;
  };

  template <class G>
  struct Held final : Holder {
    explicit Held(G g) : gate(std::move(g)) {}

    std::unique_ptr<Holder> copy() const override { return std::make_unique<Held>(gate); }
    std::string_view name() const override { return gate_name(gate); }
    GateCapabilities capabilities() const override { return comet::capabilities(gate); }
    bool depends_on_batch() const override { return comet::depends_on_batch(gate); }
    Index input_dim() const override { return gate_input_dim(gate); }
    Index num_experts() const override { return gate.num_experts(); }
    Index max_active() const override { return gate.max_active(); }

    void route(const Samples<S>& samples, Routing<S>& routing, Pass<AnyGate>& pass) const override {
      pass.workspace.forward_.clear();
      gate.route(samples, routing, inner(pass));
    }
    void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
                 Pass<AnyGate>& pass) const override {
      if constexpr (TrainableGate<G>) {
        gate.forward(samples, routing, key, inner(pass));
      } else {
        route(samples, routing, pass);
        pass.workspace.forward_.set(identity, samples, routing);
      }
    }
    void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                  const MatrixView<S>& dx, GradientView<S> gradients,
                  Pass<AnyGate>& pass) const override {
      if constexpr (TrainableGate<G>) {
        inner(pass).borrow(gradients);
        gate.backward(samples, routing, dweights, dx, inner(pass));
      } else {
        samples.validate_backward("AnyGate::backward", routing, dweights, dx,
                                  pass.workspace.forward_, identity);
      }
    }
    S regularization(const Pass<AnyGate>& pass) const override {
      if constexpr (TrainableGate<G>)
        if (const auto* own = std::any_cast<Pass<G>>(&pass.workspace.inner_))
          return S(gate.regularization(*own));
      return S(0);
    }

    Index num_selectors() const override {
      if constexpr (SelectorGate<G>) return gate.num_selectors();
      refuse("num_selectors", no_selectors);
    }
    void route_slots(const Samples<S>& samples, Routing<S>& routing,
                     Pass<AnyGate>& pass) const override {
      if constexpr (SelectorGate<G>) return gate.route_slots(samples, routing, inner(pass));
      refuse("route_slots", no_selectors);
    }
    void forward_slots(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
                       Pass<AnyGate>& pass) const override {
      if constexpr (SelectorGate<G>) return gate.forward_slots(samples, routing, key, inner(pass));
      refuse("forward_slots", no_selectors);
    }
    void anneal(const GateAnnealing& settings) override {
      if constexpr (AnnealableGate<G>) return gate.anneal(settings);
      refuse("anneal", "has no gamma and no entropy penalty to anneal");
    }
    void split_evenly(const Samples<S>& samples, RandomKey key, double deviation) override {
      if constexpr (SplittingGate<G>) return gate.split_evenly(samples, key, deviation);
      refuse("split_evenly", "has no splits of its own to be set");
    }
    AnyGate freeze(std::span<const Permutation> permutations) const override {
      if constexpr (FreezableGate<G>) return AnyGate(gate.freeze(permutations));
      refuse("freeze", depends_on_batch() ? "cannot be frozen: its rows depend on their batch"
                                          : "cannot be frozen");
    }
    Explanation<S> explain(const ConstMatrixView<S>& x, std::span<const Permutation> permutations,
                           const ExplainNames& names) const override {
      if constexpr (ExplainableGate<G>) return gate.explain(x, permutations, names);
      refuse("explain", "cannot say why it goes where it goes");
    }
    void end_of_step(std::span<const Index> load, const Pass<AnyGate>* pass) override {
      constexpr const char* call = "end_of_step";
      if constexpr (LoadedGate<G>) {
        if (pass == nullptr) {
          if constexpr (requires { gate.end_of_step(load); }) return gate.end_of_step(load);
          refuse(call, "needs the pass of the step's forward(): end_of_step(load, pass)");
        }
        const auto* own = std::any_cast<Pass<G>>(&pass->workspace.inner_);
        if (own == nullptr) refuse(call, "finds no forward() of its own in the pass");
        return comet::end_of_step(gate, load, *own);
      }
      refuse(call, "has no use for the load of a step");
    }
    void visit(const Visitor& f) const override {
      for_each_parameter(gate, [&f](const ParameterName& name, const auto& parameter) {
        static_assert(std::same_as<std::remove_cvref_t<decltype(parameter)>, Parameter<S>>,
                      "comet::AnyGate: the gate's parameters are stored as another scalar type");
        f(name, parameter);
      });
    }

    void visit_state(const StateVisitor& f) override {
      if constexpr (detail::has_state<G>())
        gate.visit_state([&f](const ParameterName& name, auto values) { f(name, values); });
    }
    void restored() override {
      if constexpr (detail::has_state<G>()) gate.restored();
    }

    static constexpr const char* no_selectors = "has no selectors that could be told apart";
    [[noreturn]] void refuse(const char* call, const char* what) const {
      detail::raise("AnyGate::" + std::string(call), detail::a_gate(gate_name(gate)) + ' ' + what);
    }

    static Pass<G>& inner(Pass<AnyGate>& pass) {
      auto* own = std::any_cast<Pass<G>>(&pass.workspace.inner_);
      if (own == nullptr) own = &pass.workspace.inner_.template emplace<Pass<G>>();
      own->run_in(pass);
      return *own;
    }

    G gate;
    detail::Identity identity;
  };

  std::unique_ptr<Holder> held_;
};

}  // namespace comet
