// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <programs/base/console.hpp>
#include <programs/base/json.hpp>

/// \file
/// \brief Of a command that asks a trained model about data. Other data than those of its training
/// are a fair question, so they are not refused; but their parts are drawn anew, and what is called
/// test there may have been trained on.

namespace programs {

/// \brief Whether data are those of the training, by their fingerprints.
/// \param of_model  empty if its file does not say it: then null
[[nodiscard]] Json is_of_training(const std::string& of_model, const std::string& here);

/// A note if they are not. \param source  of the data
void tell_other_data(const std::string& of_model, const std::string& here,
                     const std::string& source, const Console& console);

}  // namespace programs
