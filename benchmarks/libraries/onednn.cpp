// SPDX-License-Identifier: MIT
#include <algorithm>
#include <map>

#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>

#include <libraries/product_library.hpp>

/// \file
/// \brief oneDNN: a primitive is made for every shape, which says how it wants the weights.

namespace bench {

namespace {

using dnnl::memory;
using dims = memory::dims;
using tag = memory::format_tag;

memory::desc floats(Index rows, Index columns, tag order) {
  return {dims{rows, columns}, memory::data_type::f32, order};
}

/// Not written to, whatever the interface says.
void* mutable_data(const float* values) { return const_cast<float*>(values); }  // NOLINT

const dnnl::engine& processor() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

/// Of this thread, which gets no more of them to help.
dnnl::stream& stream() {
  thread_local dnnl::stream stream(processor());
  omp_set_num_threads(1);
  return stream;
}

/// Where a primitive may put what it wants to, of this thread.
memory scratch(const memory::desc& wanted) {
  thread_local std::vector<char> bytes;
  bytes.resize(std::max(bytes.size(), wanted.get_size()));
  return {wanted, processor(), bytes.data()};
}

/// target = source times weights, or +=; the weights packed as it likes them, or as they are.
class Product {
 public:
  Product(const memory::desc& source, const memory::desc& weights, const memory::desc& target,
          bool accumulate)
      : descriptor_(make(source, weights, target, accumulate)), primitive_(descriptor_) {}

  [[nodiscard]] memory::desc weights() const { return descriptor_.weights_desc(); }

  void run(const float* source, const float* weights, float* target) const {
    const auto with = [](const memory::desc& desc, const float* values) {
      return memory(desc, processor(), mutable_data(values));
    };
    primitive_.execute(stream(), {{DNNL_ARG_SRC, with(descriptor_.src_desc(), source)},
                                  {DNNL_ARG_WEIGHTS, with(this->weights(), weights)},
                                  {DNNL_ARG_DST, with(descriptor_.dst_desc(), target)},
                                  {DNNL_ARG_SCRATCHPAD, scratch(descriptor_.scratchpad_desc())}});
    stream().wait();
  }

 private:
  static dnnl::matmul::primitive_desc make(const memory::desc& source, const memory::desc& weights,
                                           const memory::desc& target, bool accumulate) {
    dnnl::primitive_attr attributes;
    dnnl::post_ops then;
    if (accumulate) then.append_sum(1);
    attributes.set_post_ops(then);
    attributes.set_scratchpad_mode(
        dnnl::scratchpad_mode::user);  // that of the library is not shared
    return {dnnl::matmul::desc(source, weights, target), attributes, processor()};
  }

  dnnl::matmul::primitive_desc descriptor_;
  dnnl::matmul primitive_;
};

/// A column-major matrix is the transpose of oneDNN's: samples are its rows.
class Onednn final : public ProductLibrary {
 public:
  Onednn(Index d, Index m) : d_(d), m_(m) {}

  [[nodiscard]] std::string name() const override {
    const dnnl_version_t* version = dnnl_version();
    return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
           std::to_string(version->patch);
  }

  void set_weights(const std::vector<Matrix>& weights) override { weights_ = weights; }

  void prepare(Index columns) override {
    if (columns == 0 || shapes_.contains(columns)) return;
    const Shape& shape =
        shapes_
            .emplace(columns, Shape{{floats(columns, d_, tag::ab), floats(d_, m_, tag::any),
                                     floats(columns, m_, tag::ab), false},
                                    {floats(columns, m_, tag::ab), floats(m_, d_, tag::any),
                                     floats(columns, d_, tag::ab), false},
                                    {floats(m_, columns, tag::ba), floats(columns, d_, tag::ab),
                                     floats(m_, d_, tag::ab), true}})
            .first->second;
    pack(shape.forward, floats(d_, m_, tag::ba), forward_);
    pack(shape.input_gradient, floats(m_, d_, tag::ab), backward_);
  }

  void forward(std::size_t expert, Index columns, const float* x, float* y) const override {
    const Product& product = shapes_.at(columns).forward;
    product.run(x, packed(product, expert, forward_), y);
  }
  void input_gradient(std::size_t expert, Index columns, const float* dz,
                      float* dx) const override {
    const Product& product = shapes_.at(columns).input_gradient;
    product.run(dz, packed(product, expert, backward_), dx);
  }
  void weight_gradient(Index columns, const float* x, const float* dz, float* dw) const override {
    shapes_.at(columns).weight_gradient.run(dz, x, dw);
  }

 private:
  struct Shape {
    Product forward, input_gradient, weight_gradient;
  };
  struct Packed {
    memory::desc order;
    std::vector<std::vector<float>> values;  // per expert
  };

  /// All weights in the order that a product likes, once for each order.
  void pack(const Product& product, const memory::desc& plain, std::vector<Packed>& all) {
    const memory::desc order = product.weights();
    const auto has_it = [&](const Packed& packed) { return packed.order == order; };
    if (std::any_of(all.begin(), all.end(), has_it)) return;
    Packed packed{order, {}};
    for (const Matrix& weight : weights_) {
      packed.values.emplace_back(order.get_size() / sizeof(float));
      memory from(plain, processor(), mutable_data(weight.data()));
      memory to(order, processor(), packed.values.back().data());
      dnnl::reorder(from, to).execute(stream(), from, to);
      stream().wait();
    }
    all.push_back(std::move(packed));
  }
  static const float* packed(const Product& product, std::size_t expert,
                             const std::vector<Packed>& all) {
    const memory::desc order = product.weights();
    return std::find_if(all.begin(), all.end(),
                        [&](const Packed& one) { return one.order == order; })
        ->values[expert]
        .data();
  }

  Index d_, m_;
  std::vector<Matrix> weights_;
  std::map<Index, Shape> shapes_;  // by columns
  std::vector<Packed> forward_, backward_;
};

}  // namespace

Library onednn(Index d, Index m) { return std::make_unique<Onednn>(d, m); }

}  // namespace bench
