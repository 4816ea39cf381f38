// SPDX-License-Identifier: MIT
// Written by scripts/portable_text.sh: an edit is lost.
#pragma once

#include <string_view>

namespace comet::portable {

/// The code of arithmetic.hpp, soft_tree.hpp, route.hpp and experts.hpp, without the namespace.
inline constexpr std::string_view text = R"portable(
using Index = std::ptrdiff_t;
template <class S>
S smooth_step(S t, S gamma) {
  const S half = gamma / S(2);
  if (t <= -half) return S(0);
  if (t >= half) return S(1);
  const S u = t / gamma;
  const S v = S(0.5) - std::abs(u);
  const S tail = v * v * (S(3) - S(2) * v);
  return u < S(0) ? tail : S(1) - tail;
}
template <class S>
struct Exponentials {
  S largest;
  S sum;
};
template <class S>
Exponentials<S> softmax(const S* h, Index size, S* p) {
  S largest = h[0];
  for (Index i = 1; i < size; ++i) largest = std::max(largest, h[i]);
  S sum = 0;
  for (Index i = 0; i < size; ++i) {
    p[i] = std::exp(h[i] - largest);
    sum += p[i];
  }
  for (Index i = 0; i < size; ++i) p[i] /= sum;
  return {largest, sum};
}
template <bool fused, class S>
S multiply_add(S a, S b, S c) {
  if constexpr (fused) {
    return std::fma(a, b, c);
  } else {
    return a * b + c;
  }
}
template <class S, int lanes>
struct Fused {
  static constexpr bool available = false;
};
#if defined(__FMA__)
template <>
struct Fused<float, 4> {
  using Type = __m128;
  static constexpr bool available = true;
  static Type add(Type a, Type b, Type c) { return _mm_fmadd_ps(a, b, c); }
};
template <>
struct Fused<double, 2> {
  using Type = __m128d;
  static constexpr bool available = true;
  static Type add(Type a, Type b, Type c) { return _mm_fmadd_pd(a, b, c); }
};
template <>
struct Fused<float, 8> {
  using Type = __m256;
  static constexpr bool available = true;
  static Type add(Type a, Type b, Type c) { return _mm256_fmadd_ps(a, b, c); }
};
template <>
struct Fused<double, 4> {
  using Type = __m256d;
  static constexpr bool available = true;
  static Type add(Type a, Type b, Type c) { return _mm256_fmadd_pd(a, b, c); }
};
#endif
#if defined(__AVX512F__)
template <>
struct Fused<float, 16> {
  using Type = __m512;
  static constexpr bool available = true;
  static Type add(Type a, Type b, Type c) { return _mm512_fmadd_ps(a, b, c); }
};
template <>
struct Fused<double, 8> {
  using Type = __m512d;
  static constexpr bool available = true;
  static Type add(Type a, Type b, Type c) { return _mm512_fmadd_pd(a, b, c); }
};
#endif
template <class S, int lanes>
auto load_lanes(const S* values, Index count = lanes) {
  typename Fused<S, lanes>::Type result = {};
  std::memcpy(&result, values, std::size_t(count < lanes ? count : lanes) * sizeof(S));
  return result;
}
template <int lanes, class S>
void fused_rows(const S* w, const S* x, Index size, S* even, S* odd) {
  using Register = Fused<S, lanes>;
  typename Register::Type sum = {}, odd_sum = {};
  Index l = 0;
  for (; l + 2 * lanes <= size; l += 2 * lanes) {
    sum = Register::add(load_lanes<S, lanes>(w + l), load_lanes<S, lanes>(x + l), sum);
    odd_sum = Register::add(load_lanes<S, lanes>(w + l + lanes),
                            load_lanes<S, lanes>(x + l + lanes), odd_sum);
  }
  for (; l < size; l += lanes)
    sum = Register::add(load_lanes<S, lanes>(w + l, size - l),
                        load_lanes<S, lanes>(x + l, size - l), sum);
  std::memcpy(even, &sum, sizeof sum);
  std::memcpy(odd, &odd_sum, sizeof odd_sum);
}
template <int lanes, bool fused, int last, class S, class Size>
S dot(const S* w, const S* x, Size size, S bias) {
  S even[std::size_t(lanes)] = {};
  S odd[std::size_t(lanes)] = {};
  Index l = 0;
  if constexpr (fused && Fused<S, lanes>::available) {
    fused_rows<lanes>(w, x, Index(size), even, odd);
    l = Index(size);
  }
  for (; l + 2 * lanes <= size; l += 2 * lanes)
    for (int i = 0; i < lanes; ++i) {
      even[i] = multiply_add<fused>(w[l + i], x[l + i], even[i]);
      odd[i] = multiply_add<fused>(w[l + lanes + i], x[l + lanes + i], odd[i]);
    }
  for (; l < size; l += lanes)
    for (int i = 0; i < lanes; ++i) {
      const bool inside = l + i < size;
      even[i] = multiply_add<fused>(inside ? w[l + i] : S(0), inside ? x[l + i] : S(0), even[i]);
    }
  for (int i = 0; i < lanes; ++i) even[i] += odd[i];
  for (int half = lanes / 2; half >= last; half /= 2)
    for (int i = 0; i < half; ++i) even[i] += even[i + half];
  if constexpr (last == 4) {
    return ((even[0] + even[1]) + (even[2] + even[3])) + bias;
  } else {
    return even[0] + bias;
  }
}
template <class S>
bool is_finite(const S* x, Index size) {
  for (Index l = 0; l < size; ++l)
    if (!std::isfinite(x[l])) return false;
  return true;
}
template <class S>
struct Row {
  std::int32_t* experts;
  S* weights;
  int size = 0;
  void add(std::int32_t expert, S weight) {
    int place = size;
    while (place > 0 && experts[place - 1] > expert) --place;
    if (place > 0 && experts[place - 1] == expert) {
      weights[place - 1] += weight;
      return;
    }
    for (int i = size++; i > place; --i) {
      experts[i] = experts[i - 1];
      weights[i] = weights[i - 1];
    }
    experts[place] = expert;
    weights[place] = weight;
  }
};
struct TreeShape {
  Index num_leaves;
  Index num_levels = 1;
  Index deepest = 0;
  constexpr explicit TreeShape(Index leaves) : num_leaves(leaves) {
    for (; 2 * deepest + 1 <= 2 * leaves - 2; deepest = 2 * deepest + 1) ++num_levels;
  }
  constexpr bool is_leaf(Index node) const { return node >= num_leaves - 1; }
  constexpr Index leaf(Index node) const {
    return node >= deepest ? node - deepest : node + num_leaves - deepest;
  }
};
template <int lanes, class S>
struct LiveList {
  std::int32_t count;
  std::int32_t lane[std::size_t(lanes)];
  S reach[std::size_t(lanes)];
  S left[std::size_t(lanes)];
  S right[std::size_t(lanes)];
  std::int32_t size() const { return lanes == 1 ? std::int32_t(count != 0) : count; }
};
template <int lanes, class S>
void start_walk(LiveList<lanes, S>* root, Index trees, int count) {
  for (Index j = 0; j < trees; ++j) {
    root[j].count = count;
    for (int i = 0; i < count; ++i) {
      root[j].lane[i] = i;
      root[j].reach[i] = S(1);
    }
  }
}
template <auto share, class List>
bool hand_down(const List* at, List* below, Index trees) {
  std::int32_t any = 0;
  for (Index j = 0; j < trees; ++j) {
    std::int32_t count = 0;
    const std::int32_t end = at[j].size();
    for (std::int32_t i = 0; i < end; ++i) {
      below[j].lane[count] = at[j].lane[i];
      below[j].reach[count] = at[j].reach[i] * (at[j].*share)[i];
      count += below[j].reach[count] > 0;
    }
    below[j].count = count;
    any |= count;
  }
  return any != 0;
}
template <int lanes, class S, class Tree>
void walk(Tree& tree, LiveList<lanes, S>* at, Index node = 0, Index level = 0) {
  if (tree.shape().is_leaf(node)) {
    tree.leaf(node, level, at);
    return;
  }
  tree.split(node, level, at);
  using List = LiveList<lanes, S>;
  List* const below = at + tree.trees();
  const Index child = 2 * node + 1;
  if (!tree.cuts(child, level + 1) && hand_down<&List::left>(at, below, tree.trees()))
    walk(tree, below, child, level + 1);
  if (!tree.cuts(child + 1, level + 1) && hand_down<&List::right>(at, below, tree.trees()))
    walk(tree, below, child + 1, level + 1);
}
template <class S>
struct ReachedLeaf {
  Index slot;
  S reach;
  S factor;
  static constexpr int lane = 0;
};
template <class S, class Leaf>
void exponentiate(Leaf* leaves, Index count, S* largest, S* sum) {
  for (Index i = 0; i < count; ++i)
    largest[leaves[i].lane] = std::max(largest[leaves[i].lane], leaves[i].factor);
  for (Index i = 0; i < count; ++i) {
    Leaf& leaf = leaves[i];
    leaf.factor = std::exp(leaf.factor - largest[leaf.lane]);
    sum[leaf.lane] += leaf.reach * leaf.factor;
  }
}
template <class S>
bool is_divisor(S sum) {
  return sum >= std::numeric_limits<S>::min() && std::isfinite(sum);
}
template <class S, class Tables>
struct CometSample {
  const Tables& tables;
  const S* x;
  ReachedLeaf<S>* leaves;
  Index num_reached = 0;
  S sum = 0;
  Index trees() const { return tables.k; }
  const TreeShape& shape() const { return tables.shape; }
  static constexpr bool cuts(Index, Index) { return false; }
  void split(Index node, Index, LiveList<1, S>* at) {
    for (Index j = 0; j < trees(); ++j) {
      if (at[j].count == 0) continue;
      const S share = smooth_step(tables.split_logit(node * trees() + j, x), tables.gamma);
      at[j].left[0] = share;
      at[j].right[0] = S(1) - share;
      if (std::isnan(share)) sum = share;
    }
  }
  void leaf(Index node, Index, LiveList<1, S>* at) {
    for (Index j = 0; j < trees(); ++j) {
      if (at[j].count == 0) continue;
      const Index slot = shape().leaf(node) * trees() + j;
      leaves[num_reached++] = {slot, at[j].reach[0], tables.leaf_logit(slot, x)};
    }
  }
};
template <class S, class Tables, class Add>
bool route_comet(const Tables& tables, const S* x, LiveList<1, S>* root, ReachedLeaf<S>* leaves,
                 Add add) {
  CometSample<S, Tables> sample{tables, x, leaves};
  start_walk(root, sample.trees(), 1);
  walk(sample, root);
  S largest = -std::numeric_limits<S>::infinity();
  exponentiate(leaves, sample.num_reached, &largest, &sample.sum);
  if (!is_divisor(sample.sum)) return false;
  for (Index i = 0; i < sample.num_reached; ++i) {
    leaves[i].factor /= sample.sum;
    add(leaves[i].slot, leaves[i].reach * leaves[i].factor);
  }
  return true;
}
inline constexpr bool is_beyond(Index node, Index level, Index num_bits, Index num_experts) {
  return ((node + 1) << (num_bits - level)) - (Index(1) << num_bits) >= num_experts;
}
template <class S, class Tables, class Add>
struct DSelectKSample {
  const Tables& tables;
  const S* share;
  const S* mixture;
  Add& add;
  Index trees() const { return tables.k; }
  const TreeShape& shape() const { return tables.shape; }
  bool cuts(Index node, Index level) const { return is_beyond(node, level, tables.m, tables.n); }
  void split(Index, Index level, LiveList<1, S>* at) {
    for (Index j = 0; j < trees(); ++j) {
      at[j].right[0] = share[j * tables.m + level];
      at[j].left[0] = S(1) - at[j].right[0];
    }
  }
  void leaf(Index node, Index, LiveList<1, S>* at) {
    const Index code = node + 1 - (Index(1) << tables.m);
    if (tables.has_slots) {
      for (Index j = 0; j < trees(); ++j) {
        if (at[j].count == 0) continue;
        const S weight = mixture[j] * at[j].reach[0];
        if (weight != S(0)) add(code * trees() + j, weight);
      }
      return;
    }
    S sum = 0;
    for (Index j = 0; j < trees(); ++j)
      if (at[j].count != 0) sum += mixture[j] * at[j].reach[0];
    add(code, sum);
  }
};
template <class S, class Tables, class Add>
bool route_dselect_k(const Tables& tables, const S* x, LiveList<1, S>* root, S* share, S* mixture,
                     Add add) {
  const Index k = tables.k;
  bool finite = true;
  for (Index i = 0; i < k * tables.m; ++i) {
    const S logit = tables.bit_logit(i, x);
    finite = finite && std::isfinite(logit);
    share[i] = smooth_step(logit, tables.gamma);
  }
  for (Index j = 0; j < k; ++j) {
    mixture[j] = tables.mixture_logit(j, x);
    finite = finite && std::isfinite(mixture[j]);
  }
  if (!finite) return false;
  softmax(mixture, k, mixture);
  DSelectKSample<S, Tables, Add> sample{tables, share, mixture, add};
  start_walk(root, k, 1);
  walk(sample, root);
  return true;
}
template <class S>
void select_top_k(const S* h, Index n, Index k, bool over_all, std::int32_t* order, S* weights) {
  for (Index i = 0; i < n; ++i) order[i] = std::int32_t(i);
  const auto larger = [h](std::int32_t i, std::int32_t j) {
    return h[i] > h[j] || (h[i] == h[j] && i < j);
  };
  std::nth_element(order, order + (k - 1), order + n, larger);
  const S largest = h[*std::min_element(order, order + k, larger)];
  std::sort(order, order + k);
  S sum = 0;
  for (Index i = 0; i < k; ++i) sum += weights[i] = std::exp(h[order[i]] - largest);
  if (over_all)
    for (Index i = k; i < n; ++i) sum += std::exp(h[order[i]] - largest);
  for (Index i = 0; i < k; ++i) weights[i] /= sum;
}
template <class S, class Tables, class Add>
bool route_top_k(const Tables& tables, const S* x, S* h, std::int32_t* order, S* weights, Add add) {
  const Index k = tables.k;
  for (Index i = 0; i < tables.n; ++i) {
    h[i] = tables.expert_logit(i, x);
    if (!std::isfinite(h[i])) return false;
  }
  select_top_k(h, tables.n, k, tables.over_all, order, weights);
  for (Index i = 0; i < k; ++i) add(Index(order[i]), weights[i]);
  return true;
}
template <int lanes, bool crossed, class S>
S sum_of_lanes(const S* a) {
  if constexpr (lanes == 1) {
    return a[0];
  } else if constexpr (lanes == 2) {
    return a[0] + a[1];
  } else if constexpr (lanes == 4) {
    return (a[0] + a[1]) + (a[2] + a[3]);
  } else if constexpr (lanes == 8) {
    if constexpr (crossed)
      return ((a[0] + a[2]) + (a[4] + a[6])) + ((a[1] + a[3]) + (a[5] + a[7]));
    else
      return ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]));
  } else {
    S half[std::size_t(lanes / 2)];
    for (int i = 0; i < lanes / 2; ++i) half[i] = a[i] + a[i + lanes / 2];
    return sum_of_lanes<lanes / 2, crossed>(half);
  }
}
template <int lanes, bool crossed, int units, class S>
void fused_units(const S* w, Index d, const S* x, S* y) {
  using Register = Fused<S, lanes>;
  typename Register::Type sum[std::size_t(units)] = {};
  Index l = 0;
  for (; l + lanes <= d; l += lanes) {
    const auto part = load_lanes<S, lanes>(x + l);
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC unroll 8
#endif
    for (int u = 0; u < units; ++u)
      sum[u] = Register::add(load_lanes<S, lanes>(w + u * d + l), part, sum[u]);
  }
  if (l < d) {
    const auto part = load_lanes<S, lanes>(x + l, d - l);
    for (int u = 0; u < units; ++u)
      sum[u] = Register::add(load_lanes<S, lanes>(w + u * d + l, d - l), part, sum[u]);
  }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC unroll 8
#endif
  for (int u = 0; u < units; ++u) {
    S parts[std::size_t(lanes)];
    std::memcpy(parts, &sum[u], sizeof parts);
    y[u] = sum_of_lanes<lanes, crossed>(parts);
  }
}
template <int lanes, bool fused, bool crossed, int units, class S>
void dot_units(const S* w, Index d, const S* x, S* y) {
  if constexpr (fused && Fused<S, lanes>::available) {
    fused_units<lanes, crossed, units>(w, d, x, y);
  } else {
    S sum[std::size_t(units)][std::size_t(lanes)] = {};
    for (Index l = 0; l < d; l += lanes)
      for (int u = 0; u < units; ++u)
        for (int i = 0; i < lanes; ++i) {
          const bool inside = l + i < d;
          sum[u][i] = multiply_add<fused>(inside ? w[u * d + l + i] : S(0),
                                          inside ? x[l + i] : S(0), sum[u][i]);
        }
    for (int u = 0; u < units; ++u) y[u] = sum_of_lanes<lanes, crossed>(sum[u]);
  }
}
template <int lanes, bool fused, bool crossed, class S>
void affine(const S* w, const S* bias, bool relu, Index d, Index m, const S* x, S* y) {
  const Index fours = m / 4 * 4;
  for (Index u = 0; u < fours; u += 4) dot_units<lanes, fused, crossed, 4>(w + u * d, d, x, y + u);
  for (Index u = fours; u < m; ++u) dot_units<lanes, fused, crossed, 1>(w + u * d, d, x, y + u);
  for (Index u = 0; u < m; ++u) {
    const S z = y[u] + bias[u];
    y[u] = relu && z < S(0) ? S(0) : z;
  }
}
inline constexpr Index integer_depth = 512;
inline constexpr int largest_rounded = 32639;
template <class S>
inline constexpr S overflow_shrink = S(1) / S(std::int64_t(1) << 40);
template <class S>
void round_to_sixteen(const S* x, Index size, S unit, std::int16_t* rounded) {
  const S inverse = unit > S(0) ? S(1) / unit : S(0);
  if (!(unit > S(0) && std::isfinite(unit) && std::isfinite(inverse))) {
    for (Index i = 0; i < size; ++i) rounded[i] = 0;
    return;
  }
  for (Index i = 0; i < size; ++i)
    rounded[i] = static_cast<std::int16_t>(static_cast<int>(std::rint(x[i] * inverse)));
}
template <class S>
void affine(const std::int8_t* w, const S* scale, const S* bias, bool relu, Index d, Index m,
            const S* x, std::int16_t* rounded, S* y) {
  S largest = 0;
  for (Index i = 0; i < d; ++i) largest = largest < std::abs(x[i]) ? std::abs(x[i]) : largest;
  const S unit = largest / S(largest_rounded);
  round_to_sixteen(x, d, unit, rounded);
  const bool may_overflow = largest > std::numeric_limits<S>::max() / S(127) / S(d);
  const S shrink = may_overflow ? overflow_shrink<S> : S(1);
  const S shrunk = unit * shrink;
  for (Index u = 0; u < m; ++u) {
    S total = 0;
    for (Index k = 0; k < d; k += integer_depth) {
      const Index end = k + integer_depth < d ? k + integer_depth : d;
      std::int32_t sum = 0;
      for (Index i = k; i < end; ++i) sum += std::int32_t(w[u * d + i]) * std::int32_t(rounded[i]);
      total = k == 0 ? static_cast<S>(sum) * shrunk : std::fma(static_cast<S>(sum), shrunk, total);
    }
    const S scaled = total * scale[u] / shrink;
    const S z = scaled + bias[u];
    y[u] = relu && z < S(0) ? S(0) : z;
  }
}
template <class S>
void add_scaled(S* sum, Index size, const S* weights, const S* vectors, int count) {
  const auto term = [&](int i, Index r) { return weights[i] * vectors[i * size + r]; };
  int i = 0;
  for (; i + 4 <= count; i += 4)
    for (Index r = 0; r < size; ++r) {
      const S first = term(i, r) + term(i + 1, r), second = term(i + 2, r) + term(i + 3, r);
      sum[r] += first + second;
    }
  if (i + 2 <= count) {
    for (Index r = 0; r < size; ++r) {
      const S both = term(i, r) + term(i + 1, r);
      sum[r] += both;
    }
    i += 2;
  }
  if (i < count)
    for (Index r = 0; r < size; ++r) {
      const S one = term(i, r);
      sum[r] += one;
    }
}
template <class S, class Expert>
void mix(const std::int32_t* experts, const S* weights, int entries, Index size, S* sum, S* outputs,
         Expert expert) {
  constexpr int most = 8;
  for (Index r = 0; r < size; ++r) sum[r] = S(0);
  S factors[most];
  int count = 0;
  for (int i = 0; i < entries; ++i) {
    if (weights[i] == S(0)) continue;
    factors[count] = weights[i];
    expert(experts[i], outputs + count * size);
    if (++count < most) continue;
    add_scaled(sum, size, factors, outputs, count);
    count = 0;
  }
  add_scaled(sum, size, factors, outputs, count);
}
)portable";

}  // namespace comet::portable
