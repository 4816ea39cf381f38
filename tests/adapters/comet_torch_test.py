# SPDX-License-Identifier: MIT
"""comet_torch from Python: python3 -m unittest, with comet_torch.py and its library on PYTHONPATH."""
import copy
import io
import pickle
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


if __name__ == "__main__":
    unittest.main()
