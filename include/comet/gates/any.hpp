// SPDX-License-Identifier: MIT
#pragma once

#include <any>
#include <concepts>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include <comet/core/concepts.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief A gate whose kind is chosen while the program runs, by an option for example.
///
/// Holds any gate of this scalar and this input, and does what it does, bit for bit. Code that is a
/// template of the gate (a layer, a model, its training) is then compiled once, not once per kind.
///
/// \par Cost     that of the gate, and a virtual call per batch
/// \par Threads  those of the gate
/// \tparam S     float or double
/// \tparam In    what the gates look at: by default features, one sample per column
template <class S, class In = ConstMatrixView<S>>
class AnyGate {
 public:
  using Scalar = S;  ///< float or double.
  using Input = In;  ///< What route() looks at.

  /// \brief Scratch of an AnyGate: give each thread its own.
  class Workspace {
   public:
    Workspace() = default;
    /// Shares the work among `threads`, which must outlive the workspace.
    explicit Workspace(ThreadPool* threads) : pool(threads) {}

    ThreadPool* pool = nullptr;  ///< handed on to the gate's workspace

   private:
    friend class AnyGate;
    std::any inner_;  // the workspace of the gate that used it last
  };

  /// \brief Holds a gate, trainable or without parameters.
  template <class G>
  requires(!std::same_as<G, AnyGate>) explicit AnyGate(G gate)
      : held_(std::make_unique<Held<G>>(std::move(gate))) {
    static_assert(std::same_as<typename G::Scalar, S> && std::same_as<typename G::Input, In>,
                  "comet::AnyGate: the gate has another scalar type or looks at another input");
    static_assert(TrainableGate<G> || !Parametric<G>,
                  "comet::AnyGate: this gate has parameters but cannot be trained: it needs "
                  "forward(), backward() and regularization(); see concepts.hpp");
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

  /// Number of experts n.
  [[nodiscard]] Index num_experts() const { return held_->num_experts(); }
  /// Longest row that route() can give.
  [[nodiscard]] Index max_active() const { return held_->max_active(); }

  /// \brief As the gate does. \see Gate
  void route(const In& input, Routing<S>& routing, Workspace& workspace) const {
    held_->route(input, routing, workspace);
  }
  /// \brief As the gate does; route() for one without parameters. \see TrainableGate
  void forward(const In& input, Routing<S>& routing, RandomKey key, Workspace& workspace) const {
    held_->forward(input, routing, key, workspace);
  }
  /// \brief As the gate does; nothing for one without parameters. \see TrainableGate
  void backward(const In& input, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Workspace& workspace) {
    held_->backward(input, routing, dweights, std::move(dx), workspace);
  }
  /// The penalty of the last forward().
  [[nodiscard]] S regularization(const Workspace& workspace) const {
    return held_->regularization(workspace);
  }

  /// Calls f(name, values, gradients) for each tensor of the gate; both are Eigen::Ref<Matrix<S>>.
  template <class F>
  void visit_parameters(F&& f) {
    held_->visit_parameters(std::ref(f));
  }

 private:
  using Tensor = Eigen::Ref<Matrix<S>>;
  using Visitor = std::function<void(const ParameterName&, Tensor&, Tensor&)>;

  struct Holder {
    virtual ~Holder() = default;
    [[nodiscard]] virtual std::unique_ptr<Holder> copy() const = 0;
    [[nodiscard]] virtual Index num_experts() const = 0;
    [[nodiscard]] virtual Index max_active() const = 0;
    virtual void route(const In&, Routing<S>&, Workspace&) const = 0;
    virtual void forward(const In&, Routing<S>&, RandomKey, Workspace&) const = 0;
    virtual void backward(const In&, const Routing<S>&, std::span<const S>, MatrixView<S>,
                          Workspace&) = 0;
    [[nodiscard]] virtual S regularization(const Workspace&) const = 0;
    virtual void visit_parameters(const Visitor&) = 0;
  };

  template <class G>
  struct Held final : Holder {
    explicit Held(G g) : gate(std::move(g)) {}

    std::unique_ptr<Holder> copy() const override { return std::make_unique<Held>(gate); }
    Index num_experts() const override { return gate.num_experts(); }
    Index max_active() const override { return gate.max_active(); }

    void route(const In& input, Routing<S>& routing, Workspace& ws) const override {
      gate.route(input, routing, inner(ws));
    }
    void forward(const In& input, Routing<S>& routing, RandomKey key,
                 Workspace& ws) const override {
      if constexpr (TrainableGate<G>) {
        gate.forward(input, routing, key, inner(ws));
      } else {
        gate.route(input, routing, inner(ws));
      }
    }
    void backward(const In& input, const Routing<S>& routing, std::span<const S> dweights,
                  MatrixView<S> dx, Workspace& ws) override {
      if constexpr (TrainableGate<G>)
        gate.backward(input, routing, dweights, std::move(dx), inner(ws));
    }
    S regularization(const Workspace& ws) const override {
      if constexpr (TrainableGate<G>)
        if (const auto* own = std::any_cast<typename G::Workspace>(&ws.inner_))
          return S(gate.regularization(*own));
      return S(0);
    }
    void visit_parameters(const Visitor& f) override {
      if constexpr (Parametric<G>) {
        gate.visit_parameters([&f](const ParameterName& name, auto& values, auto& gradients) {
          Tensor v(values), g(gradients);
          f(name, v, g);
        });
      }
    }

    static typename G::Workspace& inner(Workspace& ws) {
      auto* own = std::any_cast<typename G::Workspace>(&ws.inner_);
      if (own == nullptr) own = &ws.inner_.template emplace<typename G::Workspace>();
      if constexpr (requires { own->pool = ws.pool; }) own->pool = ws.pool;
      return *own;
    }

    G gate;
  };

  std::unique_ptr<Holder> held_;
};

}  // namespace comet
