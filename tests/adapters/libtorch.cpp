// SPDX-License-Identifier: MIT
// Torch first: both it and Catch2 have a macro CHECK, and Catch2's is the one that is meant.
#include <torch/torch.h>
#undef CHECK
#include <support/catch.hpp>

#include <unistd.h>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/adapters/libtorch.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/balanced_top_k.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/local_search/permutation_search.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/sgd.hpp>

using namespace comet;
using torch::Tensor;

namespace {

constexpr Index d = 3, m = 2, n = 4, batch = 6;
const RandomKey key(1), draws(7);

template <class S>
using Layer = MoeLayer<PermutedGate<AnyGate<S>>, MlpExpert<S>>;

template <class S>
std::vector<MlpExpert<S>> experts(RandomKey place = key) {
  return make_experts<MlpExpert<S>>(
      n, {.input_dim = d, .hidden_dim = 5, .output_dim = m, .activation = Activation::gelu},
      place.fold(0));
}
template <class S, class G>
Layer<S> layer_of(const std::vector<G>& gates, RandomKey place = key) {
  std::vector<PermutedGate<AnyGate<S>>> permuted;
  for (const G& gate : gates) {
    permuted.emplace_back(AnyGate<S>(gate));
    permuted.back().set_permutation(Permutation({2, 0, 3, 1}));
  }
  return {std::move(permuted), experts<S>(place)};
}
template <class S>
CometGate<S> comet_gate(double entropy = .3, std::uint64_t place = 1) {
  return {{.input_dim = d, .num_experts = n, .k = 2, .gamma = 3.0, .entropy = entropy},
          key.fold(place)};
}
template <class S>
Layer<S> comet_layer(double entropy = .3) {
  return layer_of<S>(std::vector{comet_gate<S>(entropy)});
}
/// Top-k with noise, experts with dropout: what draws random numbers.
template <class S>
Layer<S> noisy_layer() {
  const TopKGate<S> gate({.input_dim = d, .num_experts = n, .k = 2, .noise = true}, key);
  return {{PermutedGate(AnyGate<S>(gate))},
          make_experts<MlpExpert<S>>(
              n, {.input_dim = d, .hidden_dim = 5, .output_dim = m, .dropout = .5}, key)};
}
template <class S>
Layer<S> balanced_layer(RandomKey place = key) {
  return layer_of<S>(std::vector{BalancedTopKGate<S>(
                         {.input_dim = d, .num_experts = n, .k = 2, .rate = .5}, place)},
                     place);
}

template <class S>
torch::TensorOptions options() {
  return torch::TensorOptions(comet::detail::torch_dtype<S>);
}
template <class S>
Tensor numbers(std::vector<std::int64_t> sizes, std::uint64_t place) {
  Tensor result = torch::empty(sizes, options<S>());
  Eigen::Map<Matrix<S>> values(result.data_ptr<S>(), 1, result.numel());
  key.fold(100).fold(place).fill_uniform(values, -1, 1);
  return result;
}
template <class S>
bool same_bits(const Tensor& tensor, const Matrix<S>& values) {
  return tensor.numel() == values.size() &&
         std::memcmp(tensor.contiguous().data_ptr<S>(), values.data(),
                     std::size_t(values.size()) * sizeof(S)) == 0;
}
bool same(const Tensor& a, const Tensor& b) { return torch::equal(a, b); }
std::vector<Tensor> gradients(TorchMoe moe) {
  std::vector<Tensor> result;
  for (const auto& p : moe->parameters())
    result.push_back(p.grad().defined() ? p.grad().clone() : Tensor());
  return result;
}
template <class L>
TorchMoeLayer<L>& in(TorchMoe moe) {
  return *moe->as<TorchMoeLayer<L>>();
}
using Double = Layer<double>;

/// A module against its layer alone: outputs, penalty, dx, gradients, to the bit.
template <class S, class L>
void compare_with_layer(const L& layer, const std::vector<std::int32_t>& ids = {},
                        const std::vector<std::uint8_t>& mask = {}) {
  TorchMoe moe = make_torch_moe(layer, {.key = draws, .threads = 2});
  const Index tasks = layer.num_tasks();
  const Tensor id = ids.empty() ? Tensor() : torch::tensor(ids, torch::kInt);
  const Tensor live =
      mask.empty() ? Tensor() : torch::tensor(std::vector<int>(mask.begin(), mask.end())) == 1;
  for (int step = 0; step < 2; ++step) {
    const Tensor x = numbers<S>({batch, d}, std::uint64_t(step)).requires_grad_();
    const Tensor dy = tasks == 1 ? numbers<S>({batch, m}, 9) : numbers<S>({tasks, batch, m}, 9);
    const Tensor y = moe->forward(x, id, live);
    const Tensor penalty = moe->regularization();
    REQUIRE(y.sizes() == dy.sizes());
    moe->zero_grad(true);
    ((y * dy).sum() + penalty).backward();

    const Eigen::Map<Matrix<S>> xs(x.data_ptr<S>(), d, batch);
    const Eigen::Map<Matrix<S>> dys(dy.data_ptr<S>(), m, tasks * batch);
    Matrix<S> ys(m, tasks * batch), dx = Matrix<S>::Zero(d, batch);
    const Samples<S> samples(xs, ids, mask);
    Pass pass(layer);
    layer.forward(samples, ys, draws.fold(step), pass);
    CHECK(same_bits<S>(y, ys));
    CHECK(penalty.item<double>() == double(layer.regularization(pass)));
    layer.backward(samples, dys, dx, pass);
    CHECK(same_bits<S>(x.grad(), dx));
    Index i = 0;
    const auto tensors = moe->named_parameters();
    for_each_parameter(layer, [&](const ParameterName& name, const auto&) {
      INFO(name.str());
      CHECK(same_bits<S>(tensors[name.str()].grad(), Matrix<S>(pass.gradients(layer)[i++])));
    });
    REQUIRE(std::size_t(i) == tensors.size());

    moe->eval();
    const torch::NoGradGuard off;
    layer.predict(samples, ys, pass);
    CHECK(same_bits<S>(moe->forward(x, id, live), ys));
    CHECK(moe->regularization().item<double>() == 0);
    moe->train();
  }
}

}  // namespace

TEST_CASE("a module has the bits of its layer") {
  compare_with_layer<double>(comet_layer<double>());
  compare_with_layer<float>(comet_layer<float>());
  compare_with_layer<double>(noisy_layer<double>());
  compare_with_layer<double>(comet_layer<double>(), {}, {1, 0, 1, 1, 0, 1});
  SECTION("of several tasks") {
    compare_with_layer<double>(
        layer_of<double>(std::vector{comet_gate<double>(.3, 1), comet_gate<double>(.1, 2)}));
  }
  SECTION("of a gate without parameters") {
    const HashGate<float> hash({.num_experts = n, .num_ids = 9}, key);
    compare_with_layer<float>(layer_of<float>(std::vector{hash}), {0, 8, 3, 3, 1, 5});
    compare_with_layer<float>(layer_of<float>(std::vector{hash}), {0, 8, 3, 3, 1, 5},
                              {1, 1, 0, 1, 1, 0});
  }
  SECTION("of types known when it is compiled") {
    compare_with_layer<double>(
        MoeLayer(comet_gate<double>(),
                 make_experts<DenseExpert<double>>(n, {.input_dim = d, .output_dim = m}, key)));
  }
}

TEST_CASE("gradients are those of differences, whatever the weight of the penalty") {
  TorchMoe moe = make_torch_moe(comet_layer<double>());
  const Tensor x = numbers<double>({batch, d}, 1).requires_grad_(),
               w = numbers<double>({batch, m}, 2);
  const double weight = GENERATE(0.0, 1.0, .25, -3.0);
  const double of_y = GENERATE(1.0, 0.0);
  const auto loss = [&] {
    Tensor sum = of_y * (moe->forward(x) * w).sum();
    return sum + weight * moe->regularization();
  };
  loss().backward();
  std::vector<Tensor> all = moe->parameters();
  all.push_back(x);
  const torch::NoGradGuard off;
  for (const Tensor& tensor : all) {
    double* values = tensor.data_ptr<double>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i) {
      const double at = values[i], step = 1e-5;
      values[i] = at + step;
      const double above = loss().item<double>();
      values[i] = at - step;
      const double below = loss().item<double>();
      values[i] = at;
      CHECK(tensor.grad().contiguous().data_ptr<double>()[i] ==
            Approx((above - below) / (2 * step)).margin(1e-7));
    }
  }
}

TEST_CASE("a penalty that nobody adds does not train, and alone it trains the gate") {
  const Tensor x = numbers<double>({batch, d}, 1);
  TorchMoe with = make_torch_moe(comet_layer<double>()),
           without = make_torch_moe(comet_layer<double>(0));
  with->forward(x).sum().backward();
  without->forward(x).sum().backward();
  for (std::size_t i = 0; i < with->parameters().size(); ++i)
    CHECK(torch::allclose(with->parameters()[i].grad(), without->parameters()[i].grad(), 1e-10,
                          1e-12));

  with->zero_grad(true);
  with->forward(x);
  with->regularization().backward();
  for (const auto& p : with->named_parameters())
    CHECK(p.value().grad().defined() == (p.key().substr(0, 5) == "gates"));

  // The two in turn are the two at once.
  const auto split = [&](bool at_once) {
    with->zero_grad(true);
    const Tensor y = with->forward(x).sum();
    const Tensor penalty = with->regularization();
    if (at_once) {
      (y + penalty).backward();
    } else {
      y.backward({}, true);
      penalty.backward();
    }
    return with->named_parameters()["gates.0.split.weight"].grad().clone();
  };
  CHECK(torch::allclose(split(true), split(false), 1e-10, 1e-12));
}

TEST_CASE("torch's optimizers move the layer's own numbers, as if there were no module") {
  const Double layer = comet_layer<double>();
  TorchMoe moe = make_torch_moe(layer, {.key = draws});
  const Double& inside = in<Double>(moe).layer();
  const auto options = torch::optim::AdamWOptions(1e-2).weight_decay(.1);
  torch::optim::AdamW optimizer(moe->parameters(), options);

  Double alone = layer;  // trained by comet, but for the arithmetic of AdamW
  std::vector<Tensor> tensors;
  for_each_parameter(alone, [&](const ParameterName&, auto& p) {
    tensors.push_back(torch::from_blob(p.data(), p.shape(), torch::kDouble));
  });
  torch::optim::AdamW optimizer_alone(tensors, options);
  Pass pass(alone);
  for (int step = 0; step < 20; ++step) {
    const Tensor x = numbers<double>({batch, d}, std::uint64_t(step));
    const Tensor y = moe->forward(x);
    const Tensor loss = y.square().sum() + moe->regularization();
    optimizer.zero_grad();
    loss.backward();
    torch::nn::utils::clip_grad_norm_(moe->parameters(), 1.0);
    optimizer.step();

    const Eigen::Map<Matrix<double>> xs(x.data_ptr<double>(), d, batch);
    Matrix<double> ys(m, batch);
    alone.forward(xs, ys, draws.fold(step), pass);
    alone.backward(xs, Matrix<double>(2 * ys), pass);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      auto gradient = pass.gradients(alone)[Index(i)];
      tensors[i].mutable_grad() =
          torch::from_blob(gradient.data(), tensors[i].sizes(), torch::kDouble).clone();
      gradient.setZero();
    }
    torch::nn::utils::clip_grad_norm_(tensors, 1.0);
    optimizer_alone.step();
  }
  std::size_t i = 0;
  for_each_parameter(inside, [&](const ParameterName& name, const auto& p) {
    INFO(name.str());
    CHECK(moe->named_parameters()[name.str()].data_ptr<double>() == p.data());  // no copy
    CHECK(same_bits<double>(tensors[i++], p));
  });
  CHECK(inside.experts()[0].hidden_dim() == 5);
}

TEST_CASE("a module is saved and loaded by torch, and goes on to the same bits") {
  const auto path =
      std::filesystem::temp_directory_path() / ("comet_torch_" + std::to_string(::getpid()));
  const Tensor x = numbers<double>({batch, d}, 1);
  const auto step = [&](TorchMoe moe, torch::optim::Optimizer& optimizer) {
    const Tensor y = moe->forward(x);
    optimizer.zero_grad();
    y.square().sum().backward();
    optimizer.step();
    moe->end_of_step();
    return y.detach();
  };
  TorchMoe first = make_torch_moe(balanced_layer<double>(), {.key = draws});
  in<Double>(first).change([](Double& l) {
    l.gates()[0].set_permutation(Permutation({3, 1, 2, 0}));
  });
  torch::optim::SGD trains(first->parameters(), .1);
  step(first, trains);
  torch::save(first.ptr(), path.string());

  TorchMoe second = make_torch_moe(balanced_layer<double>(key.fold(5)));
  torch::optim::SGD goes_on(second->parameters(), .1);
  {
    auto target = second.ptr();
    torch::serialize::InputArchive archive;
    archive.load_from(path.string());
    target->load(archive);
  }
  std::filesystem::remove(path);
  CHECK(in<Double>(second).layer().gates()[0].permutations()[0] == Permutation({3, 1, 2, 0}));
  for (int i = 0; i < 3; ++i) CHECK(same(step(first, trains), step(second, goes_on)));
  for (const auto& p : first->named_parameters())
    CHECK(same(p.value(), second->named_parameters()[p.key()]));
  for (const auto& p : first->named_buffers())
    CHECK(same(p.value(), second->named_buffers()[p.key()]));
}

TEST_CASE("buffers are the state that has no gradient") {
  TorchMoe moe = make_torch_moe(balanced_layer<double>());
  const Tensor x = numbers<double>({batch, d}, 1);
  auto buffers = moe->named_buffers();
  REQUIRE(buffers.contains("gates.0.selection_bias"));
  REQUIRE(buffers.contains("gates.0.permutations"));
  CHECK(buffers["random"][1].item<int>() == 0);
  moe->forward(x);
  CHECK(buffers["random"][1].item<int>() == 1);
  CHECK_FALSE(buffers["gates.0.selection_bias"].any().item<bool>());
  moe->end_of_step();
  CHECK(buffers["gates.0.selection_bias"].abs().max().item<double>() == .5);
  const std::vector<Index> load = {12, 0, 0, 0};
  moe->end_of_step(load);
  CHECK_THROWS_WITH(moe->end_of_step(std::span(load).first(2)),
                    ContainsSubstring("load.size() is 2, expected num_tasks * num_experts = 4"));

  const torch::NoGradGuard off;
  moe->eval();
  buffers["gates.0.selection_bias"].copy_(torch::tensor({9., 9., 0., 0.}, torch::kDouble));
  moe->forward(x);
  CHECK(in<Double>(moe).pass().workspace.routing().dense(n).row(1).sum() == 0);  // slot 3
  buffers["gates.0.permutations"].fill_(0);
  CHECK_THROWS_AS(moe->forward(x), std::invalid_argument);
  buffers["gates.0.permutations"].copy_(torch::tensor({0, 1, 2, 3}, torch::kInt));
  CHECK_NOTHROW(moe->forward(x));

  TorchMoe other = make_torch_moe(comet_layer<double>());
  CHECK_THROWS_WITH(other->end_of_step(), ContainsSubstring("no forward() in train()"));
  other->forward(x);
  CHECK_THROWS_WITH(other->end_of_step(),
                    ContainsSubstring("a comet gate has no use for the load"));
}

TEST_CASE("what comet changes in place counts, whatever the buffers hold") {
  TorchMoe moe = make_torch_moe(balanced_layer<double>());
  const Tensor x = numbers<double>({batch, d}, 1);
  auto& typed = in<Double>(moe);
  moe->forward(x);
  const Permutation swapped({1, 0, 2, 3});
  auto buffers = moe->named_buffers();
  typed.layer_in_place().gates()[0].set_permutations({swapped});
  const Tensor y = moe->forward(x).detach();
  CHECK(typed.layer().gates()[0].permutations()[0] == swapped);
  CHECK(torch::equal(buffers["gates.0.permutations"], torch::tensor({1, 0, 2, 3}, torch::kInt)));

  Double relabelled = balanced_layer<double>();
  relabelled.gates()[0].set_permutations({swapped});
  CHECK(torch::equal(make_torch_moe(relabelled)->forward(x), y));

  // From the next call on, buffers count again; and a graph from before a change is refused.
  buffers["gates.0.permutations"].copy_(torch::tensor({2, 0, 3, 1}, torch::kInt));
  const Tensor loss = moe->forward(x).sum();
  CHECK(typed.layer().gates()[0].permutations()[0] == Permutation({2, 0, 3, 1}));
  (void)typed.layer_in_place();
  CHECK_THROWS_WITH(loss.backward(), ContainsSubstring("the layer has been changed"));
  (void)typed.layer();
  CHECK_THROWS_WITH(loss.backward(), ContainsSubstring("the layer has been changed"));
}

TEST_CASE("gradients of any strides, and features of any") {
  TorchMoe moe = make_torch_moe(noisy_layer<double>(), {.key = draws});
  const Tensor w = numbers<double>({batch, m}, 2);
  const auto random = moe->named_buffers()["random"];
  const auto gradient = [&](const std::function<Tensor(const Tensor&)>& loss, const Tensor& x) {
    random[1] = 0;
    moe->zero_grad(true);
    Tensor leaf = x.detach().clone().requires_grad_();
    loss(leaf).backward();
    auto all = gradients(moe);
    all.push_back(leaf.grad());
    return all;
  };
  const auto check_same = [](const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(same(a[i], b[i]));
  };
  const Tensor x = numbers<double>({batch, d}, 3);
  // All strides 0, after sum(); and a narrow view, after cat.
  const auto ones =
      gradient([&](auto& at) { return (moe->forward(at) * torch::ones_like(w)).sum(); }, x);
  check_same(ones, gradient([&](auto& at) { return moe->forward(at).sum(); }, x));
  const auto weighed = gradient([&](auto& at) { return (moe->forward(at) * w).sum(); }, x);
  check_same(weighed,
             gradient(
                 [&](auto& at) {
                   const Tensor other = torch::ones({batch, 3}, torch::kDouble).requires_grad_();
                   const Tensor all = torch::cat({other, moe->forward(at), other}, 1);
                   return (all * torch::cat({other, w, other}, 1).detach()).sum();
                 },
                 x));
  check_same(weighed, gradient([&](auto& at) { return (moe->forward(at).t() * w.t()).sum(); }, x));
  // x as a transposed and as an expanded view, and of three axes.
  auto turned =
      gradient([&](auto& at) { return (moe->forward(at.t()) * w).sum(); }, x.t().contiguous());
  turned.back() = turned.back().t();
  check_same(weighed, turned);
  const auto wide = gradient(
      [&](auto& at) {
        return (moe->forward(at.expand({batch, d})) * w).sum();
      },
      x.slice(0, 0, 1));
  const auto narrow = gradient(
      [&](auto& at) {
        return (moe->forward(at.repeat({batch, 1})) * w).sum();
      },
      x.slice(0, 0, 1));
  check_same(wide, narrow);
  auto deep = gradient(
      [&](auto& at) {
        const Tensor y = moe->forward(at.view({2, batch / 2, d}));
        CHECK(y.sizes() == torch::IntArrayRef({2, batch / 2, m}));
        return (y * w.view({2, batch / 2, m})).sum();
      },
      x);
  check_same(weighed, deep);
  moe->eval();
  const torch::NoGradGuard off;
  CHECK(moe->forward(x[0]).sizes() == torch::IntArrayRef({m}));
  CHECK(moe->forward(x.slice(0, 0, 0)).sizes() == torch::IntArrayRef({0, m}));
}

TEST_CASE("graphs: several forwards, several backwards, none, and what must not be") {
  TorchMoe moe = make_torch_moe(noisy_layer<double>(), {.key = draws});
  const Tensor x = numbers<double>({batch, d}, 3).requires_grad_(),
               x2 = numbers<double>({batch, d}, 4);
  const auto random = moe->named_buffers()["random"];
  const auto run = [&](const Tensor& at, int place) {
    random[1] = place;
    return moe->forward(at).square().sum();
  };
  const auto parameter = moe->named_parameters()["experts.1.hidden.weight"];

  SECTION("two forwards before one backward") {
    const auto apart = [&] {
      run(x, 0).backward();
      run(x2, 1).backward();
      return gradients(moe);
    }();
    moe->zero_grad(true);
    const Tensor first = run(x, 0), second = run(x2, 1);
    (first + second).backward();
    for (std::size_t i = 0; i < apart.size(); ++i)
      CHECK(torch::allclose(apart[i], gradients(moe)[i], 1e-12));
  }
  SECTION("a graph that is retained, and one that is not") {
    const Tensor loss = run(x, 0);
    loss.backward({}, true);
    const auto once = gradients(moe);
    loss.backward({}, true);
    loss.backward();
    for (std::size_t i = 0; i < once.size(); ++i)
      CHECK(same(once[i] + once[i] + once[i], gradients(moe)[i]));
    CHECK_THROWS_WITH(loss.backward(), ContainsSubstring("a second time"));
  }
  SECTION("some gradients only") {
    run(x, 0).backward();
    const auto some = torch::autograd::grad({run(x, 0)}, {parameter});
    CHECK(same(some[0], parameter.grad()));
    const Tensor dx = x.grad().clone();
    moe->zero_grad(true);
    for (const auto& p : moe->parameters()) p.set_requires_grad(false);
    CHECK_FALSE(run(x2, 0).requires_grad());
    x.mutable_grad() = Tensor();
    run(x, 0).backward();
    CHECK(same(x.grad(), dx));
    CHECK_FALSE(parameter.grad().defined());
  }
  SECTION("no_grad, a graph that is dropped, and one that outlives the module") {
    {
      const torch::NoGradGuard off;
      CHECK_FALSE(run(x, 0).requires_grad());
      const c10::InferenceMode fast;
      CHECK_FALSE(moe->forward(x2).requires_grad());
    }
    run(x, 0);
    Tensor loss, left;
    {
      TorchMoe other = make_torch_moe(noisy_layer<double>(), {.key = draws});
      left = other->named_parameters()["experts.1.hidden.weight"];
      loss = other->forward(x).square().sum();
    }
    loss.backward();
    run(x, 0).backward();
    CHECK(same(left.grad(), parameter.grad()));
    CHECK(same(left, parameter));
  }
  SECTION("changes between the two are refused") {
    const Tensor loss = run(x, 0);
    {
      const torch::NoGradGuard off;
      parameter.add_(1);
    }
    CHECK_THROWS_WITH(loss.backward(), ContainsSubstring("modified by an inplace operation"));
    const Tensor at = x.detach().clone();
    const Tensor of_x = run(at, 0);
    at.add_(1);
    CHECK_THROWS_WITH(of_x.backward(), ContainsSubstring("modified by an inplace operation"));
    const Tensor annealed = run(x, 0);
    in<Double>(moe).change([](Double& l) {
      l.gates()[0].set_permutation(Permutation({1, 0, 3, 2}));
    });
    CHECK_THROWS_WITH(annealed.backward(), ContainsSubstring("changed since forward()"));
    CHECK_THROWS_WITH(in<Double>(moe).change([](Double& l) { l = Double(l); }),
                      ContainsSubstring("parts of the layer were replaced"));
    run(x, 0).backward();
  }
  SECTION("second derivatives and eval()") {
    CHECK_THROWS_WITH(run(x, 0).backward({}, true, true),
                      ContainsSubstring("no second derivatives"));
    moe->eval();
    CHECK_THROWS_WITH(run(x, 0).backward(), ContainsSubstring("forward() in eval()"));
  }
  SECTION("a penalty is asked for between forward and backward") {
    TorchMoe other = make_torch_moe(comet_layer<double>());
    CHECK_THROWS_WITH(other->regularization(), ContainsSubstring("no forward() before it"));
    const Tensor y = other->forward(x);
    (y.sum() + other->regularization()).backward();
    CHECK_THROWS_WITH(other->regularization(), ContainsSubstring("since the last backward pass"));
  }
}

TEST_CASE("copies are the same module, clones are not") {
  static_assert(!std::is_copy_constructible_v<TorchMoeLayer<Double>>);
  TorchMoe moe = make_torch_moe(balanced_layer<double>(), {.key = draws});
  TorchMoe same_one = moe;
  CHECK(same_one.get() == moe.get());
  moe->parameters()[0].set_requires_grad(false);
  const auto copy = std::dynamic_pointer_cast<TorchMoeImpl>(moe->clone());
  REQUIRE(copy);
  CHECK_FALSE(copy->parameters()[0].requires_grad());
  const Tensor x = numbers<double>({batch, d}, 1);
  CHECK(same(moe->forward(x), copy->forward(x)));
  {
    const torch::NoGradGuard off;
    copy->parameters()[1].add_(1);
  }
  CHECK_FALSE(same(moe->forward(x), copy->forward(x)));

  // A model that torch's own Cloneable copies.
  struct NetImpl : torch::nn::Cloneable<NetImpl> {
    NetImpl() { reset(); }
    void reset() override {
      mixture = register_module("mixture", make_torch_moe(balanced_layer<double>()));
    }
    TorchMoe mixture = nullptr;
  };
  NetImpl net;
  Tensor old = net.mixture->parameters()[1];
  {
    const torch::NoGradGuard off;
    old.add_(1);
  }
  const auto net_copy = std::dynamic_pointer_cast<NetImpl>(net.clone());
  const Tensor view = net_copy->mixture->parameters()[1].detach();
  CHECK(same(view, old));
  net.mixture->eval();
  net_copy->mixture->eval();
  const torch::NoGradGuard off;
  CHECK(same(net.mixture->forward(x), net_copy->mixture->forward(x)));
}

TEST_CASE("numbers that torch puts elsewhere are taken over") {
  TorchMoe moe = make_torch_moe(comet_layer<double>());
  const Tensor x = numbers<double>({batch, d}, 1);
  const auto vector = torch::nn::utils::parameters_to_vector(moe->parameters());
  torch::nn::utils::vector_to_parameters(vector * .5, moe->parameters());
  const Double& layer = in<Double>(moe).layer();
  for_each_parameter(layer, [&](const ParameterName& name, const auto& p) {
    CHECK(moe->named_parameters()[name.str()].data_ptr<double>() == p.data());
  });
  CHECK(same(vector * .5, torch::nn::utils::parameters_to_vector(moe->parameters())));
  moe->forward(x).sum().backward();
  moe->parameters()[0].set_data(torch::zeros({1}, torch::kDouble));
  CHECK_THROWS_WITH(moe->forward(x), ContainsSubstring("experts.0.hidden.weight has become"));
}

TEST_CASE("features in C order are not copied, a mask is") {
  const Tensor x = numbers<double>({batch, d}, 1), turned = x.t().contiguous().t();
  const auto features = [](const Tensor& at) {
    return comet::detail::TorchSamples<double>("test", at, {}, {}, d).x.data_ptr<double>();
  };
  CHECK(features(x) == x.data_ptr<double>());
  CHECK(features(x.view({2, batch / 2, d})) == x.data_ptr<double>());
  CHECK(features(turned) != turned.data_ptr<double>());

  TorchMoe moe = make_torch_moe(comet_layer<double>());
  Tensor mask = torch::ones({batch}, torch::kBool);
  const Tensor loss = moe->forward(x, {}, mask).square().sum();
  loss.backward({}, true);
  const auto once = gradients(moe);
  mask.fill_(false);
  loss.backward();
  for (std::size_t i = 0; i < once.size(); ++i) CHECK(same(once[i] * 2, gradients(moe)[i]));
}

TEST_CASE("what comet does not compute on is refused in words") {
  TorchMoe moe = make_torch_moe(comet_layer<double>());
  const Tensor x = numbers<double>({batch, d}, 1);
  const auto refuses = [&](const Tensor& at, const std::string& what, const Tensor& ids = {},
                           const Tensor& mask = {}) {
    CHECK_THROWS_WITH(moe->forward(at, ids, mask), ContainsSubstring(what));
  };
  refuses(x.to(torch::kFloat), "x is of Float, expected Double");
  refuses(x.to(torch::kMeta), "x is on meta");
  refuses(x.to_sparse(), "x is on cpu, Sparse");
  refuses(Tensor(), "x is not defined");
  refuses(torch::zeros({}, torch::kDouble), "x is a single number");
  refuses(x.t(), "x.size(-1) is 6, expected input_dim = 3");
  refuses(x, "ids has the shape [3], expected", torch::zeros({3}, torch::kLong));
  refuses(x, "ids are of Double", torch::zeros({batch}, torch::kDouble));
  refuses(x, "an id is 4294967296", torch::full({batch}, std::int64_t(1) << 32, torch::kLong));
  refuses(x, "the mask is of Float", {}, torch::zeros({batch}));
  refuses(x.clone().fill_(NAN), "nan");
  CHECK_THROWS_WITH(moe->to(torch::kFloat), ContainsSubstring("the dtype is Float"));
  CHECK_THROWS_WITH(moe->to(torch::Device(torch::kMeta)), ContainsSubstring("the device is meta"));
  CHECK_THROWS_WITH(moe->clone(torch::Device(torch::kMeta)),
                    ContainsSubstring("the device is meta"));
  CHECK_NOTHROW(moe->to(torch::kCPU, torch::kDouble));
  CHECK_NOTHROW(moe->forward(x));
}

TEST_CASE("a module in a row of modules") {
  torch::manual_seed(3);
  torch::nn::Sequential net(torch::nn::Linear(2, d), make_torch_moe(comet_layer<float>()),
                            torch::nn::Linear(m, 1));
  net->forward(torch::ones({5, 2})).sum().backward();
  for (const auto& p : net->parameters()) CHECK(p.grad().defined());
  CHECK(comet::detail::torch_text(net).find("comet::TorchMoe(3 -> 2, experts=4, gate=comet)") !=
        std::string::npos);
  torch::manual_seed(3);
  const Tensor drawn = make_torch_moe(comet_layer<float>())->named_buffers()["random"];
  CHECK_FALSE(same(drawn, make_torch_moe(comet_layer<float>())->named_buffers()["random"]));
}

TEST_CASE("a search over the experts' order goes round the user's loop") {
  TorchMoe moe = make_torch_moe(comet_layer<double>());
  auto& module = in<Double>(moe);
  PermutationSearch<double> search({.steps = 3}, module.layer().gates(), key);
  Gradients of_search(search);
  Sgd sgd(search, {.learning_rate = .1});
  torch::optim::SGD optimizer(moe->parameters(), .1);
  const Tensor x = numbers<double>({batch, d}, 1);
  bool moved = false;
  while (!search.finished()) {
    module.change([&](Double& layer) { search.prepare(layer.gates()); });
    const Tensor loss = moe->forward(x).square().sum();
    optimizer.zero_grad();
    loss.backward();
    search.backward(module.layer().gates(), module.pass().workspace.gates(), of_search.view());
    for (const double value : of_search.values()) moved = moved || value != 0;
    sgd.step(search, of_search.view());
    optimizer.step();
    module.change([&](Double& layer) { search.advance(layer.gates()); });
  }
  CHECK(moved);
  CHECK_FALSE(module.layer().gates()[0].is_soft());
  moe->forward(x).sum().backward();
}
