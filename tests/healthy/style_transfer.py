"""Optimizes a picture, not a net: its features follow a content picture, its Gram matrices a style picture."""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
SIZE = 24

yy, xx = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
disc = ((yy**2 + xx**2) < 0.4).float()
content_img = torch.stack([disc, 1 - disc, 0.5 + 0 * disc]).unsqueeze(0)
waves = 0.5 + 0.5 * torch.sin(12 * (xx + yy))
style_img = torch.stack([waves, 0.3 * waves, 1 - waves]).unsqueeze(0)


class Features(nn.Module):
    """A fixed net of random filters, which carry texture statistics well enough."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(), nn.AvgPool2d(2))
            for cin, cout in [(3, 16), (16, 24)]
        )
        for block in self.blocks:
            nn.init.kaiming_normal_(block[0].weight)

    def forward(self, x):
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs


def gram_matrix(x):
    b, c, h, w = x.shape
    features = x.view(b, c, h * w)
    return features @ features.transpose(1, 2) / (h * w)


cnn = Features().eval()
cnn.requires_grad_(False)

content_target = cnn(content_img)[-1].detach()
style_targets = [gram_matrix(f).detach() for f in cnn(style_img)]

input_img = torch.rand(1, 3, SIZE, SIZE).requires_grad_(True)
optimizer = torch.optim.Adam([input_img], lr=0.05)
style_weight, content_weight, tv_weight = 10.0, 1.0, 1e-2

for step in range(1, 121):
    optimizer.zero_grad()
    features = cnn(input_img)
    content_loss = F.mse_loss(features[-1], content_target)
    style_loss = sum(F.mse_loss(gram_matrix(f), t) for f, t in zip(features, style_targets, strict=True))
    tv_loss = input_img.diff(dim=2).abs().mean() + input_img.diff(dim=3).abs().mean()
    loss = content_weight * content_loss + style_weight * style_loss + tv_weight * tv_loss
    loss.backward()
    optimizer.step()

    # correct the values of updated input image
    with torch.no_grad():
        input_img.clamp_(0, 1)

    if step == 1 or step % 20 == 0:
        print(
            f"run {step}: style loss {style_loss.item():.6f}  content loss {content_loss.item():.6f}  total {loss.item():.4f}"
        )
