"""The networks of the matrix: the smallest member of every convolutional family, with random weights that matter."""

from __future__ import annotations

import torch
from torch import nn

TORCHVISION = (
    "alexnet", "vgg11", "vgg11_bn", "resnet18", "resnext50_32x4d", "densenet121", "googlenet",
    "inception_v3", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5",
    "efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf", "regnet_y_400mf", "convnext_tiny",
)  # fmt: skip
TIMM = (
    "tf_efficientnet_lite0", "resnet18", "densenet121", "mobilenetv3_small_050", "convnext_atto", "ghostnet_100",
    "cspresnet50", "dla34", "repvgg_a0", "rexnet_100", "seresnet18", "hrnet_w18_small", "dpn48b", "xception41",
)  # fmt: skip
NAMES = (*(f"torchvision:{name}" for name in TORCHVISION), *(f"timm:{name}" for name in TIMM))
#: Networks that need more than the usual pixels.
SIZES = {"torchvision:inception_v3": 96, "timm:xception41": 96}
SIZE = 64


def network(name):
    """Return a seeded network in eval mode and double precision, and the side of its input."""
    library, _, model = name.partition(":")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if library == "timm":
            import timm

            net = timm.create_model(model, pretrained=False)
        else:
            from torchvision import models

            more = {"init_weights": True} if model in {"googlenet", "inception_v3"} else {}
            net = models.get_model(model, weights=None, **more)
        for part in net.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.running_mean.normal_(0, 0.3)
                part.running_var.uniform_(0.5, 2)
                with torch.no_grad():
                    part.weight.uniform_(0.5, 1.5)
                    part.bias.normal_(0, 0.2)
        image = torch.randn(1, 3, *(2 * (SIZES.get(name, SIZE),)), dtype=torch.float64)
    return net.eval().double(), image


def calibrate(net, image):
    """Give normalizations the statistics of one picture and its noisy copies, so that no signal dies or explodes."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        batch = torch.cat([image, image + torch.randn(3, *image.shape[1:], dtype=image.dtype)])
        norms = [part for part in net.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        net(batch)
        for norm in norms:
            norm.momentum = 0.1
            norm.running_mean += 0.1 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt()
            norm.running_var.clamp_(min=1e-3)
            norm.eval()
    return net
