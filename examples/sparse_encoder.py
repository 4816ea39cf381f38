# SPDX-License-Identifier: MIT
"""The feed-forward blocks of a transformer as mixtures:
PYTHONPATH=build/release/python python3 examples/sparse_encoder.py"""
import torch, comet_torch  # noqa: E401

torch.manual_seed(1)
layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
for i in range(2):
    encoder.layers[i] = comet_torch.sparse_feed_forward(encoder.layers[i], gate="comet", experts=8, k=1)
x, y = torch.rand(16, 10, 32), torch.rand(16, 10, 32)
optimizer = torch.optim.AdamW(encoder.parameters(), 1e-3)
for step in range(101):
    loss = torch.nn.functional.mse_loss(encoder(x), y) + comet_torch.regularization(encoder)
    optimizer.zero_grad(), loss.backward(), optimizer.step()
    if step % 50 == 0:
        print(f"step {step:3d}  loss {loss.item():.3f}")
