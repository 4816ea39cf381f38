// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/make_parts.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/dispatch/blocks.hpp>
#include <comet/dispatch/padding.hpp>
#include <comet/dispatch/plan.hpp>
#include <comet/kernels/affine.hpp>
#include <comet/kernels/dots.hpp>

namespace comet {

/// \brief A mixture of shared experts with one gate per task, evaluated only where a weight is
/// not 0.
///
///     y_t(:, b) = sum_i g_t(i, b) f_i(x(:, b))        for tasks t = 0..T-1
///
/// Legend: B samples, d features, n experts, m outputs of an expert, T tasks. Outputs of all tasks
/// are one m x (T B) matrix: task t has columns t B .. (t+1) B - 1.
///
/// A pair (expert, sample) with weight 0 in every task is not evaluated, forward or backward; one
/// that several tasks use is evaluated once. Outputs and gradients equal those of evaluating every
/// expert for every sample, to rounding, whatever the routing: rows may be empty or full.
///
/// Samples are gathered per expert (counting sort), experts run on blocks of columns, padded if
/// they need it, and every sum over experts runs in ascending order of the expert. So results are
/// the same bits for any number of threads, and in predict() a sample's bits do not depend on its
/// batch. An expert that serves the whole batch reads x as it stands, without a gather.
///
/// \par Cost     experts: d m multiply-adds per active pair (dense expert), twice that backward;
///               scratch: (d + m) scalars per active pair, twice that in training
/// \par Threads  predict() and forward() are const; one Workspace per calling thread. A
///               Workspace's pool spreads one call over its threads.
/// \tparam G     a Gate; to train, a TrainableGate or a gate without parameters
/// \tparam E     an Expert
template <class G, class E>
class MoeLayer {
  static_assert(
      Gate<G>,
      "comet::MoeLayer: the first argument is not a Gate: it needs Scalar, Input, "
      "Workspace, num_experts(), max_active() and route(input, routing, workspace) const; "
      "see concepts.hpp");
  static_assert(Expert<E>,
                "comet::MoeLayer: the second argument is not an Expert: it needs Scalar, "
                "input_dim(), output_dim(), cache_dim(), predict, forward, visit_parameters and a "
                "backward pass; see concepts.hpp");
  static_assert(std::same_as<typename G::Scalar, typename E::Scalar>,
                "comet::MoeLayer: gate and expert have different scalar types");

 public:
  using Scalar = typename G::Scalar;  ///< float or double.
  using S = Scalar;                   ///< Short for Scalar.
  /// What the gates look at.
  using GateInput = typename G::Input;
  class Workspace;

  /// \param gates    one per task, T >= 1, all for the same number of experts
  /// \param experts  n >= 1, all of the same dimensions
  /// \throws std::invalid_argument if the parts do not fit together
  MoeLayer(std::vector<G> gates, std::vector<E> experts)
      : gates_(std::move(gates)), experts_(std::move(experts)) {
    constexpr const char* where = "MoeLayer";
    detail::check_at_least(where, "gates.size()", Index(gates_.size()), 1);
    detail::check_at_least(where, "experts.size()", Index(experts_.size()), 1);
    for (const G& gate : gates_)
      detail::check_equal(where, "gate.num_experts()", gate.num_experts(), "experts.size()",
                          num_experts());
    for (const E& expert : experts_) {
      detail::check_equal(where, "expert.input_dim()", expert.input_dim(),
                          "that of the first expert", input_dim());
      detail::check_equal(where, "expert.output_dim()", expert.output_dim(),
                          "that of the first expert", output_dim());
    }
  }

  /// Number of tasks T.
  [[nodiscard]] Index num_tasks() const noexcept { return Index(gates_.size()); }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return Index(experts_.size()); }
  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return experts_.front().input_dim(); }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const noexcept { return experts_.front().output_dim(); }
  /// One per task.
  [[nodiscard]] const std::vector<G>& gates() const noexcept { return gates_; }
  /// One per task.
  [[nodiscard]] std::vector<G>& gates() noexcept { return gates_; }
  /// The experts, n of them.
  [[nodiscard]] const std::vector<E>& experts() const noexcept { return experts_; }
  /// The experts, n of them.
  [[nodiscard]] std::vector<E>& experts() noexcept { return experts_; }

  /// \brief y = the mixtures of all tasks, without dropout or noise.
  /// \param x  d x B    \param y  m x (T B), overwritten
  /// \throws std::invalid_argument if a shape does not fit or x is not finite
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y,
               Workspace& workspace) const requires std::same_as<GateInput, ConstMatrixView<S>> {
    predict(x, x, std::move(y), workspace);
  }
  /// \brief The same for gates that look at something else than the experts: ids, or features of
  /// their own.
  void predict(const ConstMatrixView<S>& x, const GateInput& gate_input, MatrixView<S> y,
               Workspace& workspace) const {
    constexpr const char* where = "MoeLayer::predict";
    check_shapes(where, x, y, "y");
    workspace.start(*this);
    for (std::size_t t = 0; t < gates_.size(); ++t)
      gates_[t].route(gate_input, workspace.routings_[t], workspace.gates_[t]);
    mix(where, x, y, workspace, nullptr);
  }

  /// \brief predict() in training: with dropout and noise drawn from `key`, leaving in the
  /// workspace what backward() needs.
  /// \param key  of this step, e.g. RandomKey(seed).fold(step)
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, RandomKey key,
               Workspace& workspace) const requires std::same_as<GateInput, ConstMatrixView<S>> {
    forward(x, x, std::move(y), key, workspace);
  }
  /// \brief The same for gates that look at something else than the experts.
  void forward(const ConstMatrixView<S>& x, const GateInput& gate_input, MatrixView<S> y,
               RandomKey key, Workspace& workspace) const {
    static_assert(TrainableGate<G> || !Parametric<G>,
                  "comet::MoeLayer::forward: this gate has parameters but cannot be trained: it "
                  "needs forward(input, routing, key, workspace) const, backward(input, routing, "
                  "dweights, dx, workspace) and regularization(workspace) const");
    constexpr const char* where = "MoeLayer::forward";
    check_shapes(where, x, y, "y");
    workspace.start(*this);
    for (std::size_t t = 0; t < gates_.size(); ++t) {
      if constexpr (TrainableGate<G>) {
        gates_[t].forward(gate_input, workspace.routings_[t], key.fold(0).fold(t),
                          workspace.gates_[t]);
      } else {
        gates_[t].route(gate_input, workspace.routings_[t], workspace.gates_[t]);
      }
    }
    const RandomKey expert_key = key.fold(1);
    mix(where, x, y, workspace, &expert_key);
    workspace.num_samples_ = x.cols();
  }

  /// \brief Adds the gradients of sum(dy . y) + regularization() of the last forward().
  /// \param x   d x B, as in forward()
  /// \param dy  m x (T B)
  /// \param dx  d x B, added to; an empty matrix if it is not wanted, which saves its cost
  /// \throws std::invalid_argument if the workspace holds no forward() of this batch
  void backward(const ConstMatrixView<S>& x, const ConstMatrixView<S>& dy, MatrixView<S> dx,
                Workspace& workspace) requires std::same_as<GateInput, ConstMatrixView<S>> {
    backward_experts(x, dy, dx, workspace);
    if constexpr (TrainableGate<G>) backward_gates(x, dx, workspace);
  }
  /// \brief The same without the gradient by x, which saves its cost.
  void backward(const ConstMatrixView<S>& x, const ConstMatrixView<S>& dy,
                Workspace& workspace) requires std::same_as<GateInput, ConstMatrixView<S>> {
    Matrix<S> none;
    backward(x, dy, none, workspace);
  }
  /// \param dgate_input  added to; an empty matrix if not wanted or if the input is ids
  void backward(const ConstMatrixView<S>& x, const GateInput& gate_input,
                const ConstMatrixView<S>& dy, MatrixView<S> dx, MatrixView<S> dgate_input,
                Workspace& workspace) {
    backward_experts(x, dy, dx, workspace);
    if constexpr (TrainableGate<G>) backward_gates(gate_input, dgate_input, workspace);
  }

  /// \brief Sum of the gates' penalties in the last forward(): part of the loss.
  [[nodiscard]] S regularization(const Workspace& workspace) const {
    S sum = 0;
    if constexpr (TrainableGate<G>)
      for (std::size_t t = 0; t < gates_.size(); ++t)
        sum += gates_[t].regularization(workspace.gates_[t]);
    return sum;
  }

  /// Calls f(name, values, gradients) for each tensor, always in the same order.
  template <class F>
  void visit_parameters(F&& f) {
    visit_parts("experts", experts_, f);
    if constexpr (Parametric<G>) visit_parts("gates", gates_, f);
  }

 private:
  /// Columns per block: wide enough to read the weights seldom, narrow enough to share out. Any
  /// multiple of column_multiple gives the same bits.
  static constexpr Index block_columns = 128;
  static constexpr Index samples_per_chunk = 64;

  void check_shapes(std::string_view where, const ConstMatrixView<S>& x,
                    const ConstMatrixView<S>& y, std::string_view y_name) const {
    detail::check_equal(where, "x.rows()", x.rows(), "input_dim", input_dim());
    detail::check_equal(where, std::string(y_name) + ".rows()", y.rows(), "output_dim",
                        output_dim());
    detail::check_equal(where, std::string(y_name) + ".cols()", y.cols(), "num_tasks * x.cols()",
                        num_tasks() * x.cols());
  }

  ThreadPool* threads_for(const Workspace& ws) const {
    return detail::worth_threads(
        ws.pool, double(ws.plan_.num_columns()) * double(input_dim()) * double(output_dim()));
  }

  void mix(std::string_view where, const ConstMatrixView<S>& x, MatrixView<S>& y, Workspace& ws,
           const RandomKey* expert_key) const;
  void combine(MatrixView<S>& y, Workspace& ws) const;
  void backward_experts(const ConstMatrixView<S>& x, const ConstMatrixView<S>& dy,
                        MatrixView<S>& dx, Workspace& ws);
  void backward_gates(const GateInput& input, MatrixView<S>& dx, Workspace& ws) {
    for (std::size_t t = 0; t < gates_.size(); ++t)
      gates_[t].backward(input, ws.routings_[t], std::span<const S>(ws.dweights_[t]), dx,
                         ws.gates_[t]);
  }

  std::vector<G> gates_;    // T
  std::vector<E> experts_;  // n
};

/// \brief Scratch of a MoeLayer and, after forward() or predict(), the routings that were used.
template <class G, class E>
class MoeLayer<G, E>::Workspace {
 public:
  Workspace() = default;
  /// \param threads  not owned, may be null: everything then runs in the calling thread
  explicit Workspace(ThreadPool* threads) : pool(threads) {}

  /// Weights of the last batch, of one task.
  [[nodiscard]] const Routing<S>& routing(Index task) const { return routings_[std::size_t(task)]; }
  /// Pairs of the last batch that were evaluated.
  [[nodiscard]] const DispatchPlan& plan() const { return plan_; }

  ThreadPool* pool = nullptr;  ///< Not owned; none runs everything in the calling thread.

 private:
  friend class MoeLayer;

  void start(const MoeLayer& layer) {
    num_samples_ = -1;
    const auto tasks = std::size_t(layer.num_tasks());
    gates_.resize(tasks);
    routings_.resize(tasks);
    dweights_.resize(tasks);
    for (auto& gate : gates_)
      if constexpr (requires { gate.pool = pool; }) gate.pool = pool;
  }

  /// An expert that serves every sample reads x itself.
  [[nodiscard]] bool serves_all(Index expert) const {
    return plan_.count(expert) == plan_.num_samples();
  }

  [[nodiscard]] bool reads_x(const detail::Block& block) const {
    return serves_all(block.expert) && block.first + block.width <= plan_.num_samples();
  }

  std::vector<typename G::Workspace> gates_;        // T
  std::vector<Routing<S>> routings_;                // T
  std::vector<detail::AlignedVector<S>> dweights_;  // T, one per entry
  DispatchPlan plan_;
  std::vector<detail::Block> blocks_;
  detail::Buffer<S> inputs_;           // d x columns: gathered samples
  detail::Buffer<S> outputs_;          // m x columns
  detail::Buffer<S> cache_;            // cache_dim x columns
  detail::Buffer<S> doutputs_;         // m x columns
  detail::Buffer<S> dinputs_;          // d x columns
  detail::Buffer<S> column_weights_;   // T x columns
  detail::Buffer<S> column_dweights_;  // T x columns
  Index num_samples_ = -1;             // of the forward() that backward() may follow
};

template <class G, class E>
void MoeLayer<G, E>::mix(std::string_view where, const ConstMatrixView<S>& x, MatrixView<S>& y,
                         Workspace& ws, const RandomKey* expert_key) const {
  detail::check_finite(where, "x", x);
  for (const Routing<S>& routing : ws.routings_) routing.validate(where, num_experts(), x.cols());
  const Index d = input_dim();
  const Index multiple = detail::column_multiple(experts_.front());
  ws.plan_.build(std::span<const Routing<S>>(ws.routings_), num_experts(), x.cols(), multiple);
  detail::cut_blocks(ws.plan_, block_columns, multiple, ws.blocks_);
  const Index columns = ws.plan_.num_columns();
  auto inputs = ws.inputs_.shape(d, columns);
  auto outputs = ws.outputs_.shape(output_dim(), columns);
  auto cache = ws.cache_.shape(experts_.front().cache_dim(), columns);

  parallel_for(threads_for(ws), Index(ws.blocks_.size()), [&](Index task, Index) {
    const auto& block = ws.blocks_[std::size_t(task)];
    const E& expert = experts_[std::size_t(block.expert)];
    const Index column = ws.plan_.first_column(block.expert) + block.first;
    const auto all = ws.plan_.samples(block.expert);
    const auto samples =
        all.subspan(std::size_t(block.first),
                    std::size_t(std::min(block.width, Index(all.size()) - block.first)));
    auto y_block = outputs.middleCols(column, block.width);
    auto cache_block = cache.middleCols(column, block.width);
    const auto run = [&](const ConstMatrixView<S>& x_block) {
      if (expert_key == nullptr) {
        expert.predict(x_block, y_block, cache_block);
      } else {
        const TrainingTile tile{expert_key->fold(std::uint64_t(block.expert)), samples};
        expert.forward(x_block, y_block, cache_block, tile);
      }
    };
    if (ws.reads_x(block)) {
      run(x.middleCols(block.first, block.width));
    } else {
      auto gathered = inputs.middleCols(column, block.width);
      for (std::size_t i = 0; i < samples.size(); ++i) gathered.col(Index(i)) = x.col(samples[i]);
      gathered.rightCols(block.width - Index(samples.size())).setZero();
      run(gathered);
    }
  });
  combine(y, ws);
}

template <class G, class E>
void MoeLayer<G, E>::combine(MatrixView<S>& y, Workspace& ws) const {
  const Index num_samples = ws.plan_.num_samples();
  const Index m = output_dim();
  const auto outputs = ws.outputs_.matrix();
  const Index chunks = (num_samples + samples_per_chunk - 1) / samples_per_chunk;
  parallel_for(threads_for(ws), chunks * num_tasks(), [&](Index task, Index) {
    const Index t = task / chunks;
    const Routing<S>& routing = ws.routings_[std::size_t(t)];
    const auto entry_columns = ws.plan_.entry_columns(t);
    const Index first = task % chunks * samples_per_chunk;
    const Index last = std::min(first + samples_per_chunk, num_samples);
    S weights[8];
    const S* vectors[8];
    for (Index b = first; b < last; ++b) {
      auto sum = y.col(t * num_samples + b);
      sum.setZero();
      Index count = 0;
      const auto flush = [&] {
        detail::add_scaled(sum.data(), m, weights, vectors, count);
        count = 0;
      };
      for (auto i = routing.offsets()[std::size_t(b)]; i < routing.offsets()[std::size_t(b) + 1];
           ++i) {
        const std::int32_t column = entry_columns[std::size_t(i)];
        if (column == DispatchPlan::no_column) continue;
        weights[count] = routing.weights()[std::size_t(i)];
        vectors[count] = outputs.col(column).data();
        if (++count == 8) flush();
      }
      flush();
    }
  });
}

template <class G, class E>
void MoeLayer<G, E>::backward_experts(const ConstMatrixView<S>& x, const ConstMatrixView<S>& dy,
                                      MatrixView<S>& dx, Workspace& ws) {
  constexpr const char* where = "MoeLayer::backward";
  if (ws.num_samples_ < 0) detail::raise(where, "the workspace holds no forward(); call it first");
  detail::check_equal(where, "x.cols()", x.cols(), "samples of the last forward()",
                      ws.num_samples_);
  check_shapes(where, x, dy, "dy");
  detail::check_input_gradient(where, dx, x);
  const bool wants_dx = dx.size() > 0;
  const DispatchPlan& plan = ws.plan_;
  const Index num_samples = x.cols();
  const Index columns = plan.num_columns();
  const auto inputs = ws.inputs_.matrix();
  const auto outputs = ws.outputs_.matrix();
  auto cache = ws.cache_.matrix();
  auto doutputs = ws.doutputs_.shape(output_dim(), columns);
  auto dinputs = ws.dinputs_.shape(wants_dx ? input_dim() : 0, wants_dx ? columns : 0);
  auto column_weights = ws.column_weights_.shape(num_tasks(), columns);
  auto column_dweights = ws.column_dweights_.shape(num_tasks(), columns);
  column_weights.setZero();
  for (Index t = 0; t < num_tasks(); ++t) {
    const auto entry_columns = plan.entry_columns(t);
    const auto weights = ws.routings_[std::size_t(t)].weights();
    for (std::size_t i = 0; i < weights.size(); ++i)
      if (entry_columns[i] != DispatchPlan::no_column)
        column_weights(t, entry_columns[i]) = weights[i];
  }
  ThreadPool* pool = threads_for(ws);
  const auto none = [] { return MatrixView<S>(Eigen::Map<Matrix<S>>(nullptr, 0, 0)); };

  // Per block: derivatives by the outputs and by the weights, then back through the expert.
  parallel_for(pool, Index(ws.blocks_.size()), [&](Index task, Index) {
    const auto& block = ws.blocks_[std::size_t(task)];
    const Index column = plan.first_column(block.expert) + block.first;
    const auto samples = plan.samples(block.expert);
    for (Index i = 0; i < block.width; ++i) {
      auto doutput = doutputs.col(column + i);
      if (block.first + i >= Index(samples.size())) {  // padding
        doutput.setZero();
        continue;
      }
      const SampleId sample = samples[std::size_t(block.first + i)];
      bool first = true;
      for (Index t = 0; t < num_tasks(); ++t) {
        const S weight = column_weights(t, column + i);
        if (weight == S(0)) continue;
        const auto dy_sample = dy.col(t * num_samples + sample);
        if (first) {
          doutput = weight * dy_sample;
        } else {
          doutput += weight * dy_sample;
        }
        first = false;
        column_dweights(t, column + i) = dy_sample.dot(outputs.col(column + i));
      }
    }
    if constexpr (SplitBackwardExpert<E>) {
      const E& expert = experts_[std::size_t(block.expert)];
      auto doutput_block = doutputs.middleCols(column, block.width);
      const auto output_block = outputs.middleCols(column, block.width);
      auto cache_block = cache.middleCols(column, block.width);
      const auto run = [&](const ConstMatrixView<S>& x_block) {
        if (wants_dx) {
          expert.backward_columns(x_block, output_block, cache_block, doutput_block,
                                  dinputs.middleCols(column, block.width));
        } else {
          expert.backward_columns(x_block, output_block, cache_block, doutput_block, none());
        }
      };
      if (ws.reads_x(block)) {
        run(x.middleCols(block.first, block.width));
      } else {
        run(inputs.middleCols(column, block.width));
      }
    }
  });

  // Parameters: per expert over all of its samples, in their order.
  const auto with_columns_of = [&](Index e, auto&& use) {
    const Index first = plan.first_column(e);
    const Index count = plan.count(e);
    if (ws.serves_all(e)) {
      use(ConstMatrixView<S>(x), first, count);
    } else {
      use(ConstMatrixView<S>(inputs.middleCols(first, count)), first, count);
    }
  };
  const Index n = num_experts();
  if constexpr (SplitBackwardExpert<E>) {
    const Index slices = experts_.front().num_slices();
    parallel_for(pool, n * slices, [&](Index task, Index) {
      const Index e = task / slices;
      if (plan.count(e) == 0) return;
      with_columns_of(e, [&](const ConstMatrixView<S>& x_e, Index first, Index count) {
        experts_[std::size_t(e)].accumulate_gradients(
            x_e, cache.middleCols(first, count), doutputs.middleCols(first, count), task % slices);
      });
    });
  } else {
    parallel_for(pool, n, [&](Index e, Index) {
      if (plan.count(e) == 0) return;
      with_columns_of(e, [&](const ConstMatrixView<S>& x_e, Index first, Index count) {
        if (wants_dx) {
          experts_[std::size_t(e)].backward(
              x_e, outputs.middleCols(first, count), cache.middleCols(first, count),
              doutputs.middleCols(first, count), dinputs.middleCols(first, count));
        } else {
          experts_[std::size_t(e)].backward(x_e, outputs.middleCols(first, count),
                                            cache.middleCols(first, count),
                                            doutputs.middleCols(first, count), none());
        }
      });
    });
  }

  if (wants_dx) {
    const Index chunks = (num_samples + samples_per_chunk - 1) / samples_per_chunk;
    parallel_for(pool, chunks, [&](Index chunk, Index) {
      const Index last = std::min((chunk + 1) * samples_per_chunk, num_samples);
      for (Index b = chunk * samples_per_chunk; b < last; ++b)
        for (const std::int32_t column : plan.columns(b)) dx.col(b) += dinputs.col(column);
    });
  }
  for (Index t = 0; t < num_tasks(); ++t) {
    const auto entry_columns = plan.entry_columns(t);
    auto& dweights = ws.dweights_[std::size_t(t)];
    dweights.resize(entry_columns.size());
    for (std::size_t i = 0; i < entry_columns.size(); ++i)
      dweights[i] =
          entry_columns[i] == DispatchPlan::no_column ? S(0) : column_dweights(t, entry_columns[i]);
  }
}

}  // namespace comet
