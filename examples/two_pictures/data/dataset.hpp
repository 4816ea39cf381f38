// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

#include <two_pictures/data/examples.hpp>

namespace programs::two_pictures {

/// What pictures are read from, and what is made of them.
struct DataOptions {
  std::string data = {};  ///< a folder; empty for Fashion-MNIST as Debian installs it
  std::string second_data =
      {};                    ///< a second folder, whose classes are others: mixed with the first
  std::string show = "two";  ///< "two": pairs on one canvas, "one": a picture alone
  Index partners = 1;        ///< pairs that a picture is the first of
};

/// \brief Pictures to train on, to choose weights by, and held out.
struct Dataset {
  std::string source;  ///< what a file SOURCE beside the pictures says, else the folder
  Examples train;
  Examples validation;
  Examples test;
};

/// Of all pictures and their classes.
[[nodiscard]] std::string fingerprint_of(const Dataset& data);

/// What --show may be.
[[nodiscard]] const std::vector<std::string>& forms();

/// \brief Reads one set or two.
///
/// A sixth of the training pictures, of every class, is for validation. What is held out are the
/// files that begin with t10k, or a seventh if there are none. Pairs are made of pictures of the
/// same part. Of two sets the classes of the second are numbered on: 10 to 19.
/// \param key  of split and pairs
/// \throws FileError for files that are missing or broken, pictures of different sizes, and
///         pictures of one class only
[[nodiscard]] Dataset read_dataset(const DataOptions& options, comet::RandomKey key);

}  // namespace programs::two_pictures
