# SPDX-License-Identifier: MIT
"""comet_torch from Python: python3 -m unittest, with comet_torch.py and its library on PYTHONPATH."""
import copy
import io
import pickle
import re
import unittest

import torch

import comet_torch

D, M, N, B = 3, 2, 4, 6


def moe(**options):
    given = dict(gate="comet", experts=N, k=2, key=7, dtype=torch.float64, activation="gelu", gamma=3,
                 entropy=0.3)
    given.update(options)
    if given["gate"] != "comet":
        del given["gamma"], given["entropy"]
    return comet_torch.MoE(D, 5, M, **given)


def numbers(*sizes, seed=1):
    return torch.rand(*sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Doubled(comet_torch.MoE):
    def forward(self, x):
        return 2 * super().forward(x)


def _one_more(module, inputs, output):
    return output + 1


class MixtureTest(unittest.TestCase):
    def test_gradients(self):
        mixture = moe()
        x = numbers(B, D).requires_grad_()

        def run(at, *_):
            return mixture(at), mixture.regularization()

        self.assertTrue(torch.autograd.gradcheck(run, (x, *mixture.parameters())))

    def test_names_are_nested(self):
        state = moe(gate="balanced_top_k").state_dict()
        for name in ("experts.3.hidden.weight", "gates.0.weight", "gates.0.selection_bias", "random"):
            self.assertIn(name, state)
        self.assertEqual(state["experts.0.hidden.weight"].shape, (5, D))

    def test_optimizers_train_in_place(self):
        mixture = moe()
        x, y = numbers(64, D), numbers(64, M, seed=2)
        optimizer = torch.optim.AdamW(mixture.parameters(), lr=0.03, weight_decay=0.01)
        losses = []
        for _ in range(60):
            loss = torch.nn.functional.mse_loss(mixture(x), y) + mixture.regularization()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(mixture.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        self.assertLess(losses[-1], 0.8 * losses[0])

    def test_state_is_loaded_and_the_draws_go_on(self):
        first, second = moe(dropout=0.5), moe(dropout=0.5, key=9)
        x = numbers(B, D)
        first(x)
        file = io.BytesIO()
        torch.save(first.state_dict(), file)
        file.seek(0)
        second.load_state_dict(torch.load(file))
        self.assertTrue(torch.equal(first(x), second(x)))

    def test_copies_are_independent(self):
        mixture = moe()
        twin = copy.deepcopy(mixture)
        x = numbers(B, D)
        mixture.eval(), twin.eval()
        self.assertTrue(torch.equal(mixture(x), twin(x)))
        with torch.no_grad():
            next(twin.parameters()).add_(1)
        self.assertFalse(torch.equal(mixture(x), twin(x)))
        y = twin(x)
        del twin
        self.assertEqual(y.shape, (B, M))

    def test_copies_keep_what_is_frozen_and_annealed(self):
        mixture = moe(entropy=0.5)
        mixture.experts.requires_grad_(False)
        mixture.anneal(entropy=2)
        copies = copy.deepcopy(mixture), pickle.loads(pickle.dumps(mixture))
        x = numbers(B, D)
        mixture(x)
        for twin in copies:
            self.assertEqual([p.requires_grad for p in twin.parameters()],
                             [p.requires_grad for p in mixture.parameters()])
            twin(x)
            self.assertEqual(twin.regularization(), mixture.regularization())

    def test_a_copied_optimizer_moves_the_copied_mixture(self):
        def pickled(pair):
            file = io.BytesIO()
            torch.save(pair, file)
            file.seek(0)
            return torch.load(file, weights_only=False)

        for copied in (copy.deepcopy, pickled):
            mixture = moe(gate="balanced_top_k")
            optimizer = torch.optim.SGD(mixture.parameters(), lr=1)
            twin, its_optimizer = copied((mixture, optimizer))
            x = numbers(B, D)
            self.assertTrue(torch.equal(mixture(x), twin(x)))
            for m, o in ((mixture, optimizer), (twin, its_optimizer)):
                before = m(x)
                before.sum().backward()
                o.step()
                self.assertFalse(torch.equal(m(x), before))
            self.assertTrue(torch.equal(mixture(x), twin(x)))

    def test_copies_are_of_the_same_class_with_all_that_was_added(self):
        mixture = Doubled(D, 5, M, gate="comet", experts=N, dtype=torch.float64, key=7)
        mixture.called = "a"
        mixture.extra = torch.nn.Linear(2, 2)
        mixture.register_forward_hook(_one_more)
        x = numbers(B, D)
        for twin in (copy.deepcopy(mixture), pickle.loads(pickle.dumps(mixture))):
            self.assertEqual((type(twin), twin.called), (Doubled, "a"))
            self.assertTrue(torch.equal(twin.extra.weight, mixture.extra.weight))
            self.assertTrue(torch.equal(twin(x), mixture(x)))
        self.assertTrue(torch.allclose(mixture(x), 2 * moe(gamma=1, activation="relu", entropy=0)(x) + 1))

    def test_numbers_in_another_order_are_taken_over(self):
        mixture = comet_torch.MoE(D, D, gate="comet", experts=N, key=7, dtype=torch.float64)
        same = copy.deepcopy(mixture)
        weight, other = mixture.experts._modules["0"].hidden.weight, same.experts._modules["0"].hidden.weight
        weight.data = weight.data.t()
        with torch.no_grad():
            other.copy_(other.t().clone())
        self.assertTrue(torch.equal(mixture(numbers(B, D)), same(numbers(B, D))))
        weight.data = weight.data[:1]
        with self.assertRaisesRegex(Exception, "experts.0.hidden.weight has become"):
            mixture(numbers(B, D))

    def test_the_table_of_a_hash_gate_comes_of_the_key(self):
        first = moe(gate="hash", num_ids=100)
        ids = torch.arange(B)
        moe(gate="hash", num_ids=100).load_state_dict(first.state_dict())
        with self.assertRaisesRegex(Exception, "a mixture of another key"):
            moe(gate="hash", num_ids=100, key=8).load_state_dict(first.state_dict())
        self.assertTrue(torch.equal(copy.deepcopy(first)(numbers(B, D), ids), first(numbers(B, D), ids)))

    def test_ids_masks_and_tasks(self):
        by_id = moe(gate="hash", num_ids=9)
        mask = torch.tensor([True, False, True, True, True, False])
        y = by_id(numbers(B, D), torch.arange(B), mask)
        self.assertFalse(y[~mask].any())
        self.assertTrue(y[mask].all())
        with self.assertRaisesRegex(Exception, "one id per sample"):
            by_id(numbers(B, D))
        self.assertEqual(moe(tasks=3)(numbers(2, B, D)).shape, (3, 2, B, M))

    def test_a_single_expert_teaches_its_gate_by_a_softmax_over_all(self):
        for over_all in (False, True):
            mixture = moe(gate="top_k", k=1, softmax_all=over_all)
            mixture(numbers(B, D)).square().sum().backward()
            gradient = dict(mixture.named_parameters())["gates.0.weight"].grad
            self.assertEqual(bool((gradient != 0).any()), over_all)

    def test_summary_is_of_the_last_forward(self):
        mixture = moe(gate="top_k", tasks=2)
        with self.assertRaisesRegex(RuntimeError, "there was no forward"):
            mixture.summary()
        mixture(numbers(B, D))
        lines = mixture.summary().split("\n")
        self.assertEqual([line.split(",")[0] for line in lines],
                         [f"task {task}: 2.0 experts per sample" for task in range(2)])

    def test_end_of_step_and_anneal(self):
        balanced = moe(gate="balanced_top_k", rate=0.5)
        balanced(numbers(B, D))
        balanced.end_of_step()
        self.assertEqual(balanced.state_dict()["gates.0.selection_bias"].abs().max(), 0.5)
        with self.assertRaisesRegex(Exception, "a balanced_top_k gate has no gamma"):
            balanced.anneal(gamma=1)
        mixture = moe()
        mixture.anneal(entropy=0)
        mixture(numbers(B, D))
        self.assertEqual(mixture.regularization(), 0)

    def test_refusals(self):
        mixture = moe()
        with self.assertRaisesRegex(Exception, "x is of Float, expected Double"):
            mixture(torch.zeros(B, D))
        with self.assertRaisesRegex(TypeError, "stays so"):
            mixture.float()
        self.assertIs(mixture.double().cpu(), mixture)
        with self.assertRaisesRegex(Exception, "no option gama"):
            moe(gama=1)
        for wrong in ({"experts": 2.7}, {"k": "2"}, {"key": 2**63}):
            with self.assertRaisesRegex(TypeError, "expected a whole number"):
                moe(**wrong)
        for num_ids in (2.7, 1e30, float("nan"), -1):
            with self.assertRaisesRegex(ValueError, re.escape(f"num_ids is {num_ids}, expected a whole")):
                moe(gate="hash", num_ids=num_ids)
        with self.assertRaisesRegex(ValueError, "softmax_all is 0.5, expected True or False"):
            moe(gate="top_k", softmax_all=0.5)
        with self.assertRaisesRegex(ValueError, "tasks is 0, expected at least 1"):
            moe(tasks=0)
        with self.assertRaisesRegex(TypeError, "gamma is 'x', expected a number"):
            moe(gamma="x")
        with self.assertRaisesRegex(TypeError, "gate is None, expected a name"):
            moe(gate=None)
        with self.assertRaisesRegex(TypeError, "x is a list, expected a tensor"):
            mixture([[1.0] * D])
        with self.assertRaisesRegex(ValueError, "output_dim is 0"):
            comet_torch.MoE(D, 5, 0)
        with self.assertRaisesRegex(TypeError, "other processes"):
            mixture.share_memory()
        with self.assertRaisesRegex(Exception, "one of comet, dselect_k"):
            moe(gate="dense")
        mixture.gates._modules["0"].split.weight = torch.nn.Parameter(
            mixture.gates._modules["0"].split.weight.detach().clone())
        with self.assertRaisesRegex(RuntimeError, "gates.0.split.weight is another tensor"):
            mixture(numbers(B, D))
        balanced = moe(gate="balanced_top_k")
        balanced.gates._modules["0"].selection_bias = torch.zeros(N, dtype=torch.float64)
        with self.assertRaisesRegex(RuntimeError, "gates.0.selection_bias is another tensor"):
            balanced(numbers(B, D))


class EncoderTest(unittest.TestCase):
    def test_feed_forward_block_is_swapped(self):
        for batch_first in (True, False):
            torch.manual_seed(1)
            encoder = torch.nn.TransformerEncoder(
                torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first), 2,
                enable_nested_tensor=False)
            for i in range(2):
                encoder.layers[i] = comet_torch.sparse_feed_forward(
                    encoder.layers[i], gate="comet", experts=4, k=1, entropy=0.1)
            with self.assertRaisesRegex(TypeError, "enable_nested_tensor=False"):
                encoder.layers[0].linear1
            x = torch.rand(2, 5, 8)
            padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
            y = encoder(x if batch_first else x.transpose(0, 1), src_key_padding_mask=padding)
            (y.square().sum() + comet_torch.regularization(encoder)).backward()
            self.assertTrue(all(p.grad is not None for p in encoder.parameters()))
            encoder.eval()
            with torch.no_grad():
                at = encoder(x if batch_first else x.transpose(0, 1), src_key_padding_mask=padding)
                x[1, 3:] = 5
                other = encoder(x if batch_first else x.transpose(0, 1), src_key_padding_mask=padding)
            if not batch_first:
                at, other = at.transpose(0, 1), other.transpose(0, 1)
            self.assertTrue(torch.allclose(at[1, :3], other[1, :3], atol=1e-6))

    def test_what_a_block_cannot_be_is_refused(self):
        layer = torch.nn.TransformerEncoderLayer(8, 2, 16)
        swap = comet_torch.sparse_feed_forward
        for wrong in (torch.nn.Linear(3, 3), torch.nn.TransformerDecoderLayer(8, 2, 16)):
            with self.assertRaisesRegex(TypeError, f"is a {type(wrong).__name__}, expected a TransformerEnc"):
                swap(wrong)
        for options in ({"tasks": 2}, {"output_dim": 8}, {"gate": "hash"}):
            with self.assertRaisesRegex(TypeError, f"{[*options][0]} is"):
                swap(layer, **options)
        layer.activation = torch.nn.GELU(approximate="tanh")
        with self.assertRaisesRegex(TypeError, "the exact one"):
            swap(layer)

    def test_padding_by_numbers(self):
        torch.manual_seed(1)
        encoder = comet_torch.sparse_feed_forward(
            torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), key=1).eval()
        x = torch.rand(2, 5, 8)
        padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
        reference = encoder(x, src_key_padding_mask=padding)
        for weight in (float("-inf"), -1e9):
            by_number = torch.zeros(2, 5).masked_fill(padding, weight)
            self.assertTrue(torch.allclose(encoder(x, src_key_padding_mask=by_number), reference))
        with self.assertRaisesRegex(ValueError, "neither a token nor padding"):
            encoder(x, src_key_padding_mask=torch.full((2, 5), 0.1))


if __name__ == "__main__":
    unittest.main()
