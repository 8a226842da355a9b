"""Self-supervised training: backbones, pretexts, one training loop."""
