// SPDX-License-Identifier: MIT
#include <bert/model/mixture.hpp>

#include <utility>

#include <comet/core/random.hpp>

#include <bert/model/mixture_module.hpp>

namespace programs::bert {

// The key is set anew for every step.
template <class S>
Mixture<S>::Mixture(Layer layer, Index threads)
    : module_(std::make_unique<Module>(Module{comet::make_torch_moe(
          std::move(layer), {.key = comet::RandomKey(0), .threads = threads})})) {}

template <class S>
Mixture<S>::Mixture(const Mixture& other)
    : module_(std::make_unique<Module>(Module{comet::TorchMoe(
          std::dynamic_pointer_cast<comet::TorchMoeImpl>(other.module_->moe->clone()))})) {}

template <class S>
Mixture<S>::Mixture(Mixture&& other) noexcept = default;

template <class S>
Mixture<S>& Mixture<S>::operator=(const Mixture& other) {
  if (this != &other) *this = Mixture(other);
  return *this;
}

template <class S>
Mixture<S>& Mixture<S>::operator=(Mixture&& other) noexcept = default;

template <class S>
Mixture<S>::~Mixture() = default;

template <class S>
const typename Mixture<S>::Layer& Mixture<S>::layer() const {
  return module_->typed().layer();
}

template <class S>
typename Mixture<S>::Layer& Mixture<S>::layer() {
  return module_->typed().layer_in_place();
}

template <class S>
const comet::Pass<typename Mixture<S>::Layer>& Mixture<S>::pass() const {
  return module_->typed().pass();
}

template class Mixture<float>;
template class Mixture<double>;

}  // namespace programs::bert
