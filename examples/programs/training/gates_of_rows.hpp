// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>

#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/make_gate.hpp>

#include <programs/base/common_options.hpp>

namespace programs {

/// \brief What a program's options say of the gate that they name, for make_gate(): those that it
/// heeds.
[[nodiscard]] comet::GateOptions settings_of_gate(const CommonOptions& o, comet::Index input_dim,
                                                  comet::Index num_experts);

/// \brief The gate that the options name. All gates of the family are compiled here, once for all
/// programs.
/// \param settings   of settings_of_gate(), and what the program knows better
/// \param frequency  how often each id occurs: a hash gate spreads them evenly
[[nodiscard]] comet::AnyGate<float> make_gate(const CommonOptions& o,
                                              const comet::GateOptions& settings,
                                              std::span<const std::int64_t> frequency,
                                              comet::RandomKey key);

/// \brief The gate of a dense row for one of its tasks: all of its experts, or the k that belong to
/// the task.
[[nodiscard]] comet::AnyGate<float> make_dense_gate(const CommonOptions& o, comet::Index input_dim,
                                                    comet::Index task, comet::Index num_tasks,
                                                    comet::RandomKey key);

}  // namespace programs
