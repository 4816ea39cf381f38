// SPDX-License-Identifier: MIT
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/thread_pool.hpp>
#include <comet/dispatch/combine.hpp>
#include <comet/experts/bank.hpp>
#include <comet/experts/dense.hpp>
#include <comet/experts/mlp.hpp>

#include <support/catch.hpp>
#include <support/counting_expert.hpp>
#include <support/dense_reference.hpp>
#include <support/fixed_gate.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::CountingExpert;
using comet::test::Load;
using comet::test::random_matrix;

namespace {

template <class S>
std::vector<MlpExpert<S>> mlp_experts(const std::vector<Index>& hidden, Index d, Index m,
                                      double dropout = 0) {
  std::vector<MlpExpert<S>> experts;
  for (std::size_t e = 0; e < hidden.size(); ++e) {
    experts.emplace_back(
        MlpExpertOptions{
            .input_dim = d, .hidden_dim = hidden[e], .output_dim = m, .dropout = dropout},
        RandomKey(40).fold(e));
    // Biases are 0 at the start, which would hide a missing one.
    for (const char* name : {"hidden.bias", "output.bias"}) {
      auto bias = test::parameter(experts.back(), name);
      bias = random_matrix<S>(bias.rows(), 1, 50 + e, -0.3, 0.3);
    }
  }
  return experts;
}

/// A batch on its way through one or more banks of experts of one kind.
template <class E>
struct Run {
  using S = typename E::Scalar;

  const ExpertBank<E>& bank;
  Pass<ExpertBank<E>> pass;

  explicit Run(const ExpertBank<E>& b, ThreadPool* pool = nullptr) : bank(b), pass(b, pool) {}
};

template <class S>
struct Batch {
  Routing<S> routing;
  DispatchPlan plan;
  Matrix<S> x;
  Columns<S> columns, outputs, doutputs, dcolumns;
  AlignedVector<S> dweights;

  Batch(Load load, Index num_experts, Index num_samples, Index d, Index multiple = 1)
      : routing(test::make_routing<S>(load, num_experts, num_samples, RandomKey(3))),
        x(random_matrix<S>(d, num_samples, 4)) {
    plan.build(routing, num_experts, multiple);
    gather(x, plan, columns);
  }

  /// Everything that a pass through banks leaves, forward and backward: mixtures, dx, derivatives
  /// by weights, gradients.
  template <class E>
  std::vector<S> run(std::vector<Run<E>>& runs, const Matrix<S>& dy) {
    for (auto& r : runs) r.bank.forward(plan, columns, outputs, RandomKey(5), r.pass);
    Matrix<S> y(dy.rows(), dy.cols()), dx = Matrix<S>::Zero(x.rows(), x.cols());
    combine(outputs, plan, routing, y);
    spread(dy, plan, routing, outputs, doutputs, dweights);
    for (auto& r : runs) r.bank.backward(plan, columns, outputs, doutputs, dcolumns, r.pass);
    gather_back(dcolumns, plan, dx);
    std::vector<S> all(y.data(), y.data() + y.size());
    all.insert(all.end(), dx.data(), dx.data() + dx.size());
    all.insert(all.end(), dweights.begin(), dweights.end());
    for (auto& r : runs) {
      const auto gradients = test::gradients_of(r.bank, r.pass);
      all.insert(all.end(), gradients.begin(), gradients.end());
    }
    return all;
  }
};

}  // namespace

TEMPLATE_TEST_CASE("experts of unequal sizes in one bank equal the dense computation", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-12 : 1e-5;
  const Index d = 4, m = 3, n = 5, num_samples = 260;
  const ExpertBank bank(mlp_experts<S>({8, 64, 1, 130, 21}, d, m));
  const test::MlpReference<S> reference(bank.experts());
  for (const Load load : {Load::random, Load::skewed, Load::idle, Load::full, Load::empty}) {
    CAPTURE(int(load));
    Batch<S> batch(load, n, num_samples, d);
    const Matrix<S> dy = random_matrix<S>(m, num_samples, 6);
    const Matrix<S> weights = batch.routing.dense(n);
    Pass pass(bank);
    Matrix<S> y(m, num_samples), dx = Matrix<S>::Zero(d, num_samples);
    bank.predict(batch.plan, batch.columns, batch.outputs, pass);
    combine(batch.outputs, batch.plan, batch.routing, y);
    CHECK(test::relative_error(y, reference.forward(batch.x, weights)) <= tolerance);
    bank.forward(batch.plan, batch.columns, batch.outputs, RandomKey(5), pass);
    combine(batch.outputs, batch.plan, batch.routing, y);
    CHECK(test::relative_error(y, reference.forward(batch.x, weights)) <= tolerance);
    spread(dy, batch.plan, batch.routing, batch.outputs, batch.doutputs, batch.dweights);
    bank.backward(batch.plan, batch.columns, batch.outputs, batch.doutputs, batch.dcolumns, pass);
    gather_back(batch.dcolumns, batch.plan, dx);

    const auto expected = reference.backward(batch.x, weights, dy);
    CHECK(test::relative_error(dx, expected.x) <= tolerance);
    for (std::size_t e = 0; e < std::size_t(n); ++e) {
      CAPTURE(e);
      const auto error = [&](const char* name, const Matrix<S>& should) {
        const std::string full = "experts." + std::to_string(e) + "." + name;
        return test::relative_error(test::gradient(bank, pass, full), should);
      };
      CHECK(error("hidden.weight", expected.experts[e].hidden_weight) <= tolerance);
      CHECK(error("hidden.bias", expected.experts[e].hidden_bias) <= tolerance);
      CHECK(error("output.weight", expected.experts[e].output_weight) <= tolerance);
      CHECK(error("output.bias", expected.experts[e].output_bias) <= tolerance);
    }
    // Derivatives by the weights, where the expert was evaluated.
    Routing<S> derivatives = batch.routing;
    std::copy(batch.dweights.begin(), batch.dweights.end(), derivatives.weights().begin());
    const Matrix<S> used = (weights.array() != S(0)).template cast<S>();
    CHECK(test::relative_error(derivatives.dense(n), expected.gate.cwiseProduct(used)) <=
          tolerance);

    // Without the gradient by the columns: the same gradients.
    Pass without(bank);
    bank.forward(batch.plan, batch.columns, batch.outputs, RandomKey(5), without);
    spread(dy, batch.plan, batch.routing, batch.outputs, batch.doutputs, batch.dweights);
    bank.backward(batch.plan, batch.columns, batch.outputs, batch.doutputs, without);
    CHECK(test::same_bits(test::gradients_of(bank, without), test::gradients_of(bank, pass)));
  }
}

TEST_CASE("a bank gives the same bits for any number of threads, experts of unequal sizes too") {
  const Index d = 40, m = 30;
  const ExpertBank bank(mlp_experts<float>({8, 64, 1, 130, 21}, d, m, 0.4));
  for (const Load load : {Load::random, Load::skewed, Load::full}) {
    CAPTURE(int(load));
    Batch<float> batch(load, 5, 700, d);
    const Matrix<float> dy = random_matrix<float>(m, 700, 6);
    std::vector<Run<MlpExpert<float>>> alone;
    alone.emplace_back(bank);
    const auto expected = batch.run(alone, dy);
    for (const Index threads : {1, 2, 4}) {
      CAPTURE(threads);
      ThreadPool pool(threads);
      std::vector<Run<MlpExpert<float>>> together;
      together.emplace_back(bank, &pool);
      CHECK(test::same_bits(batch.run(together, dy), expected));
    }
  }
}

TEST_CASE("blocks that are padding alone change nothing, nor does dropout look at them") {
  const ExpertBank bank(mlp_experts<double>({8, 5, 12}, 6, 4, 0.4));
  const Matrix<double> dy = random_matrix<double>(4, 150, 6);
  const auto results = [&](Index multiple) {
    Batch<double> batch(Load::random, 3, 150, 6, multiple);
    std::vector<Run<MlpExpert<double>>> runs;
    runs.emplace_back(bank);
    return batch.run(runs, dy);
  };
  CHECK(results(1000) == results(1));
}

TEST_CASE("two banks with one plan equal one bank, bit for bit") {
  const Index d = 4, m = 3, num_samples = 90;
  const auto experts = mlp_experts<double>({8, 5, 3, 9, 2, 7}, d, m, 0.3);
  const ExpertBank whole(experts);
  const ExpertBank left(std::vector(experts.begin(), experts.begin() + 2));
  const ExpertBank right(std::vector(experts.begin() + 2, experts.end()), 2);
  CHECK(right.first() == 2);
  CHECK(right.size() == 4);
  const Matrix<double> dy = random_matrix<double>(m, num_samples, 6);
  for (const Load load : {Load::random, Load::idle, Load::full, Load::empty}) {
    CAPTURE(int(load));
    Batch<double> batch(load, 6, num_samples, d);
    std::vector<Run<MlpExpert<double>>> one, two;
    one.emplace_back(whole);
    two.emplace_back(left);
    two.emplace_back(right);
    CHECK(test::same_bits(batch.run(two, dy), batch.run(one, dy)));
  }
}

TEST_CASE("a bank of some of the experts leaves the columns of the others alone") {
  const Index d = 3, m = 2, num_samples = 50, n = 10;
  const ExpertBank bank(mlp_experts<double>({4, 5, 6, 7}, d, m), 4);  // experts 4..7
  Batch<double> batch(Load::random, n, num_samples, d, 4);
  batch.outputs.shape(m, batch.plan).setConstant(9);
  batch.dcolumns.shape(d, batch.plan).setConstant(8);
  Pass pass(bank);
  bank.forward(batch.plan, batch.columns, batch.outputs, RandomKey(1), pass);
  batch.doutputs.shape(m, batch.plan).setConstant(1);
  bank.backward(batch.plan, batch.columns, batch.outputs, batch.doutputs, batch.dcolumns, pass);
  for (Index e = 0; e < n; ++e) {
    CAPTURE(e);
    const Index first = batch.plan.first_column(e), width = batch.plan.padded_count(e);
    const auto y = batch.outputs.matrix().middleCols(first, width);
    const auto dx = batch.dcolumns.matrix().middleCols(first, width);
    if (e < 4 || e > 7) {
      CHECK((y.array() == 9).all());
      CHECK((dx.array() == 8).all());
      continue;
    }
    const auto& expert = bank.experts()[std::size_t(e - 4)];
    Matrix<double> expected(m, width), cache(expert.cache_dim(), width);
    expert.predict(batch.columns.of(batch.plan, e, 0, width), expected, cache);
    CHECK(test::same_bits(y, expected));
    CHECK((dx.array() != 8).all());
  }
}

TEST_CASE("experts whose backward pass is one call take part like others") {
  const Index n = 3, num_samples = 300;
  const auto evaluations = std::make_shared<test::Evaluations>();
  std::vector<CountingExpert<double>> experts;
  for (Index e = 0; e < n; ++e) experts.emplace_back(2, e, evaluations);
  const ExpertBank bank(experts);
  CHECK(bank.column_multiple() == 20);
  Batch<double> batch(Load::random, n, num_samples, 2, bank.column_multiple());
  for (Index b = 0; b < num_samples; ++b) batch.x(0, b) = double(b + 1);
  gather(batch.x, batch.plan, batch.columns);
  const Matrix<double> dy = random_matrix<double>(2, num_samples, 6);
  std::vector<Run<CountingExpert<double>>> alone;
  alone.emplace_back(bank);
  const auto expected = batch.run(alone, dy);
  CHECK(evaluations->backward.size() == std::size_t(batch.plan.num_pairs()));
  for (const auto& [pair, times] : evaluations->backward) CHECK(times == 1);
  ThreadPool pool(4);
  std::vector<Run<CountingExpert<double>>> together;
  together.emplace_back(bank, &pool);
  CHECK(test::same_bits(batch.run(together, dy), expected));
}

TEST_CASE("a bank's backward() follows a forward() of its own and of the same plan, once") {
  const Index d = 3, m = 2, n = 3;
  ExpertBank bank(mlp_experts<double>({4, 5, 6}, d, m));
  const auto copy = bank;
  Batch<double> batch(Load::random, n, 20, d), other(Load::full, n, 20, d);
  other.outputs.shape(m, other.plan);
  other.doutputs.shape(m, other.plan).setZero();
  batch.outputs.shape(m, batch.plan);
  batch.doutputs.shape(m, batch.plan).setOnes();
  Pass pass(bank);
  const auto back = [&](const ExpertBank<MlpExpert<double>>& b, Batch<double>& of) {
    b.backward(of.plan, of.columns, of.outputs, of.doutputs, of.dcolumns, pass);
  };
  const std::string no_forward =
      "comet::ExpertBank::backward: the pass holds no forward(), or a backward() has used it; call "
      "forward() first";
  CHECK_THROWS_WITH(back(bank, batch), no_forward);
  bank.predict(batch.plan, batch.columns, batch.outputs, pass);
  CHECK_THROWS_WITH(back(bank, batch), no_forward);
  bank.forward(batch.plan, batch.columns, batch.outputs, RandomKey(1), pass);
  CHECK_THROWS_WITH(back(copy, batch),
                    "comet::ExpertBank::backward: the pass holds a forward() of another bank");
  CHECK_THROWS_WITH(back(bank, other),
                    "comet::ExpertBank::backward: the pass holds a forward() of another plan");
  for (const double g : test::gradients_of(bank, pass)) CHECK(g == 0.0);
  CHECK_NOTHROW(back(bank, batch));
  CHECK_THROWS_WITH(back(bank, batch), no_forward);
  bank.forward(batch.plan, batch.columns, batch.outputs, RandomKey(1), pass);
  bank = copy;
  CHECK_THROWS_WITH(back(bank, batch),
                    "comet::ExpertBank::backward: the pass holds a forward() of another bank");
}

TEST_CASE("a bank refuses experts and columns that do not fit") {
  using Bank = ExpertBank<DenseExpert<double>>;
  const DenseExpert<double> expert({.input_dim = 3, .output_dim = 2}, RandomKey(0));
  const DenseExpert<double> wide({.input_dim = 4, .output_dim = 2}, RandomKey(0));
  const DenseExpert<double> tall({.input_dim = 3, .output_dim = 5}, RandomKey(0));
  CHECK_THROWS_WITH(Bank({}), "comet::ExpertBank: experts.size() is 0, expected at least 1");
  CHECK_THROWS_WITH(Bank({expert}, -1), "comet::ExpertBank: first is -1, expected at least 0");
  CHECK_THROWS_WITH(
      Bank({expert, wide}),
      "comet::ExpertBank: expert.input_dim() is 4, expected that of the first expert = 3");
  CHECK_THROWS_WITH(
      Bank({expert, tall}),
      "comet::ExpertBank: expert.output_dim() is 5, expected that of the first expert = 2");

  const Bank bank({expert, expert}, 2);  // experts 2 and 3
  Pass pass(bank);
  Batch<double> batch(Load::full, 4, 5, 3), few(Load::full, 3, 5, 3), other(Load::full, 4, 6, 3);
  CHECK_THROWS_WITH(bank.predict(few.plan, few.columns, few.outputs, pass),
                    "comet::ExpertBank::predict: plan.num_experts() is 3, expected at least 4");
  CHECK_THROWS_WITH(
      bank.forward(batch.plan, other.columns, batch.outputs, RandomKey(0), pass),
      "comet::ExpertBank::forward: columns.cols() is 24, expected plan.num_columns() = 20");
  Batch<double> four(Load::full, 4, 5, 4);
  CHECK_THROWS_WITH(bank.forward(four.plan, four.columns, four.outputs, RandomKey(0), pass),
                    "comet::ExpertBank::forward: columns.rows() is 4, expected input_dim = 3");
  bank.forward(batch.plan, batch.columns, batch.outputs, RandomKey(0), pass);
  CHECK_THROWS_WITH(bank.backward(batch.plan, batch.columns, batch.outputs, batch.doutputs, pass),
                    "comet::ExpertBank::backward: doutputs.rows() is 0, expected output_dim = 2");

  // What is written must not be what is read, here where inputs and outputs have one size.
  const ExpertBank square(
      std::vector{DenseExpert<double>({.input_dim = 3, .output_dim = 3}, RandomKey(0))});
  Pass square_pass(square);
  Batch<double> one(Load::full, 1, 5, 3);
  auto& [routing, plan, x, columns, outputs, doutputs, dcolumns, dweights] = one;
  CHECK_THROWS_WITH(square.predict(plan, columns, columns, square_pass),
                    "comet::ExpertBank::predict: outputs are the same object as columns, expected "
                    "another one");
  square.forward(plan, columns, outputs, RandomKey(0), square_pass);
  doutputs.shape(3, plan).setZero();
  const auto same = [](const std::string& a, const std::string& b) {
    return "comet::ExpertBank::backward: " + a + " are the same object as " + b +
           ", expected another one";
  };
  CHECK_THROWS_WITH(square.backward(plan, columns, outputs, doutputs, doutputs, square_pass),
                    same("dcolumns", "doutputs"));
  CHECK_THROWS_WITH(square.backward(plan, columns, outputs, doutputs, outputs, square_pass),
                    same("dcolumns", "outputs"));
  CHECK_THROWS_WITH(square.backward(plan, columns, outputs, doutputs, columns, square_pass),
                    same("dcolumns", "columns"));
  CHECK_THROWS_WITH(square.backward(plan, columns, outputs, outputs, square_pass),
                    same("doutputs", "outputs"));
  CHECK_THROWS_WITH(square.backward(plan, doutputs, outputs, doutputs, square_pass),
                    same("doutputs", "columns"));
  CHECK_NOTHROW(square.backward(plan, columns, outputs, doutputs, dcolumns, square_pass));

  const ExpertBank counting(
      std::vector{CountingExpert<double>(2, 0, std::make_shared<test::Evaluations>())});
  Pass counting_pass(counting);
  Batch<double> unpadded(Load::full, 1, 5, 2);
  CHECK_THROWS_WITH(
      counting.predict(unpadded.plan, unpadded.columns, unpadded.outputs, counting_pass),
      "comet::ExpertBank::predict: the number of columns of expert 0 is 5, expected a multiple of "
      "column_multiple() = 20, which plan.build() has to be told");
}

namespace {

/// y = x, with a cache; tells where the caches lie that it is given.
class CacheTeller {
 public:
  using Scalar = double;
  static constexpr bool independent_columns = true;
  struct Places {
    std::mutex mutex;
    std::set<const double*> seen;
  };

  CacheTeller(Index cache_dim, std::shared_ptr<Places> places)
      : cache_dim_(cache_dim), places_(std::move(places)) {}

  Index input_dim() const { return 2; }
  Index output_dim() const { return 2; }
  Index cache_dim() const { return cache_dim_; }
  double cost() const { return 1e6; }  // worth threads
  void predict(const ConstMatrixView<double>& x, MatrixView<double> y,
               MatrixView<double> cache) const {
    y = x;
    cache.setConstant(x(0, 0));
    if (cache.rows() != cache_dim_ || cache.cols() != x.cols())
      throw std::logic_error("the cache is of another size");
    const std::lock_guard lock(places_->mutex);
    places_->seen.insert(cache.data());
  }
  void forward(const ConstMatrixView<double>& x, MatrixView<double> y, MatrixView<double> cache,
               const TrainingTile&) const {
    predict(x, y, cache);
  }
  void backward(const ConstMatrixView<double>&, const ConstMatrixView<double>&, MatrixView<double>,
                MatrixView<double>, MatrixView<double>, GradientView<double>) const {}
  template <class F>
  void visit(F&&) const {}

 private:
  Index cache_dim_;
  std::shared_ptr<Places> places_;
};

}  // namespace

TEST_CASE("predict() has a cache for each thread, training one for each column") {
  const auto places = std::make_shared<CacheTeller::Places>();
  // Of unequal sizes: the largest has to have room.
  const ExpertBank bank(std::vector{CacheTeller(3, places), CacheTeller(1001, places)});
  Batch<double> batch(Load::full, 2, 1000, 2);  // eight blocks an expert
  for (const Index threads : {1, 2}) {
    ThreadPool pool(threads);
    Pass pass(bank, &pool);
    places->seen.clear();
    bank.predict(batch.plan, batch.columns, batch.outputs, pass);
    CHECK(Index(places->seen.size()) <= threads);
    // A cache line each: bits of sums do not depend on the thread.
    for (const double* place : places->seen)
      CHECK(reinterpret_cast<std::uintptr_t>(place) % 64 ==
            reinterpret_cast<std::uintptr_t>(*places->seen.begin()) % 64);
    places->seen.clear();
    bank.forward(batch.plan, batch.columns, batch.outputs, RandomKey(0), pass);
    CHECK(places->seen.size() == 16);
    for (Index e = 0; e < 2; ++e)
      CHECK(test::same_bits(batch.outputs.matrix().middleCols(1000 * e, 1000), batch.x));
  }
}

TEST_CASE("a bank's tensors are those of its experts") {
  const ExpertBank bank(mlp_experts<float>({4, 5}, 3, 2));
  std::vector<std::string> names;
  for_each_parameter(bank,
                     [&](const ParameterName& name, const auto&) { names.push_back(name.str()); });
  REQUIRE(names.size() == 8);
  CHECK(names[0] == "experts.0.hidden.weight");
  CHECK(names[7] == "experts.1.output.bias");
  CHECK(bank.input_dim() == 3);
  CHECK(bank.output_dim() == 2);
  CHECK(bank.first() == 0);
}

namespace {

/// Derivatives by columns and outputs have columns of their own; those by columns go straight to
/// the samples; those by outputs, too, are made where they are wanted.
enum class Way { gathered, by_samples, by_mixtures };

/// What each form of the backward pass gives: the gradients by the samples, the parameters and the
/// weights.
template <class E>
std::vector<std::vector<typename E::Scalar>> all_ways_back(const ExpertBank<E>& bank,
                                                           Batch<typename E::Scalar>& batch,
                                                           ThreadPool* pool) {
  using S = typename E::Scalar;
  const Matrix<S> dy = random_matrix<S>(bank.output_dim(), batch.x.cols(), 6);
  std::vector<std::vector<S>> results;
  for (const Way way : {Way::gathered, Way::by_samples, Way::by_mixtures}) {
    Pass pass(bank, pool);
    Columns<S> columns;
    if (way == Way::gathered) {
      gather(batch.x, batch.plan, columns);
    } else {
      columns.leave_in(batch.x, batch.plan);
    }
    Matrix<S> dx = random_matrix<S>(batch.x.rows(), batch.x.cols(), 8);  // added to
    for (int twice = 0; twice < 2; ++twice) {
      bank.forward(batch.plan, columns, batch.outputs, RandomKey(5), pass);
      if (way == Way::by_mixtures) {
        const MixtureDerivatives mixture(dy, batch.plan, batch.routing, batch.dweights);
        bank.backward(batch.plan, columns, batch.outputs, mixture, dx, pass);
        continue;
      }
      spread(dy, batch.plan, batch.routing, batch.outputs, batch.doutputs, batch.dweights);
      if (way == Way::by_samples) {
        bank.backward(batch.plan, columns, batch.outputs, batch.doutputs, dx, pass);
      } else {
        bank.backward(batch.plan, columns, batch.outputs, batch.doutputs, batch.dcolumns, pass);
        gather_back(batch.dcolumns, batch.plan, dx);
      }
    }
    results.emplace_back(dx.data(), dx.data() + dx.size());
    const auto gradients = test::gradients_of(bank, pass);
    results.back().insert(results.back().end(), gradients.begin(), gradients.end());
    results.back().insert(results.back().end(), batch.dweights.begin(), batch.dweights.end());
  }
  return results;
}

}  // namespace

TEST_CASE(
    "derivatives by the samples are those of spread() and gather_back(), on any number of "
    "threads") {
  const ExpertBank bank(mlp_experts<float>({8, 64, 1, 130, 21}, 40, 30, 0.4));
  const auto evaluations = std::make_shared<test::Evaluations>();
  std::vector<CountingExpert<double>> counting;
  for (Index e = 0; e < 5; ++e) counting.emplace_back(2, e, evaluations);
  const ExpertBank whole(counting);  // a backward pass that is one call, and padding
  for (const Load load : {Load::random, Load::skewed, Load::idle, Load::full, Load::empty})
    for (const Index threads : {1, 2, 4}) {
      CAPTURE(int(load), threads);
      ThreadPool pool(threads);
      Batch<float> batch(load, 5, 700, 40);
      const auto results = all_ways_back(bank, batch, &pool);
      CHECK(test::same_bits(results[0], results[1]));
      CHECK(test::same_bits(results[0], results[2]));
      Batch<double> padded(load, 5, 300, 2, whole.column_multiple());
      for (Index b = 0; b < 300; ++b) padded.x(0, b) = double(b + 1);
      const auto others = all_ways_back(whole, padded, &pool);
      CHECK(test::same_bits(others[0], others[1]));
      CHECK(test::same_bits(others[0], others[2]));
    }
}

TEST_CASE("a gradient by the samples that does not fit is refused") {
  const ExpertBank bank(mlp_experts<double>({4, 5, 6}, 3, 2));
  Batch<double> batch(Load::random, 3, 20, 3);
  Pass pass(bank);
  bank.forward(batch.plan, batch.columns, batch.outputs, RandomKey(1), pass);
  batch.doutputs.shape(2, batch.plan).setOnes();
  Matrix<double> tall(4, 20), wide(3, 21);
  const auto back = [&](Matrix<double>& dx) {
    bank.backward(batch.plan, batch.columns, batch.outputs, batch.doutputs, dx, pass);
  };
  CHECK_THROWS_WITH(back(tall),
                    "comet::ExpertBank::backward: dx.rows() is 4, expected input_dim = 3");
  CHECK_THROWS_WITH(
      back(wide), "comet::ExpertBank::backward: dx.cols() is 21, expected plan.num_samples() = 20");
  const Matrix<double> dy = Matrix<double>::Ones(5, 20);
  const MixtureDerivatives mixture(dy, batch.plan, batch.routing, batch.dweights);
  CHECK_THROWS_WITH(
      bank.backward(batch.plan, batch.columns, batch.outputs, mixture, no_gradient, pass),
      "comet::ExpertBank::backward: dy.rows() is 5, expected output_dim = 2");
  Batch<double> other(Load::full, 3, 20, 3);
  const Matrix<double> narrow = Matrix<double>::Ones(2, 20);
  const MixtureDerivatives elsewhere(narrow, other.plan, other.routing, other.dweights);
  CHECK_THROWS_WITH(
      bank.backward(batch.plan, batch.columns, batch.outputs, elsewhere, no_gradient, pass),
      "comet::ExpertBank::backward: columns of the mixture's plan is 60, expected "
      "plan.num_columns() = " +
          std::to_string(batch.plan.num_columns()));
}
