// SPDX-License-Identifier: MIT
#include <programs/base/common_options.hpp>

namespace programs {
namespace {

using Use = Option::Use;

Rule a_whole_number() {
  return expected("a whole number >= 0", [](double value) { return value >= 0; });
}

}  // namespace

std::vector<Option> choice_options(CommonOptions& o, const std::vector<std::string>& rows) {
  return {Option("gate", &o.gate, "GATE",
                 rows.size() > gate_names().size() ? "how experts are chosen, or a dense network"
                                                   : "how experts are chosen")
              .one_of(rows)
              .used(Use::where_named),
          Option("local_search", &o.local_search, "SEARCH", "over the order of the experts")
              .one_of(local_search_names())
              .used(Use::where_named)};
}

std::vector<Option> gate_options(CommonOptions& o, const comet::Index& num_experts,
                                 const std::string& unit) {
  const auto heeds = [&o](bool GateKind::*what) {
    return [&o, what] { return row_kind(o.gate).*what; };
  };
  const Rule up_to_all = [&o, &num_experts](double k) {
    const int least = row_kind(o.gate).least_k;
    if (k >= least && k <= double(num_experts)) return std::string();
    return "from " + std::to_string(least) + " to --experts = " + std::to_string(num_experts) +
           (least > 1 ? " with --gate " + o.gate : "");
  };
  return {Option("k", &o.k, "N", "experts per sample of " + gates_with(&GateKind::has_k))
              .must_be(up_to_all)
              .if_it(heeds(&GateKind::has_k)),
          Option("gamma", &o.gamma, "X",
                 "width of the smooth step of " + gates_with(&GateKind::is_smooth))
              .must_be(above_zero())
              .if_it(heeds(&GateKind::is_smooth)),
          Option("entropy", &o.entropy, "X",
                 "strength of the entropy penalty of " + gates_with(&GateKind::is_smooth))
              .must_be(not_negative())
              .if_it(heeds(&GateKind::is_smooth)),
          Option("spread", &o.spread, "X",
                 "strength of the reward for even use of " + gates_with(&GateKind::spreads))
              .must_be(not_negative())
              .if_it(heeds(&GateKind::spreads)),
          Option("split_scale", &o.split_scale, "X",
                 "of the splits at the start of " + gates_with(&GateKind::splits) +
                     "; 0 as published, .2 parts the samples from the first step")
              .must_be(not_negative())
              .if_it(heeds(&GateKind::splits)),
          Option("load_balance", &o.load_balance, "X",
                 "strength of the penalty on uneven load of " + gates_with(&GateKind::balances))
              .must_be(not_negative())
              .if_it(heeds(&GateKind::balances)),
          Option("reachability", &o.reachability, "X",
                 "strength of the penalty on codes without an expert, of " +
                     gates_with(&GateKind::loses_codes) +
                     "; without it the weight may be lost where the number of experts is no power "
                     "of 2")
              .must_be(not_negative())
              .if_it(heeds(&GateKind::loses_codes)),
          Option("sparse_by", &o.sparse_by, "N",
                 unit + " by which gamma and the entropy penalty of " +
                     gates_with(&GateKind::is_smooth) +
                     " are steered so that a sample has k experts; 0 leaves them as they are")
              .must_be(a_whole_number())
              .if_it(heeds(&GateKind::is_smooth))};
}

std::vector<Option> schedule_options(CommonOptions& o) {
  const auto searches = [&o] { return local_search_of(o.local_search) != LocalSearch::none; };
  const auto anneals = [&o] { return local_search_of(o.local_search) == LocalSearch::relaxed; };
  const Rule falling = [&o](double value) {
    if (value > o.search_temperatures.front()) return std::string("the second not above the first");
    return above_zero()(value);
  };
  return {
      Option("learning_rate", &o.learning_rate, "X", "of Adam").must_be(above_zero()),
      Option("batch_size", &o.batch_size, "N", "samples per step").must_be(a_size()),
      Option("epochs", &o.epochs, "N", "passes over the training rows, at most").must_be(a_size()),
      Option("patience", &o.patience, "N", "epochs without a better validation loss before the end")
          .must_be(a_size()),
      Option("search_epochs", &o.search_epochs, "N", "epochs that a local search takes part in")
          .must_be(a_size())
          .if_it(searches),
      Option("search_temperatures", &o.search_temperatures, "X,X",
             "of the relaxed search, at its start and at its end")
          .list_of(2)
          .must_be(falling)
          .if_it(anneals)};
}

std::vector<Option> run_options(CommonOptions& o) {
  return {Option("seed", &o.seed, "N", "split, start and noise are functions of it")
              .must_be(a_whole_number())
              .used(Use::where_named)
              .not_searched(),
          Option("split_seed", &o.split_seed, "N", "of the split, if not that of --seed")
              .must_be(a_whole_number())
              .used(Use::where_named)
              .not_searched()
              .or_else(o.seed),
          Option("out", &o.out, "DIR", "for the results")
              .used(Use::where_named)
              .not_saved()
              .of_any_bytes(),
          Option("from_pretrained", &o.from_pretrained, "FILE",
                 "start with the weights of this model, made for the same data")
              .used(Use::where_named)
              .not_searched()
              .if_it([&o] { return !o.from_pretrained.empty(); }),
          Option("checkpoint_every", &o.checkpoint_every, "N",
                 "training steps; 0 for none (default once per epoch)")
              .must_be(a_whole_number())
              .used(Use::where_named)
              .not_saved(),
          Option("record", &o.record, "FILE",
                 "for a line of JSON on each gate at some steps: load and weight per expert,\n"
                 "experts per sample, how decided it is")
              .used(Use::where_named)
              .not_saved(),
          Option("record_every", &o.record_every, "N", "steps from one line of a gate to the next")
              .must_be(a_size())
              .used(Use::where_named)
              .not_saved()
              .if_it([&o] { return !o.record.empty(); }),
          Option("threads", &o.threads, "N", "0 for all cores; the figures do not depend on it")
              .must_be(expected("from 0 to 1024", [](double n) { return n >= 0 && n <= 1024; }))
              .not_saved(),
          Option("quiet", &o.quiet, "", "no progress, only the table").not_saved()};
}

}  // namespace programs
